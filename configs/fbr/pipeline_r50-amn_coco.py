# pipeline_r50-amn_voc.py on COCO 2014. The paper reports results there and no
# settings: those of VOC, AMN's score of the background in the walk excepted.
_base_ = ['../_base_/pipelines/irn.py', '../_base_/pipelines/seeds.py']
variables = dict(
    seed_classifier='configs/cam/cam_r50_coco.py',
    seeds_scored_on='configs/cam/cam_r50_coco.py',
    seed_config='configs/refine/irn-labels_coco.py',
    classifier='configs/fbr/fbr_r50-amn_coco.py',
    scored_on='configs/fbr/fbr_r50-amn_coco.py',
    label_config='configs/fbr/refine_fbr-irn-labels_coco.py',
    irnet='configs/fbr/fbr_irnet_r50_coco.py',
    segmentor='configs/segmentation/deeplabv2_r101_coco.py')
stages = _base_.seed_stages
gallery = dict(
    train=dict(columns={
        'CAM before': '{start_cams.maps}',
        'seeds': '{seeds.masks}'
    }))
