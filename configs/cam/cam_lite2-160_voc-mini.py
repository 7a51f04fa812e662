# CAM on an EfficientNet-Lite2 (needs timm) whose last stages keep stride 16,
# 14 x 14 CAMs of 224 pixels: the base of the methods that train a CNN on
# voc-mini. Crops of 160 pixels halve the time of a training.
_base_ = [
    '../_base_/models/cam_r50.py', '../_base_/datasets/voc-mini_224.py',
    '../_base_/schedules/adamw_8e.py', '../_base_/epoch_runtime.py'
]
train_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    dict(type='mmwsss.RandomSquareCrop', size=160, scale=(0.6, 1.0)),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
model = dict(
    # Not ImageNet's usual values.
    data_preprocessor=dict(
        mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5]),
    backbone=dict(
        _delete_=True,
        type='mmwsss.TimmBackbone',
        model_name='tf_efficientnet_lite2',
        output_stride=16,
        # Strides 8 and 16, 48 and 120 channels, before the last map.
        middle_indices=(2, 3),
        # Chosen on training images, see docs/reproduction.md: the last stage
        # learns, and the last convolution.
        frozen_stages=6,
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/tf_efficientnet_lite2.pth')),
    # As on frozen features (frozen_cam.py): a bias in the CAMs, which makes
    # them narrower, and small first weights, since the training is short.
    cls_head=dict(
        in_channels=1280,
        bias=True,
        bias_in_cams=True,
        init_cfg=dict(type='Normal', layer='Conv2d', std=0.01)),
    test_cfg=dict(normalize='minmax', threshold=0.4))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
param_scheduler = [dict(_base_.param_scheduler[0], end=4)]
train_cfg = dict(max_epochs=4, val_interval=4)
val_evaluator = dict(fixed_threshold=0.4)
test_evaluator = val_evaluator
