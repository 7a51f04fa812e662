# The affinity of a frozen DINOv2-S/14 on CAM files of any method, COCO 2014.
_base_ = [
    '../_base_/models/frozen_networks.py',
    '../_base_/models/frozen_affinity.py',
    '../_base_/datasets/coco_frozen_cams.py', '../_base_/affinity_runtime.py'
]
model = dict(
    affinity=dict(
        network=dict(
            _base_.dinov2_small, channels=384, out_index=0, cache_dir=None)))
test_cfg = dict(type='TestLoop')
