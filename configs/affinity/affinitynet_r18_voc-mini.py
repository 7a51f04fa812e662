# AffinityNet small enough for a CPU: three stages of a ResNet-18 at stride 8.
_base_ = [
    '../_base_/models/affinitynet_resnet38.py',
    '../_base_/datasets/voc-mini_affinity.py',
    '../_base_/schedules/affinity_8e.py', '../_base_/walk_runtime.py'
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=18,
        num_stages=3,
        # Both at stride 8; the first sets the grid.
        out_indices=(1, 2),
        strides=(1, 2, 1),
        dilations=(1, 1, 2),
        norm_cfg=dict(type='BN', requires_grad=False),
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/resnet18_stem_to_layer3.pth')),
    decode_head=dict(
        in_channels=(128, 256), channels=(64, 128), shrink_radius=True),
    # Wide maps need a low exponent: configs/acr/refine_acr-crf_voc-mini.py.
    walk=dict(alpha=0.5, beta=8, log_steps=6))
optim_wrapper = dict(optimizer=dict(momentum=0.9, lr=1e-3))
