# A linear segmentation head on a frozen EfficientNet-Lite2 and a frozen
# ViT-Ti, voc_mini.
_base_ = [
    '../_base_/models/frozen_networks.py',
    '../_base_/models/frozen_linear.py',
    '../_base_/datasets/voc-mini_frozen_pseudo.py',
    '../_base_/schedules/adamw_linear.py', '../_base_/frozen_seg_runtime.py'
]
model = dict(
    segmentor=dict(
        backbone=dict(
            networks=[_base_.efficientnet_lite2, _base_.vit_tiny])),
    refiners=[
        dict(
            type='mmwsss.FrozenAffinity',
            network=dict(_base_.vit_tiny, channels=192, out_index=0)),
        dict(type='mmwsss.PAMR')
    ])
