# DeepLabV2 (arXiv 1606.00915): ResNet-101 at stride 8, sums of dilated
# classifiers, and the maximum over three scales in training and testing.
_base_ = './encoder_decoder_r101.py'
model = dict(
    type='mmwsss.MultiScaleEncoderDecoder',
    scales=(0.5, 0.75),
    # Batch norm stays as it was pretrained.
    backbone=dict(norm_eval=True),
    decode_head=dict(
        type='mmwsss.DeepLabV2Head', dilations=(6, 12, 18, 24)))
# The maximum over scales is inside the model. The CRF is the one of the
# retraining code that VWL points to.
tta_model = dict(
    type='mmwsss.SegTTAModel',
    average='logits',
    crf=dict(
        num_iters=10,
        gaussian_sxy=1,
        gaussian_compat=3,
        bilateral_sxy=67,
        bilateral_srgb=3,
        bilateral_compat=4))
