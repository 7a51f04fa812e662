# The paper's setting: hybrid ViT-B (R50 stem), 384 pixels, and the recipe that
# the released script really runs (see README.md, "paper versus code").
_base_ = [
    '../_base_/models/acr_vit.py', '../_base_/datasets/voc_384.py',
    '../_base_/schedules/acr_26k.py', '../_base_/default_runtime.py'
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmwsss.HybridViT',
        arch='base',
        img_size=384,
        # vit_base_r50_s16_384, converted by
        #   tools/model_converters/timm_vit.py IN OUT
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/vit_base_r50_s16_384.pth')))
