# VWL (IJCV 2022) on a ResNet-101 whose last stage keeps stride 16, not
# dilated, in the learned variant: pooled class scores for training, visual
# words as a second task.
_base_ = './cam_r50.py'
model = dict(
    backbone=dict(
        depth=101,
        # Every BatchNorm keeps its ImageNet statistics; scales and shifts are
        # trained, but for the stem's. The published code cuts the gradient
        # below the third stage, so nothing there is updated or decayed.
        frozen_stages=2,
        # torchvision's resnet101 weights load as they are.
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/resnet101.pth')),
    cls_head=dict(
        pooling=dict(
            type='mmwsss.HybridPooling', gamma=2., levels=(1, 2, 4)),
        # As torch initialises a convolution.
        init_cfg=dict(
            type='Kaiming',
            layer='Conv2d',
            a=5**0.5,
            mode='fan_in',
            nonlinearity='leaky_relu',
            distribution='uniform')),
    regularizers=dict(
        vwl=dict(
            type='mmwsss.VisualWordsLearning',
            num_words=256,
            in_channels=2048,
            num_classes=20,
            codebook='learned')),
    test_cfg=dict(
        scales=(0.5, 1.0, 1.5, 2.0),
        interpolation='bicubic',
        # The higher of an image's and its mirror image's map, then the sum
        # over the scales.
        flip_fuse='max',
        fuse='sum',
        normalize='max',
        eps=1e-5,
        threshold=0.13))
