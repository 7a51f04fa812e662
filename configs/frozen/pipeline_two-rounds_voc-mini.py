# pipeline_voc-mini.py with another classifier and a second round: a second
# segmentation head learns from the masks that the first one makes of the
# training images, knowing their labels.
_base_ = './pipeline_voc-mini.py'
variables = dict(
    classifier='configs/frozen/cam_unit-lite2_voc-mini.py',
    scored_on='configs/frozen/cam_unit-lite2_voc-mini.py --train-images')
stages = dict(
    _delete_=True,
    classify=_base_.stages.classify,
    cams=_base_.stages.cams,
    affinity=_base_.stages.affinity,
    labels=_base_.stages.labels,
    first=_base_.stages.segment,
    own_labels=dict(
        command='tools/test.py {segmentor} {first.run} --train-images '
        '--work-dir {dir} --out {dir}/masks --cfg-options '
        'model.test_cfg.use_image_labels=True model.test_cfg.sure=0.6',
        score='tools/evaluate_masks.py {dir}/masks --config {scored_on} '
        '{mask_options} --out {dir}/metrics.json',
        metrics='{dir}/metrics.json',
        rows={
            'own labels, training images, sure pixels only': '{metric}',
            'pixels that are not sure of them, %': 'ignored'
        },
        outputs=dict(masks='{dir}/masks')),
    segment=dict(
        command=_base_.stages.segment.command.replace('labels.masks',
                                                      'own_labels.masks'),
        outputs=_base_.stages.segment.outputs),
    test=_base_.stages.test,
    test_labels=_base_.stages.test_labels)
gallery = dict(train=dict(columns={'own labels': '{own_labels.masks}'}))
