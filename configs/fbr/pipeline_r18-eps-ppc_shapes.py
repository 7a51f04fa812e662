# FBR in setting I+S on the generated Shapes images, from tags and saliency
# maps to a segmentation model.
_base_ = '../_base_/pipelines/crf.py'
variables = dict(
    classifier='configs/fbr/fbr_r18-eps-ppc_shapes.py',
    # Results on the training images are scored with their masks.
    scored_on='configs/fbr/fbr_r18-eps-ppc_shapes.py --train-images',
    mask_config='configs/refine/crf-masks_shapes.py',
    segmentor='configs/segmentation/fcn_shapes.py')
