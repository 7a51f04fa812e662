# FBR on AMN (setting I) on PASCAL VOC 2012: a classifier's maps and a CRF give
# the seeds, AMN's maps and IRNet the masks, DeepLabV2 learns these. The paper
# probably starts it from COCO weights: deeplabv2_r101-coco_voc.py.
_base_ = ['../_base_/pipelines/irn.py', '../_base_/pipelines/seeds.py']
variables = dict(
    seed_classifier='configs/cam/cam_r50_voc.py',
    # As in the papers: on the 1,464 images of train, not on train_aug.
    seeds_scored_on='configs/cam/cam_r50_voc.py',
    seed_config='configs/refine/irn-labels_voc.py',
    classifier='configs/fbr/fbr_r50-amn_voc.py',
    scored_on='configs/fbr/fbr_r50-amn_voc.py',
    label_config='configs/fbr/refine_fbr-irn-labels_voc.py',
    irnet='configs/fbr/fbr_irnet_r50_voc.py',
    segmentor='configs/segmentation/deeplabv2_r101_voc.py')
stages = _base_.seed_stages
gallery = dict(
    train=dict(columns={
        'CAM before': '{start_cams.maps}',
        'seeds': '{seeds.masks}'
    }))
