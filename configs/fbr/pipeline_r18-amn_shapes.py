# FBR on AMN (setting I) on the generated Shapes images, from tags to a
# segmentation model.
_base_ = ['../_base_/pipelines/crf.py', '../_base_/pipelines/seeds.py']
variables = dict(
    seed_classifier='configs/cam/cam_r18_shapes.py',
    # Results on the training images are scored with their masks.
    seeds_scored_on='configs/cam/cam_r18_shapes.py --train-images',
    seed_config='configs/refine/irn-labels_shapes.py',
    classifier='configs/fbr/fbr_r18-amn_shapes.py',
    scored_on='configs/fbr/fbr_r18-amn_shapes.py --train-images',
    mask_config='configs/fbr/refine_amn-crf_shapes.py',
    segmentor='configs/segmentation/fcn_shapes.py')
stages = _base_.seed_stages
gallery = dict(
    train=dict(columns={
        'CAM before': '{start_cams.maps}',
        'seeds': '{seeds.masks}'
    }))
