# ACR on PASCAL VOC 2012: AffinityNet as in the authors' PSA route, DeepLabV2.
_base_ = '../_base_/pipelines/affinity.py'
variables = dict(
    classifier='configs/acr/acr_vit_voc.py',
    # As in the papers: on the 1,464 images of train, not on train_aug.
    scored_on='configs/acr/acr_vit_voc.py',
    crf_config='configs/acr/refine_acr-crf_voc.py',
    low='alpha1',
    high='alpha12',
    affinity_net='configs/affinity/affinitynet_resnet38_voc.py',
    segmentor='configs/segmentation/deeplabv2_r101_voc.py')
