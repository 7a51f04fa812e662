# segformer_mit-b2_voc.py on COCO 2014: 81 classes and 100,000 steps, as
# deeplabv2_r101_coco.py.
_base_ = [
    '../_base_/models/segformer_mit-b2.py',
    '../_base_/datasets/coco_pseudo_512.py',
    '../_base_/schedules/adamw_segformer_40k.py', '../_base_/seg_runtime.py'
]
model = dict(
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/mit_b2.pth')),
    decode_head=dict(num_classes=81))
param_scheduler = [
    _base_.param_scheduler[0],
    dict(_base_.param_scheduler[1], end=100001)
]
train_cfg = dict(max_iters=100000, val_interval=20000)
