# WeakTr's retraining on COCO 2014, with what its code sets for COCO: 16 images
# in a step, a higher learning rate, 256 epochs.
_base_ = [
    '../_base_/models/segmenter_deit-small.py',
    '../_base_/datasets/coco_pseudo_480.py',
    '../_base_/schedules/sgd_segmenter_100e.py',
    '../_base_/seg_epoch_runtime.py'
]
model = dict(
    backbone=dict(
        # deit_small_patch16_224, converted by tools/model_converters/deit.py
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/deit_small_patch16_224.pth')),
    decode_head=dict(num_classes=81))
tta_model = dict(
    crf=dict(
        gaussian_sxy=1,
        bilateral_sxy=67,
        bilateral_srgb=3,
        bilateral_compat=4))
train_dataloader = dict(batch_size=16)
optim_wrapper = dict(optimizer=dict(lr=1e-3))
# The published one ends at 0.01 of its beginning, this one at 0.007.
param_scheduler = [dict(_base_.param_scheduler[0], end=257)]
train_cfg = dict(max_epochs=256, val_interval=256)
