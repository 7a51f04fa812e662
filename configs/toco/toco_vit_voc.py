# ToCo's best setting: ViT-B from ImageNet-21k and ImageNet-1k.
_base_ = [
    '../_base_/models/toco_vit.py', '../_base_/datasets/voc_448_rescale.py',
    '../_base_/schedules/adamw_20k.py', '../_base_/default_runtime.py'
]
model = dict(
    backbone=dict(
        # vit_base_patch16_224, converted by
        #   tools/model_converters/timm_vit.py IN OUT
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/vit_base_p16_224.pth')),
    test_cfg=dict(pseudo_labels=False))
val_evaluator = dict(
    _delete_=True, type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
# Logits of three scales and mirror images averaged, then a CRF:
# tools/test.py ... --tta
tta_model = dict(
    type='mmwsss.SegTTAModel',
    average='logits',
    crf=dict(
        num_iters=10,
        gaussian_sxy=1,
        gaussian_compat=1,
        bilateral_sxy=121,
        bilateral_srgb=5,
        bilateral_compat=4))
