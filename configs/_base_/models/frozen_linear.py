# A linear segmentation head on frozen features, refined at test time by the
# affinity of a frozen network and by colours.
_base_ = './frozen_preprocessor.py'
data_preprocessor = dict(seg_pad_val=255)
model = dict(
    type='mmwsss.RefinedSegmentor',
    data_preprocessor=data_preprocessor,
    segmentor=dict(
        type='mmwsss.FrozenEncoderDecoder',
        backbone=dict(type='mmwsss.FrozenFeatures', networks=[]),
        decode_head=dict(
            type='FCNHead',
            num_convs=0,
            kernel_size=1,
            concat_input=False,
            in_channels=1664,
            channels=1664,
            in_index=0,
            num_classes=21,
            dropout_ratio=0.,
            norm_cfg=None,
            init_cfg=dict(
                type='Normal', std=0.01, override=dict(name='conv_seg')),
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True)),
        train_cfg=dict(),
        test_cfg=dict(mode='whole')),
    refiners=[],
    test_cfg=dict(use_image_labels=False, sure=0.))
