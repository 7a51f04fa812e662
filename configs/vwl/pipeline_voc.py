# VWL on PASCAL VOC 2012 as its authors did it: IRNet, then DeepLabV2 from
# ImageNet weights. They name no thresholds for IRNet's labels; these are its
# own.
_base_ = '../_base_/pipelines/irn.py'
variables = dict(
    classifier='configs/vwl/vwl-l_r101_voc.py',
    # As in the papers: on the 1,464 images of train, not on train_aug.
    scored_on='configs/vwl/vwl-l_r101_voc.py',
    label_config='configs/refine/irn-labels_voc.py',
    irnet='configs/affinity/irnet_r50_voc.py',
    segmentor='configs/segmentation/deeplabv2_r101_voc.py')
