# WeakTr on PASCAL VOC 2012, the way of its scripts: a dense CRF on the labels
# of the CAMs, then Segmenter with the capped loss.
_base_ = '../_base_/pipelines/crf.py'
variables = dict(
    classifier='configs/weaktr/weaktr_deit-small_voc.py',
    # As in the papers: on the 1,464 images of train, not on train_aug.
    scored_on='configs/weaktr/weaktr_deit-small_voc.py',
    mask_config='configs/weaktr/refine_weaktr-crf_voc.py',
    segmentor='configs/weaktr/weaktr_segmenter_deit-small_voc.py')
