# From tags to a segmentation model by way of AffinityNet (PSA, CVPR 2018).
_base_ = './chain.py'
stages = dict(
    crf=dict(
        command='tools/refine_cams.py {crf_config} --cams {cams.maps} '
        '--out {dir} --workers {workers}',
        score='tools/evaluate_masks.py {dir}/masks --config {scored_on} '
        '{mask_options} --out {dir}/metrics.json',
        metrics='{dir}/metrics.json',
        rows={'+ CRF': '{metric}'},
        outputs=dict(scores='{dir}', masks='{dir}/masks')),
    affinity=dict(
        command='tools/train.py {affinity_net} --work-dir {dir} --resume '
        '--cfg-options randomness.seed={seed} '
        'train_dataloader.dataset.low_score_dir={crf.scores}/{low} '
        'train_dataloader.dataset.high_score_dir={crf.scores}/{high} '
        '{train_options}',
        outputs=dict(run='{dir}/last_checkpoint')),
    walk=dict(
        command='tools/test.py {affinity_net} {affinity.run} --train-images '
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
        '+ CRF': '{crf.masks}',
        '+ walk': '{walk.masks}'
    }))
