# PSA's AffinityNet with the exponents 4 / 24 (PSA's paper and SEAM; PSA's code
# has 32 in place of 24: set high_score_dir to a folder of alpha32).
_base_ = [
    '../_base_/models/affinitynet_resnet38.py',
    '../_base_/datasets/voc_affinity_448.py',
    '../_base_/schedules/affinity_8e.py', '../_base_/walk_runtime.py'
]
model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/resnet38.pth')))
