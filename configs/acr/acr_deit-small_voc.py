# ACR with DeiT-S: trains on one GPU with 8 GB.
_base_ = './acr_vit_voc.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmwsss.AttentionViT',
        arch='deit-small',
        img_size=224,
        # deit_small_patch16_224, converted by tools/model_converters/deit.py
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/deit_small_patch16_224.pth')),
    cls_head=dict(in_channels=384))
