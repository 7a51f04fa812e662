# From image-level labels to masks on two frozen networks, on the small part
# of VOC: EfficientNet-Lite2 says what, a ViT-Ti says what belongs together.
_base_ = '../_base_/pipelines/frozen.py'
variables = dict(
    classifier='configs/frozen/cam_lite2_voc-mini.py',
    # Results on the training images are scored with their masks.
    scored_on='configs/frozen/cam_lite2_voc-mini.py --train-images',
    affinity_config='configs/frozen/affinity_vit-tiny_voc-mini.py',
    label_config='configs/frozen/refine_labels_voc-mini.py',
    segmentor='configs/frozen/linear_lite2-vit-tiny_voc-mini.py',
    # The other classes are too rare there for their IoU to mean anything.
    metric='mIoU_subset',
    mask_options='--report-classes background cat cow dog horse person sheep')
# CAMs of the validation images, with their labels, as one sees them before
# anything is trained on them.
stages = dict(
    val_cams=dict(
        command='tools/test.py {classifier} {classify.run} '
        '--out {dir}/maps --work-dir {dir}',
        metrics='{dir}/metrics.json',
        rows={
            'CAM, val, with labels, fixed threshold': '{metric}_fixed',
            'CAM, val, with labels, best threshold *': '{metric}'
        },
        outputs=dict(maps='{dir}/maps')),
    val_affinity=dict(
        command='tools/test.py {affinity_config} --out {dir} --work-dir {dir} '
        '--cfg-options '
        'test_dataloader.dataset.cam_dir={val_cams.maps} '
        'test_dataloader.dataset.ann_file='
        'ImageSets/Segmentation/val_bal.txt',
        metrics='{dir}/metrics.json',
        rows={
            '+ affinity, val, with labels, fixed threshold':
            '{metric}_fixed',
            '+ affinity, val, with labels, best threshold *': '{metric}'
        },
        outputs=dict(maps='{dir}/cams', masks='{dir}/masks')))
