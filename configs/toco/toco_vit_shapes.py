# ToCo on the generated Shapes images, from random weights, in minutes on a
# CPU. Without both contrasts (model.regularizers.patch=None
# model.regularizers.crops=None) it is its own baseline.
_base_ = [
    '../_base_/models/toco_vit.py', '../_base_/datasets/shapes.py',
    '../_base_/schedules/adamw_shapes.py', '../_base_/epoch_runtime.py'
]
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
        final_norm=True,
        out_indices=(1, 2)),
    cls_head=dict(num_classes=6, in_channels=128),
    auxiliary_head=dict(num_classes=6, in_channels=128),
    decode_head=dict(
        in_channels=128, channels=64, dilation=2, num_classes=7),
    # Nearer neighbours: images of 96 pixels, not 448.
    label_maker=dict(refiner=dict(dilations=(1, 2, 4))),
    # At its published weight it changes nothing on so few pixels, and would
    # take a third of the time.
    seg_losses=dict(energy=None),
    regularizers=dict(
        crops=dict(
            in_channels=128,
            # 4 x 4 patches.
            crop_size=32,
            num_crops=4,
            projection=dict(
                hidden_channels=256,
                bottleneck_channels=64,
                out_channels=256))),
    train_cfg=dict(seg_start=0.25),
    # More looks cost more than they bring here.
    test_cfg=dict(scales=(1.0, ), flip=False))
val_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='mmwsss.PseudoLabelIoU')
]
test_evaluator = val_evaluator
