# DeepLabV2-ResNet101 from ImageNet weights, the network that VWL and ACR
# train on their masks.
_base_ = [
    '../_base_/models/deeplabv2_r101.py',
    '../_base_/datasets/voc_pseudo_321.py',
    '../_base_/schedules/deeplab_20k.py', '../_base_/seg_runtime.py'
]
model = dict(
    backbone=dict(
        # torchvision's resnet101 weights load as they are.
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/resnet101.pth')))
# Head 10 times faster; its biases 20 times and without weight decay.
optim_wrapper = dict(
    optimizer=dict(lr=2.5e-4),
    paramwise_cfg=dict(
        custom_keys={
            'decode_head': dict(lr_mult=10.),
            **{
                f'decode_head.branches.{i}.bias': dict(
                    lr_mult=20., decay_mult=0.)
                for i in range(4)
            }
        }))
