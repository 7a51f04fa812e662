# pipeline_voc.py on COCO 2014. CAMs and masks of training images are
# scored on all of them.
_base_ = '../_base_/pipelines/irn.py'
variables = dict(
    classifier='configs/cam/cam_r50_coco.py',
    scored_on='configs/cam/cam_r50_coco.py',
    label_config='configs/refine/irn-labels_coco.py',
    irnet='configs/affinity/irnet_r50_coco.py',
    segmentor='configs/segmentation/deeplabv2_r101_coco.py')
