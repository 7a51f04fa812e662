# WeakTr as its released script trains it: DeiT-S, 224 pixels.
_base_ = [
    '../_base_/models/weaktr.py', '../_base_/datasets/voc_224_randaugment.py',
    '../_base_/schedules/adamw_60e.py', '../_base_/epoch_runtime.py'
]
model = dict(
    backbone=dict(
        drop_path_rate=0.1,
        # deit_small_patch16_224, converted by tools/model_converters/deit.py
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/deit_small_patch16_224.pth')),
    # The images' own sizes, resized as Pillow does.
    test_cfg=dict(scales=(1.0, 1.2), interpolation='bicubic', eps=1e-8))
