# The classifier ACR starts from, without ACR: hybrid ViT-B, 384 pixels, one
# view, the schedule of the paper.
_base_ = [
    '../_base_/models/cam_vit.py', '../_base_/datasets/voc_384.py',
    '../_base_/schedules/acr_26k.py', '../_base_/default_runtime.py'
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmwsss.HybridViT',
        arch='base',
        img_size=384,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/vit_base_r50_s16_384.pth')))
