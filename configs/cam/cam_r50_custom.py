# CAM baseline on your own images, with the recipe of cam_r50_voc.py. Do not
# edit it: tools/dataset_converters/custom.py writes a config that inherits
# this one and knows your images and the number of classes.
_base_ = [
    '../_base_/models/cam_r50.py', '../_base_/datasets/custom.py',
    '../_base_/schedules/sgd_5e.py', '../_base_/epoch_runtime.py'
]
model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/resnet50.pth')),
    # Larger pictures are looked at in tiles.
    test_cfg=dict(scales=(0.5, 1.0, 1.5, 2.0), max_pixels=2048 * 2048))
val_evaluator = dict(fixed_threshold=0.3)
test_evaluator = val_evaluator
