# ACR on the small part of VOC, from tags to a segmentation model.
_base_ = '../_base_/pipelines/affinity.py'
variables = dict(
    classifier='configs/acr/acr_deit-tiny_voc-mini.py',
    # Results on the training images are scored with their masks.
    scored_on='configs/acr/acr_deit-tiny_voc-mini.py --train-images',
    crf_config='configs/acr/refine_acr-crf_voc-mini.py',
    low='alpha0.5',
    high='alpha6',
    affinity_net='configs/affinity/affinitynet_r18_voc-mini.py',
    segmentor='configs/segmentation/deeplabv2_r18_voc-mini.py',
    # The other classes are too rare there for their IoU to mean anything.
    metric='mIoU_subset',
    mask_options='--report-classes background cat cow dog horse person sheep')
