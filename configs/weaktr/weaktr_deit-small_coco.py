# WeakTr on COCO 2014: a lower learning rate and one more scale.
_base_ = [
    '../_base_/models/weaktr.py', '../_base_/datasets/coco_224_randaugment.py',
    '../_base_/schedules/adamw_60e.py', '../_base_/epoch_runtime.py'
]
model = dict(
    backbone=dict(
        num_class_tokens=80,
        drop_path_rate=0.1,
        # deit_small_patch16_224, converted by tools/model_converters/deit.py
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/deit_small_patch16_224.pth')),
    cls_head=dict(num_classes=80),
    # The images' own sizes, resized as Pillow does.
    test_cfg=dict(
        scales=(1.0, 0.8, 1.2), interpolation='bicubic', eps=1e-8))
optim_wrapper = dict(optimizer=dict(lr=2e-4 * 64 / 512))
# 1e-6
param_scheduler = [
    dict(_base_.param_scheduler[0], start_factor=1 / 25),
    _base_.param_scheduler[1]
]
