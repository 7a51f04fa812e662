# ACR on the small part of VOC by way of IRNet.
_base_ = '../_base_/pipelines/irn.py'
variables = dict(
    classifier='configs/acr/acr_deit-tiny_voc-mini.py',
    # Results on the training images are scored with their masks.
    scored_on='configs/acr/acr_deit-tiny_voc-mini.py --train-images',
    label_config='configs/acr/refine_acr-irn-labels_voc-mini.py',
    irnet='configs/affinity/irnet_r18_voc-mini.py',
    segmentor='configs/segmentation/deeplabv2_r18_voc-mini.py',
    # The other classes are too rare there for their IoU to mean anything.
    metric='mIoU_subset',
    mask_options='--report-classes background cat cow dog horse person sheep')
