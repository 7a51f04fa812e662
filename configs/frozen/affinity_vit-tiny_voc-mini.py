# The affinity of a frozen ViT-Ti on CAM files of any method, voc_mini.
_base_ = [
    '../_base_/models/frozen_networks.py',
    '../_base_/models/frozen_affinity.py',
    '../_base_/datasets/voc-mini_frozen_cams.py',
    '../_base_/affinity_runtime.py'
]
model = dict(
    affinity=dict(network=dict(_base_.vit_tiny, channels=192, out_index=0)))
test_cfg = dict(type='TestLoop')
