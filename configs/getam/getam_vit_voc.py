# GETAM on a plain ViT-B, its CAMs read from all blocks.
_base_ = './getam_vit-hybrid_voc.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmwsss.AttentionViT',
        arch='base',
        img_size=384,
        patch_size=16,
        out_indices=(2, 5, 8, 11),
        # vit_base_patch16_384, converted by
        #   tools/model_converters/timm_vit.py IN OUT
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/vit_base_p16_384.pth')),
    neck=dict(num_stem_maps=0, out_channels=(96, 192, 384, 768)),
    decode_head=dict(in_channels=(96, 192, 384, 768)),
    localizer=dict(start_layer=0))
