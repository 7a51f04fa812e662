# Mask2Former (arXiv 2112.01527) by mmseg and mmdet, which has to be installed
# (pip install "mmwsss[mask2former]"): queries that each predict a class and a
# mask. Without compiled operations of mmcv its deformable attention runs in
# torch.
_base_ = './imagenet_preprocessor.py'
num_classes = 21
attention = dict(
    embed_dims=256, num_heads=8, attn_drop=0., proj_drop=0., batch_first=True)
model = dict(
    type='EncoderDecoder',
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        style='pytorch',
        norm_eval=True,
        norm_cfg=dict(type='BN', requires_grad=False)),
    decode_head=dict(
        type='Mask2FormerHead',
        in_channels=[256, 512, 1024, 2048],
        strides=[4, 8, 16, 32],
        feat_channels=256,
        out_channels=256,
        num_classes=num_classes,
        num_queries=100,
        num_transformer_feat_level=3,
        pixel_decoder=dict(
            type='mmdet.MSDeformAttnPixelDecoder',
            num_outs=3,
            norm_cfg=dict(type='GN', num_groups=32),
            act_cfg=dict(type='ReLU'),
            encoder=dict(
                num_layers=6,
                layer_cfg=dict(
                    self_attn_cfg=dict(
                        embed_dims=256,
                        num_heads=8,
                        num_levels=3,
                        num_points=4,
                        dropout=0.,
                        batch_first=True),
                    ffn_cfg=dict(
                        embed_dims=256,
                        feedforward_channels=1024,
                        num_fcs=2,
                        ffn_drop=0.,
                        act_cfg=dict(type='ReLU', inplace=True)))),
            positional_encoding=dict(num_feats=128, normalize=True)),
        enforce_decoder_input_project=False,
        positional_encoding=dict(num_feats=128, normalize=True),
        transformer_decoder=dict(
            return_intermediate=True,
            num_layers=9,
            layer_cfg=dict(
                self_attn_cfg=attention,
                cross_attn_cfg=attention,
                ffn_cfg=dict(
                    embed_dims=256,
                    feedforward_channels=2048,
                    num_fcs=2,
                    act_cfg=dict(type='ReLU', inplace=True),
                    ffn_drop=0.,
                    add_identity=True))),
        # The last weight is that of queries without an object.
        loss_cls=dict(
            type='mmdet.CrossEntropyLoss',
            loss_weight=2.,
            class_weight=[1.] * num_classes + [0.1]),
        loss_mask=dict(
            type='mmdet.CrossEntropyLoss', use_sigmoid=True, loss_weight=5.),
        loss_dice=dict(
            type='mmdet.DiceLoss',
            use_sigmoid=True,
            activate=True,
            naive_dice=True,
            eps=1.,
            loss_weight=5.),
        train_cfg=dict(
            num_points=12544,
            oversample_ratio=3.,
            importance_sample_ratio=0.75,
            assigner=dict(
                type='mmdet.HungarianAssigner',
                match_costs=[
                    dict(type='mmdet.ClassificationCost', weight=2.),
                    dict(
                        type='mmdet.CrossEntropyLossCost',
                        weight=5.,
                        use_sigmoid=True),
                    dict(
                        type='mmdet.DiceCost',
                        weight=5.,
                        pred_act=True,
                        eps=1.)
                ]),
            sampler=dict(type='mmdet.MaskPseudoSampler'))),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
# Its scores are sums over queries, not logits.
tta_model = dict(type='mmwsss.SegTTAModel', average='logits')
# For mmseg.apis, which else would not know our loaders of images.
custom_imports = dict(imports=['mmwsss.models'], allow_failed_imports=False)
