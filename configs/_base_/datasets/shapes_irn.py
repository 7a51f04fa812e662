# voc_irn_512.py for the generated Shapes images, with their instances. The
# confident labels are made with
#   tools/refine_cams.py configs/refine/irn-labels_shapes.py --cams CAMS \
#       --out work_dirs/irn_labels/shapes
_base_ = './shapes.py'
train_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadPseudoMask'),
    dict(type='mmwsss.RandomRescale', low=0.8, high=1.25),
    dict(type='RandomFlip', prob=0.5),
    dict(type='mmwsss.PlaceCrop', size=96),
    dict(type='mmwsss.DownscaleLabel', factor=4),
    dict(type='mmwsss.PackWSSSInputs')
]
test_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadCAMs'),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.LoadInstances'),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    dataset=dict(
        mask_dir='work_dirs/irn_labels/shapes', pipeline=train_pipeline))
val_dataloader = None
test_dataloader = dict(
    dataset=dict(
        ann_file='ImageSets/Segmentation/train.txt',
        data_prefix=dict(instance_path='SegmentationObject'),
        cam_dir='work_dirs/cams/shapes',
        pipeline=test_pipeline))
val_evaluator = None
test_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    # CAMs show the discriminative part of an object: few reach 0.5.
    dict(type='mmwsss.InstanceAP', thresholds=(0.25, 0.5))
]
