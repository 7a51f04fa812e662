# From tags to a segmentation model by way of a dense CRF alone.
_base_ = './chain.py'
stages = dict(
    crf=dict(
        command='tools/refine_cams.py {mask_config} --cams {cams.maps} '
        '--out {dir}/masks --workers {workers}',
        score='tools/evaluate_masks.py {dir}/masks --config {scored_on} '
        '{mask_options} --out {dir}/metrics.json',
        metrics='{dir}/metrics.json',
        rows={'+ CRF': '{metric}'},
        outputs=dict(masks='{dir}/masks')),
    segment=dict(
        command='tools/train.py {segmentor} --work-dir {dir} --resume '
        '--cfg-options randomness.seed={seed} '
        'train_dataloader.dataset.mask_dir={crf.masks} '
        '{train_options}'))
gallery = dict(train=dict(columns={'+ CRF': '{crf.masks}'}))
