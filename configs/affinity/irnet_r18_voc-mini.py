# IRNet small enough for a CPU: boundaries from three stages of a ResNet-18.
_base_ = [
    '../_base_/models/irnet_r50.py', '../_base_/datasets/voc-mini_irn.py',
    '../_base_/schedules/irn_3e.py', '../_base_/walk_runtime.py'
]
model = dict(
    backbone=dict(
        depth=18,
        num_stages=3,
        out_indices=(0, 1, 2),
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/resnet18_stem_to_layer3.pth')),
    edge_head=dict(
        in_channels=(64, 64, 128, 256), strides=(4, 4, 8, 16)),
    propagate=dict(crop_size=320))
