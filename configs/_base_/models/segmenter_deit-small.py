# Segmenter (arXiv 2105.05633): a ViT, and a mask transformer that compares
# the tokens of patches with one token per class. With WeakTr's capped loss.
_base_ = './imagenet_preprocessor.py'
model = dict(
    type='EncoderDecoder',
    backbone=dict(
        type='mmwsss.AttentionViT',
        arch='deit-small',
        img_size=480,
        patch_size=16,
        final_norm=True,
        drop_path_rate=0.1),
    decode_head=dict(
        type='SegmenterMaskTransformerHead',
        in_channels=384,
        channels=384,
        embed_dims=384,
        num_classes=21,
        num_layers=2,
        num_heads=6,
        drop_path_rate=0.,
        drop_rate=0.1,
        attn_drop_rate=0.1,
        # The masks come from products of tokens, not from a convolution.
        dropout_ratio=0.,
        loss_decode=dict(
            type='mmwsss.CappedCrossEntropy', cell=120, start=1.2)),
    train_cfg=dict(),
    test_cfg=dict(mode='slide', crop_size=(480, 480), stride=(320, 320)))
# Probabilities of all looks averaged, then a CRF.
tta_model = dict(
    type='mmwsss.SegTTAModel',
    average='probs',
    crf=dict(
        num_iters=10,
        gaussian_sxy=3,
        gaussian_compat=3,
        bilateral_sxy=83,
        bilateral_srgb=5,
        bilateral_compat=3))
# For mmseg.apis, which else would not know our loaders of images.
custom_imports = dict(imports=['mmwsss.models'], allow_failed_imports=False)
