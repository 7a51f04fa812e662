# CoSA on ViT-B from ImageNet-21k and ImageNet-1k, 32,000 steps.
_base_ = [
    '../_base_/models/cosa_vit.py', '../_base_/datasets/voc_448_rescale.py',
    '../_base_/schedules/adamw_20k.py', '../_base_/default_runtime.py'
]
max_iters = 32000
model = dict(
    backbone=dict(
        # The fourth block from the end, and the last.
        out_indices=(8, 11),
        # vit_base_patch16_224, converted by
        #   tools/model_converters/timm_vit.py IN OUT
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/vit_base_p16_224.pth')),
    train_cfg=dict(seg_start=6000 / max_iters),
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
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 16)
val_evaluator = dict(_delete_=True, type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
# Logits of five square sizes and mirror images averaged, then a CRF of one
# step: tools/test.py ... --tta
tta_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(
        type='TestTimeAug',
        transforms=[[
            dict(type='Resize', scale=(size, size), keep_ratio=False)
            for size in (224, 336, 448, 560, 672)
        ], [
            dict(type='RandomFlip', prob=0., direction='horizontal'),
            dict(type='RandomFlip', prob=1., direction='horizontal')
        ], [dict(type='mmwsss.LoadMask')],
                    [dict(type='mmwsss.PackWSSSInputs')]])
]
tta_model = dict(
    type='mmwsss.SegTTAModel',
    average='logits',
    crf=dict(
        num_iters=1,
        gaussian_sxy=1,
        gaussian_compat=1,
        bilateral_sxy=121,
        bilateral_srgb=5,
        bilateral_compat=4))
