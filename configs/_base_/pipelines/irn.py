# From tags to a segmentation model by way of IRNet (CVPR 2019).
_base_ = './chain.py'
stages = dict(
    labels=dict(
        command='tools/refine_cams.py {label_config} --cams {cams.maps} '
        '--out {dir}/masks --workers {workers}',
        score='tools/evaluate_masks.py {dir}/masks --config {scored_on} '
        '{mask_options} --out {dir}/metrics.json',
        metrics='{dir}/metrics.json',
        rows={
            '+ CRF, confident pixels only': '{metric}',
            'pixels that are not confident, %': 'ignored'
        },
        outputs=dict(masks='{dir}/masks')),
    boundaries=dict(
        command='tools/train.py {irnet} --work-dir {dir} --resume '
        '--cfg-options randomness.seed={seed} '
        'train_dataloader.dataset.mask_dir={labels.masks} '
        '{train_options}',
        outputs=dict(run='{dir}/last_checkpoint')),
    walk=dict(
        command='tools/test.py {irnet} {boundaries.run} --train-images '
        '--out {dir}/masks --work-dir {dir} --cfg-options '
        'test_dataloader.dataset.cam_dir={cams.maps}',
        score='tools/evaluate_masks.py {dir}/masks --config {scored_on} '
        '{mask_options} --out {dir}/metrics.json',
        metrics='{dir}/metrics.json',
        rows={'+ random walk': '{metric}'},
        outputs=dict(masks='{dir}/masks')),
)
gallery = dict(
    train=dict(columns={
        'confident': '{labels.masks}',
        '+ walk': '{walk.masks}'
    }))
