# A frozen DINOv2-S/14's affinity on CAM files of any method, your images.
_base_ = [
    '../_base_/models/frozen_networks.py',
    '../_base_/models/frozen_affinity.py',
    '../_base_/datasets/custom_frozen_cams.py', '../_base_/affinity_runtime.py'
]
model = dict(
    affinity=dict(
        network=dict(_base_.dinov2_small, channels=384, out_index=0)))
test_cfg = dict(type='TestLoop')
