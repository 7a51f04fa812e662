# From COCO weights, which have learnt 80 classes from pixel labels: no longer
# weak supervision alone, but what many papers report.
_base_ = './deeplabv2_r101_voc.py'
# Weights in Caffe's convention: BGR, no division, strides in the 1 x 1
# convolutions.
data_preprocessor = dict(
    mean=[104.008, 116.669, 122.675], std=[1., 1., 1.], bgr_to_rgb=False)
model = dict(
    data_preprocessor=data_preprocessor,
    backbone=dict(
        style='caffe',
        init_cfg=dict(
            # deeplabv1_resnet101-coco, converted by
            #   tools/model_converters/deeplab_resnet.py IN OUT
            checkpoint='checkpoints/resnet101_coco.pth')))
