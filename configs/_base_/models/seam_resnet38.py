# SEAM as its script has it: an image and its copy at 0.3 of the size, raw and
# refined CAMs of both regularised by each other, refined maps read out.
_base_ = './cam_resnet38.py'
model = dict(
    # The mean of both views' classification losses.
    cls_head=dict(loss_weight=0.5),
    refiner=dict(
        type='mmwsss.PixelCorrelationModule',
        in_channels=(512, 1024),
        channels=(64, 128),
        in_index=(0, 1)),
    localizer=dict(_delete_=True, type='mmwsss.RefinedCAM'),
    second_view=dict(type='mmwsss.Rescale', scale=0.3),
    regularizers=dict(
        # rvmin_weight=1 is the script's; the paper has no such term: 0.
        seam=dict(
            type='mmwsss.EquivariantRegularization',
            er_weight=1.,
            ecr_weight=1.,
            rvmin_weight=1.,
            topk_ratio=0.2)))
