# A narrow ResNet-18 without its last stage and a fully convolutional head that
# reads strides 4, 8 and 16: for small images, from random weights.
_base_ = './encoder_decoder_r101.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=18,
        stem_channels=32,
        base_channels=32,
        num_stages=3,
        out_indices=(0, 1, 2),
        strides=(1, 2, 2),
        dilations=(1, 1, 1),
        norm_cfg=dict(type='BN', requires_grad=True)),
    decode_head=dict(
        type='FCNHead',
        in_channels=(32, 64, 128),
        in_index=(0, 1, 2),
        input_transform='resize_concat',
        channels=64,
        num_convs=2,
        concat_input=False,
        dropout_ratio=0.1,
        norm_cfg=dict(type='BN', requires_grad=True)))
# On several GPUs batch norm normalises the images of all of them.
sync_bn = 'torch'
# For mmseg.apis, which else would not know our loaders of images.
custom_imports = dict(imports=['mmwsss.models'], allow_failed_imports=False)
