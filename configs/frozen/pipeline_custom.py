# From image-level labels to masks of your own photographs, on two frozen
# networks: EfficientNet-Lite2 says what, DINOv2-S/14 says what belongs
# together. Do not edit it: tools/dataset_converters/custom.py and
# tools/masks_from_tags.py write a pipeline that inherits this one and knows
# your images and classes.
_base_ = '../_base_/pipelines/frozen_labels.py'
variables = dict(
    classifier='configs/frozen/cam_lite2_custom.py',
    # Results on the training images are scored with their masks.
    scored_on='configs/frozen/cam_lite2_custom.py --train-images',
    affinity_config='configs/frozen/affinity_dinov2-small_custom.py',
    label_config='configs/frozen/refine_labels_custom.py',
    segmentor='configs/frozen/linear_lite2-dinov2-small_custom.py')
stages = dict(
    # What it is all for: masks of the training images, of their classes.
    masks=dict(
        command='tools/test.py {segmentor} {segment.run} --train-images '
        '--work-dir {dir} --out {dir}/masks '
        '--cfg-options model.test_cfg.use_image_labels=True',
        score='tools/evaluate_masks.py {dir}/masks --config {scored_on} '
        '{mask_options} --out {dir}/metrics.json',
        metrics='{dir}/metrics.json',
        rows={'masks of the training images': '{metric}'},
        outputs=dict(masks='{dir}/masks')))
gallery = dict(train=dict(columns={'masks': '{masks.masks}'}))
