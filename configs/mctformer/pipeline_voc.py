# MCTformer+ on PASCAL VOC 2012, the way of its scripts: AffinityNet with
# exponents 1 and 12 and a walk of 2^6 steps, DeepLabV1-LargeFOV, both on
# ResNet-38.
_base_ = '../_base_/pipelines/affinity.py'
variables = dict(
    classifier='configs/mctformer/mctformer-plus_deit-small_voc.py',
    # As in the papers: on the 1,464 images of train, not on train_aug.
    scored_on='configs/mctformer/mctformer-plus_deit-small_voc.py',
    crf_config='configs/acr/refine_acr-crf_voc.py',
    low='alpha1',
    high='alpha12',
    affinity_net='configs/seam/seam_affinitynet_resnet38_voc.py',
    segmentor='configs/segmentation/deeplabv1-largefov_resnet38_voc.py')
