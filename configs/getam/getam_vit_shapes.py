# GETAM on the generated Shapes images, from random weights, in minutes on a
# CPU: one training from tags to a segmentation network.
_base_ = [
    '../_base_/models/getam_vit.py',
    '../_base_/datasets/shapes_saliency.py',
    '../_base_/schedules/adamw_shapes.py', '../_base_/epoch_runtime.py'
]
# The classifier's maps do not get better after a few epochs.
max_epochs = 12
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmwsss.AttentionViT',
        # 12 x 12 tokens, few and narrow blocks: learns in minutes on a CPU.
        arch=dict(
            embed_dims=128,
            num_layers=3,
            num_heads=4,
            feedforward_channels=256),
        patch_size=8,
        img_size=96,
        out_indices=(0, 1, 2)),
    # No pyramid, and no neck: a plain decoder on the blocks' tokens and a
    # class head on the class token, as in cam_vit_shapes.py.
    neck=None,
    cls_head=dict(
        _delete_=True,
        type='mmwsss.ClassTokenHead',
        num_classes=6,
        in_channels=128),
    decode_head=dict(
        _delete_=True,
        type='FCNHead',
        in_channels=(128, 128, 128),
        in_index=(0, 1, 2),
        input_transform='resize_concat',
        channels=64,
        num_convs=2,
        concat_input=False,
        dropout_ratio=0.,
        # Not batch norm, which would make two processes differ from one.
        norm_cfg=dict(type='GN', num_groups=8),
        num_classes=7),
    # Nearer neighbours, a smaller opening and a narrower kernel: images of 96
    # pixels, not 256.
    label_refiner=dict(dilations=(1, 2, 4, 8)),
    label_maker=dict(opening=4),
    seg_losses=dict(energy=dict(sigma_xy=40)))
optim_wrapper = dict(
    # Phase 2 lowers the learning rate to a tenth; the decoder, which only
    # then begins, learns at the full one.
    paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=10.))))
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, begin=0, end=1, by_epoch=True,
         convert_to_iter_based=True),
    dict(type='PolyLR', power=0.9, eta_min=0., begin=0, end=max_epochs,
         by_epoch=True, convert_to_iter_based=True),
    dict(type='MultiStepLR', milestones=[max_epochs // 2], gamma=0.1,
         by_epoch=True),
]
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
val_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='mmwsss.PseudoLabelIoU')
]
test_evaluator = val_evaluator
