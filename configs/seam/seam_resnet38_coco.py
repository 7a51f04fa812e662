# SEAM on COCO 2014. Not in the paper: all but the number of classes is
# inferred from seam_resnet38_voc.py, eight epochs and the threshold included.
_base_ = [
    '../_base_/models/cam_resnet38.py', '../_base_/datasets/coco_448.py',
    '../_base_/schedules/sgd_seam.py', '../_base_/epoch_runtime.py'
]
model = dict(
    backbone=dict(
        # ImageNet weights: convert the published .params file with
        #   tools/model_converters/resnet38.py IN OUT
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/resnet38.pth')),
    # The mean of both views' classification losses.
    decode_head=dict(num_classes=80, loss_weight=0.5),
    refiner=dict(
        type='mmwsss.PixelCorrelationModule',
        in_channels=(512, 1024),
        channels=(64, 128),
        in_index=(0, 1)),
    localizer=dict(_delete_=True, type='mmwsss.RefinedCAM'),
    second_view=dict(type='mmwsss.Rescale', scale=0.3),
    regularizers=[
        dict(
            type='mmwsss.EquivariantRegularization',
            er_weight=1.,
            ecr_weight=1.,
            rvmin_weight=1.,
            topk_ratio=0.2)
    ])
val_evaluator = dict(fixed_threshold=0.26)
test_evaluator = val_evaluator
