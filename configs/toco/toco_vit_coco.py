# ToCo on COCO 2014: 80,000 steps of 8 images. After a tenth of them the
# decoder begins to learn labels of the auxiliary head's CAMs; after 0.15 the
# labels are those of the main head, and the contrasts begin.
_base_ = [
    '../_base_/models/toco_vit.py', '../_base_/datasets/coco_448_rescale.py',
    '../_base_/schedules/adamw_20k.py', '../_base_/default_runtime.py'
]
max_iters = 80000
model = dict(
    backbone=dict(
        # vit_base_patch16_224, converted by
        #   tools/model_converters/timm_vit.py IN OUT
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/vit_base_p16_224.pth')),
    cls_head=dict(num_classes=80),
    auxiliary_head=dict(num_classes=80),
    decode_head=dict(num_classes=81),
    label_maker=dict(fg_threshold=0.65),
    regularizers=dict(
        patch=dict(fg_threshold=0.65, start=0.15),
        crops=dict(fg_threshold=0.65, temperature=1.0, start=0.15)),
    train_cfg=dict(auxiliary_until=0.15),
    test_cfg=dict(pseudo_labels=False))
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-6, begin=0, end=1500,
        by_epoch=False),
    dict(
        type='PolyLR',
        power=0.9,
        eta_min=0.,
        end=max_iters + 1,
        by_epoch=False),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 10)
train_dataloader = dict(batch_size=8)
val_evaluator = dict(_delete_=True, type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
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
