# CAM of a ResNet-50, IRNet and DeepLabV2: the chain of IRNet's authors.
_base_ = '../_base_/pipelines/irn.py'
variables = dict(
    classifier='configs/cam/cam_r50_voc.py',
    # As in the papers: on the 1,464 images of train, not on train_aug.
    scored_on='configs/cam/cam_r50_voc.py',
    label_config='configs/refine/irn-labels_voc.py',
    irnet='configs/affinity/irnet_r50_voc.py',
    segmentor='configs/segmentation/deeplabv2_r101_voc.py')
