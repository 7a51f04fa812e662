# SegFormer-B2 from ImageNet weights, a stronger last stage than the papers'
# DeepLabV2. Settings are SegFormer's, the length that of VOC in mmseg.
_base_ = [
    '../_base_/models/segformer_mit-b2.py',
    '../_base_/datasets/voc_pseudo_512.py',
    '../_base_/schedules/adamw_segformer_40k.py', '../_base_/seg_runtime.py'
]
model = dict(
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint='checkpoints/mit_b2.pth')))
