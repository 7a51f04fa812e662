# From image-level labels to masks on two frozen networks, on PASCAL VOC 2012:
# EfficientNet-Lite2 says what, DINOv2-S/14 says what belongs together.
_base_ = '../_base_/pipelines/frozen.py'
variables = dict(
    classifier='configs/frozen/cam_lite2_voc.py',
    # Results on the training images are scored with their masks.
    scored_on='configs/frozen/cam_lite2_voc.py --train-images',
    affinity_config='configs/frozen/affinity_dinov2-small_voc.py',
    label_config='configs/frozen/refine_labels_voc.py',
    segmentor='configs/frozen/linear_lite2-dinov2-small_voc.py')
