# pipeline_voc.py on COCO 2014. CAMs and masks of training images are scored on
# all of them.
_base_ = './pipeline_voc.py'
variables = dict(
    classifier='configs/weaktr/weaktr_deit-small_coco.py',
    scored_on='configs/weaktr/weaktr_deit-small_coco.py',
    mask_config='configs/weaktr/refine_weaktr-crf_coco.py',
    segmentor='configs/weaktr/weaktr_segmenter_deit-small_coco.py')
