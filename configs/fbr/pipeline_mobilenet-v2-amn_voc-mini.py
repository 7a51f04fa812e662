# FBR on AMN (setting I) on the small part of VOC, by way of IRNet.
_base_ = ['../_base_/pipelines/irn.py', '../_base_/pipelines/seeds.py']
variables = dict(
    seed_classifier='configs/cam/cam_mobilenet-v2_voc-mini.py',
    # Results on the training images are scored with their masks.
    seeds_scored_on='configs/cam/cam_mobilenet-v2_voc-mini.py --train-images',
    seed_config='configs/refine/irn-labels_voc-mini.py',
    classifier='configs/fbr/fbr_mobilenet-v2-amn_voc-mini.py',
    scored_on='configs/fbr/fbr_mobilenet-v2-amn_voc-mini.py --train-images',
    label_config='configs/fbr/refine_fbr-irn-labels_voc-mini.py',
    irnet='configs/fbr/fbr_irnet_r18_voc-mini.py',
    segmentor='configs/segmentation/deeplabv2_r18_voc-mini.py',
    # The other classes are too rare there for their IoU to mean anything.
    metric='mIoU_subset',
    mask_options='--report-classes background cat cow dog horse person sheep')
stages = _base_.seed_stages
gallery = dict(
    train=dict(columns={
        'CAM before': '{start_cams.maps}',
        'seeds': '{seeds.masks}'
    }))
