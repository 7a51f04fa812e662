# pipeline_voc.py with EMANet as segmentation model.
_base_ = './pipeline_voc.py'
variables = dict(segmentor='configs/segmentation/emanet_r101_voc.py')
