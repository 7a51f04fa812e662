# PPC (CVPR 2022) on EPS: SEAM's two views, raw and refined maps of both fitted
# to the saliency map, and pixels contrasted with prototypes of classes. The
# raw maps are read out.
_base_ = './eps_resnet38.py'
model = dict(
    # The mean of both views' classification losses.
    cls_head=dict(loss_weight=0.5),
    refiner=dict(
        type='mmwsss.PixelCorrelationModule',
        in_channels=(512, 1024),
        channels=(64, 128),
        in_index=(0, 1)),
    # 128 of 448 pixels.
    second_view=dict(type='mmwsss.Rescale', scale=2 / 7),
    regularizers=dict(
        eps=dict(refined_weight=1.),
        seam=dict(type='mmwsss.EquivariantRegularization'),
        ppc=dict(
            type='mmwsss.PixelPrototypeContrast',
            in_channels=4096,
            num_classes=20,
            background_score=0.1,
            area_divisor=16,
            cross_weight=0.1,
            intra_weight=0.1)),
    test_cfg=dict(threshold=0.22))
