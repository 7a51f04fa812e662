# SEAM on PASCAL VOC 2012, as its authors did it: AffinityNet with exponents 4
# and 24, DeepLabV1-LargeFOV, all on ResNet-38.
_base_ = '../_base_/pipelines/affinity.py'
variables = dict(
    classifier='configs/seam/seam_resnet38_voc.py',
    # As in the papers: on the 1,464 images of train, not on train_aug.
    scored_on='configs/seam/seam_resnet38_voc.py',
    crf_config='configs/seam/refine_seam-crf_voc.py',
    low='alpha4',
    high='alpha24',
    affinity_net='configs/seam/seam_affinitynet_resnet38_voc.py',
    segmentor='configs/segmentation/deeplabv1-largefov_resnet38_voc.py')
