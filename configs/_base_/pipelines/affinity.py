# From tags to a segmentation model by way of AffinityNet (PSA, CVPR 2018).
# A pipeline config sets the other variables; see docs/pipelines.md.
variables = dict(
    # Of all trainings.
    seed=0,
    # Settings of all trainings, e.g. 'train_dataloader.num_workers=8'.
    train_options='',
    # What the table shows, and options of tools/evaluate_masks.py; e.g.
    # 'mIoU_subset' and '--report-classes background cat'.
    metric='mIoU',
    mask_options='')
stages = [
    dict(
        name='classify',
        command='tools/train.py {classifier} --work-dir {dir} --resume '
        '--cfg-options randomness.seed={seed} {train_options}',
        outputs=dict(run='{dir}/last_checkpoint')),
    dict(
        name='cams',
        command='tools/test.py {classifier} {classify.run} --train-images '
        '--out {dir}/maps --work-dir {dir}',
        score='tools/evaluate_cams.py {dir}/maps {scored_on} '
        '--out {dir}/metrics.json',
        metrics='{dir}/metrics.json',
        rows={
            'CAM, fixed threshold': '{metric}_fixed',
            'CAM, best threshold *': '{metric}'
        },
        outputs=dict(maps='{dir}/maps')),
    dict(
        name='crf',
        command='tools/refine_cams.py {crf_config} --cams {cams.maps} '
        '--out {dir} --workers {workers}',
        score='tools/evaluate_masks.py {dir}/masks --config {scored_on} '
        '{mask_options} --out {dir}/metrics.json',
        metrics='{dir}/metrics.json',
        rows={'+ CRF': '{metric}'},
        outputs=dict(scores='{dir}', masks='{dir}/masks')),
    dict(
        name='affinity',
        command='tools/train.py {affinity_net} --work-dir {dir} --resume '
        '--cfg-options randomness.seed={seed} '
        'train_dataloader.dataset.pipeline.1.low_dir={crf.scores}/{low} '
        'train_dataloader.dataset.pipeline.1.high_dir={crf.scores}/{high} '
        '{train_options}',
        outputs=dict(run='{dir}/last_checkpoint')),
    dict(
        name='walk',
        command='tools/test.py {affinity_net} {affinity.run} --train-images '
        '--out {dir}/masks --work-dir {dir} --cfg-options '
        'test_dataloader.dataset.pipeline.1.cam_dir={cams.maps}',
        score='tools/evaluate_masks.py {dir}/masks --config {scored_on} '
        '{mask_options} --out {dir}/metrics.json',
        metrics='{dir}/metrics.json',
        rows={'+ random walk': '{metric}'},
        outputs=dict(masks='{dir}/masks')),
    dict(
        name='segment',
        command='tools/train.py {segmentor} --work-dir {dir} --resume '
        '--cfg-options randomness.seed={seed} '
        'train_dataloader.dataset.mask_dir={walk.masks} '
        '{train_options}',
        outputs=dict(run='{dir}/last_checkpoint')),
    dict(
        name='test',
        command='tools/test.py {segmentor} {segment.run} --work-dir {dir} '
        '--out {dir}/masks',
        score='tools/evaluate_masks.py {dir}/masks --config {segmentor} '
        '{mask_options} --out {dir}/scores.json',
        metrics='{dir}/scores.json',
        rows={'segmentation, val': '{metric}'},
        outputs=dict(masks='{dir}/masks')),
    dict(
        name='test_crf',
        command='tools/test.py {segmentor} {segment.run} --tta '
        '--work-dir {dir} --out {dir}/masks',
        score='tools/evaluate_masks.py {dir}/masks --config {segmentor} '
        '{mask_options} --out {dir}/scores.json',
        metrics='{dir}/scores.json',
        rows={'+ scales, flips and CRF, val': '{metric}'},
        outputs=dict(masks='{dir}/masks')),
]
gallery = [
    dict(
        title='train',
        config='{classifier}',
        train_images=True,
        columns={
            'CAM': '{cams.maps}',
            '+ CRF': '{crf.masks}',
            '+ walk': '{walk.masks}'
        }),
    dict(
        title='val',
        config='{segmentor}',
        columns={
            'segmentation': '{test.masks}',
            '+ CRF': '{test_crf.masks}'
        }),
]
