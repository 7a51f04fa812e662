# What all chains share: CAMs, and a segmentation model on the masks of a
# stage called walk. Stages run in the order in which they need each other.
_base_ = './cams.py'
stages = dict(
    segment=dict(
        command='tools/train.py {segmentor} --work-dir {dir} --resume '
        '--cfg-options randomness.seed={seed} '
        'train_dataloader.dataset.mask_dir={walk.masks} '
        '{train_options}',
        outputs=dict(run='{dir}/last_checkpoint')),
    test=dict(
        command='tools/test.py {segmentor} {segment.run} --work-dir {dir} '
        '--out {dir}/masks',
        score='tools/evaluate_masks.py {dir}/masks --config {segmentor} '
        '{mask_options} --out {dir}/scores.json',
        metrics='{dir}/scores.json',
        rows={'segmentation, val': '{metric}'},
        outputs=dict(masks='{dir}/masks')),
    test_crf=dict(
        command='tools/test.py {segmentor} {segment.run} --tta '
        '--work-dir {dir} --out {dir}/masks',
        score='tools/evaluate_masks.py {dir}/masks --config {segmentor} '
        '{mask_options} --out {dir}/scores.json',
        metrics='{dir}/scores.json',
        rows={'+ scales, flips and CRF, val': '{metric}'},
        outputs=dict(masks='{dir}/masks')),
)
gallery = dict(
    val=dict(
        config='{segmentor}',
        columns={
            'segmentation': '{test.masks}',
            '+ CRF': '{test_crf.masks}'
        }))
