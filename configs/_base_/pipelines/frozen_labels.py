# From image-level labels to a segmentation model on frozen features: a linear
# classifier, its CAMs, their affinity, labels of sure pixels, a linear
# segmentation head.
# A pipeline config sets the other variables; see docs/frozen.md.
_base_ = './cams.py'
stages = dict(
    cams=dict(
        rows=dict(
            _delete_=True, **{
                'CAM, training images, fixed threshold': '{metric}_fixed',
                'CAM, training images, best threshold *': '{metric}'
            })),
    affinity=dict(
        command='tools/test.py {affinity_config} --train-images --out {dir} '
        '--work-dir {dir} --cfg-options '
        'test_dataloader.dataset.cam_dir={cams.maps}',
        score='tools/evaluate_cams.py {dir}/cams {scored_on} '
        '--out {dir}/metrics.json',
        metrics='{dir}/metrics.json',
        rows={
            '+ affinity, training images, fixed threshold': '{metric}_fixed',
            '+ affinity, training images, best threshold *': '{metric}'
        },
        outputs=dict(maps='{dir}/cams', masks='{dir}/masks')),
    labels=dict(
        command='tools/refine_cams.py {label_config} --cams {affinity.maps} '
        '--out {dir}/masks --workers {workers}',
        score='tools/evaluate_masks.py {dir}/masks --config {scored_on} '
        '{mask_options} --out {dir}/metrics.json',
        metrics='{dir}/metrics.json',
        rows={
            'labels, training images, sure pixels only': '{metric}',
            'pixels that are not sure, %': 'ignored'
        },
        outputs=dict(masks='{dir}/masks')),
    segment=dict(
        command='tools/train.py {segmentor} --work-dir {dir} --resume '
        '--cfg-options randomness.seed={seed} '
        'train_dataloader.dataset.mask_dir={labels.masks} '
        '{train_options}',
        outputs=dict(run='{dir}/last_checkpoint')))
gallery = dict(
    train=dict(
        columns={
            '+ affinity': '{affinity.maps}',
            'labels': '{labels.masks}'
        }))
