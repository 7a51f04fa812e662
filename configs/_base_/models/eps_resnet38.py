# EPS (CVPR 2021) on the wide ResNet-38, output stride 8: a map of the
# background beside those of the classes, all of them fitted to a saliency map.
_base_ = './cam_resnet38.py'
model = dict(
    cls_head=dict(
        with_background=True, dropout_ratio=0., pool_at_image_size=False),
    # Probabilities, added up over the views and divided by their maximum.
    localizer=dict(type='mmwsss.SoftmaxCAM'),
    regularizers=dict(
        eps=dict(
            type='mmwsss.ExplicitPseudoPixelSupervision',
            overlap_threshold=0.4,
            foreground_share=0.5)),
    # The published script's background score.
    test_cfg=dict(normalize='max', threshold=0.20))
