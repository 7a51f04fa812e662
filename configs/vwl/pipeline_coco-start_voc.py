# pipeline_voc.py whose segmentation model starts from COCO weights.
_base_ = './pipeline_voc.py'
variables = dict(
    segmentor='configs/segmentation/deeplabv2_r101-coco_voc.py')
