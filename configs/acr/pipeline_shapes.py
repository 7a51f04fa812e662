# ACR on the generated Shapes images, from tags to a segmentation model.
_base_ = '../_base_/pipelines/affinity.py'
variables = dict(
    classifier='configs/acr/acr_vit_shapes.py',
    # Results on the training images are scored with their masks.
    scored_on='configs/acr/acr_vit_shapes.py --train-images',
    crf_config='configs/acr/refine_acr-crf_shapes.py',
    low='alpha1',
    high='alpha12',
    affinity_net='configs/affinity/affinitynet_small_shapes.py',
    segmentor='configs/segmentation/fcn_shapes.py')
