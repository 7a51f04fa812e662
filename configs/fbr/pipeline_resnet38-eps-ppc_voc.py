# FBR in setting I+S on PASCAL VOC 2012. Its masks come from the CRF alone, and
# the DeepLabV2 that learns them is PPC's.
_base_ = '../_base_/pipelines/crf.py'
variables = dict(
    classifier='configs/fbr/fbr_resnet38-eps-ppc_voc.py',
    # As in the papers: on the 1,464 images of train, not on train_aug.
    scored_on='configs/fbr/fbr_resnet38-eps-ppc_voc.py',
    mask_config='configs/fbr/refine_fbr-crf_voc.py',
    segmentor='configs/segmentation/deeplabv2_r101-448_voc.py')
