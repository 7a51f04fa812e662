# GETAM's hybrid network: two stages of the R50 stem and two blocks feed the
# decoder, CAMs are read from the last six blocks.
_base_ = './getam_vit.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmwsss.HybridViT',
        arch='base',
        img_size=384,
        stem_out_indices=(0, 1),
        out_indices=(8, 11)),
    neck=dict(num_stem_maps=2, out_channels=(256, 512, 768, 768)),
    decode_head=dict(in_channels=(256, 512, 768, 768)),
    localizer=dict(start_layer=6))
