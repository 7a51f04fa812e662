# From image-level labels to masks on two frozen networks, on COCO 2014:
# EfficientNet-Lite2 says what, DINOv2-S/14 says what belongs together.
_base_ = '../_base_/pipelines/frozen.py'
variables = dict(
    classifier='configs/frozen/cam_lite2_coco.py',
    # Results on the training images are scored with their masks.
    scored_on='configs/frozen/cam_lite2_coco.py --train-images',
    affinity_config='configs/frozen/affinity_dinov2-small_coco.py',
    label_config='configs/frozen/refine_labels_coco.py',
    segmentor='configs/frozen/linear_lite2-dinov2-small_coco.py')
