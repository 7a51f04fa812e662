# The paper's best setting: hybrid ViT-B (R50 stem).
_base_ = [
    '../_base_/models/getam_vit-hybrid.py',
    '../_base_/datasets/voc_256_saliency.py',
    '../_base_/schedules/getam_53k.py', '../_base_/default_runtime.py'
]
model = dict(
    backbone=dict(
        # vit_base_r50_s16_384, converted by
        #   tools/model_converters/timm_vit.py IN OUT
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/vit_base_r50_s16_384.pth')),
    # No saliency maps in the test, so none of the labels of the training.
    test_cfg=dict(pseudo_labels=False))
val_evaluator = dict(
    _delete_=True, type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
# Logits of three sizes averaged, then a CRF: tools/test.py ... --tta
tta_model = dict(
    type='mmwsss.SegTTAModel',
    average='logits',
    crf=dict(
        num_iters=20,
        gaussian_sxy=3,
        gaussian_compat=3,
        bilateral_sxy=83,
        bilateral_srgb=5,
        bilateral_compat=4))
