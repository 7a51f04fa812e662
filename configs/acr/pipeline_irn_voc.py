# ACR on PASCAL VOC 2012 by way of IRNet, the other route of its authors.
_base_ = '../_base_/pipelines/irn.py'
variables = dict(
    classifier='configs/acr/acr_vit_voc.py',
    # As in the papers: on the 1,464 images of train, not on train_aug.
    scored_on='configs/acr/acr_vit_voc.py',
    label_config='configs/acr/refine_acr-irn-labels_voc.py',
    irnet='configs/affinity/irnet_r50_voc.py',
    segmentor='configs/segmentation/deeplabv2_r101_voc.py')
