# The network of ToCo and CoSA: a classifier on the last block of a ViT, an
# auxiliary one on an earlier block, and a decoder that learns the labels which
# the classifier's CAMs give.
_base_ = './imagenet_preprocessor.py'
# The maximum over all positions of each channel, as published, whose size asks
# for small weights.
pooling = dict(type='mmwsss.HybridPooling', gamma=0, levels=(1, ))
head_init = dict(type='TruncNormal', layer='Conv2d', std=0.02)
model = dict(
    type='mmwsss.EndToEndSegmentor',
    backbone=dict(
        type='mmwsss.AttentionViT',
        arch='base',
        img_size=224,
        patch_size=16,
        final_norm=True,
        interpolate_mode='bicubic',
        # The auxiliary block and the last.
        out_indices=(9, 11)),
    cls_head=dict(
        type='mmwsss.CAMHead',
        num_classes=20,
        in_channels=768,
        pooling=pooling,
        init_cfg=head_init),
    auxiliary_head=dict(
        type='mmwsss.CAMHead',
        num_classes=20,
        in_channels=768,
        in_index=0,
        pooling=pooling,
        init_cfg=head_init),
    localizer=dict(type='mmwsss.CAM'),
    # Two dilated 3 x 3 convolutions and a classifier: "LargeFOV".
    decode_head=dict(
        type='FCNHead',
        in_channels=768,
        in_index=-1,
        channels=512,
        num_convs=2,
        kernel_size=3,
        dilation=5,
        concat_input=False,
        dropout_ratio=0.,
        norm_cfg=None,
        num_classes=21),
    label_maker=dict(
        type='mmwsss.RefinedLabels', fg_threshold=0.7, bg_threshold=0.25),
    seg_losses=dict(
        # A tenth of the mean of both means.
        ce=dict(type='mmwsss.BalancedCrossEntropy', loss_weight=0.05),
        energy=dict(type='mmwsss.DenseEnergyLoss', loss_weight=0.05 * 1e-7)),
    # Labels are made from CAMs as the test makes them.
    train_cfg=dict(seg_start=0.1, fused_labels=True),
    test_cfg=dict(
        scales=(1.0, 0.5, 1.5),
        flip=True,
        flip_fuse='max',
        normalize='minmax',
        eps=1e-5))
# With several processes: phase 1 leaves the decoder without gradients, which
# the wrapper of the model would otherwise take for a mistake and stop.
find_unused_parameters = True
