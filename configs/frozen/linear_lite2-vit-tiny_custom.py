# linear_lite2-dinov2-small_custom.py with a ViT-Ti, a third of the work.
_base_ = [
    '../_base_/models/frozen_networks.py',
    '../_base_/models/frozen_linear.py',
    '../_base_/datasets/custom_frozen_pseudo.py',
    '../_base_/schedules/adamw_linear.py', '../_base_/frozen_seg_runtime.py'
]
model = dict(
    segmentor=dict(
        backbone=dict(networks=[_base_.efficientnet_lite2, _base_.vit_tiny])),
    refiners=[
        dict(
            type='mmwsss.FrozenAffinity',
            network=dict(_base_.vit_tiny, channels=192, out_index=0)),
        dict(type='mmwsss.PAMR')
    ],
    # PAMR on larger photographs takes long.
    test_cfg=dict(long_side=640))
