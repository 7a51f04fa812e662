# pipeline_voc.py on COCO 2014.
_base_ = './pipeline_voc.py'
variables = dict(model='configs/toco/toco_vit_coco.py')
