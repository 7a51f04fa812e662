# SEAM on the generated Shapes images, from tags to a segmentation model.
_base_ = '../_base_/pipelines/affinity.py'
variables = dict(
    classifier='configs/seam/seam_r18_shapes.py',
    # Results on the training images are scored with their masks.
    scored_on='configs/seam/seam_r18_shapes.py --train-images',
    crf_config='configs/seam/refine_seam-crf_shapes.py',
    low='alpha4',
    high='alpha24',
    affinity_net='configs/affinity/affinitynet_small_shapes.py',
    segmentor='configs/segmentation/fcn_shapes.py')
