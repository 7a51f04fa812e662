# DeepLabV2 small enough for a CPU: three stages of a ResNet-18 at stride 8,
# one scale, 8 epochs of a small part of VOC.
_base_ = [
    '../_base_/models/deeplabv2_r101.py',
    '../_base_/datasets/voc-mini_pseudo.py',
    '../_base_/schedules/adamw_8e.py', '../_base_/seg_epoch_runtime.py'
]
model = dict(
    scales=(),
    backbone=dict(
        depth=18,
        num_stages=3,
        out_indices=(2, ),
        strides=(1, 2, 1),
        dilations=(1, 1, 2),
        # No backward pass through the layers with the largest maps.
        frozen_stages=1,
        # ResNet-18 of torchvision; its last stage is not needed.
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/resnet18_stem_to_layer3.pth')),
    decode_head=dict(in_channels=256))
optim_wrapper = dict(optimizer=dict(lr=3e-4))
