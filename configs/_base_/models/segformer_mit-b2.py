# SegFormer (arXiv 2105.15203) by mmseg: a hierarchical transformer and a head
# of linear layers on its four maps, at strides 4 to 32.
_base_ = './imagenet_preprocessor.py'
model = dict(
    type='EncoderDecoder',
    backbone=dict(
        type='MixVisionTransformer',
        embed_dims=64,
        num_layers=[3, 4, 6, 3],
        num_heads=[1, 2, 5, 8],
        patch_sizes=[7, 3, 3, 3],
        sr_ratios=[8, 4, 2, 1],
        out_indices=(0, 1, 2, 3),
        mlp_ratio=4,
        qkv_bias=True,
        drop_path_rate=0.1),
    decode_head=dict(
        type='SegformerHead',
        in_channels=[64, 128, 320, 512],
        in_index=[0, 1, 2, 3],
        channels=256,
        dropout_ratio=0.1,
        num_classes=21,
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        # The mean is over labelled pixels of all processes.
        loss_decode=dict(type='mmwsss.GlobalCrossEntropy')),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
tta_model = dict(type='mmwsss.SegTTAModel', average='probs')
# For mmseg.apis, which else would not know our loaders of images.
custom_imports = dict(imports=['mmwsss.models'], allow_failed_imports=False)
