# What comes before a network that learns seed masks (AMN): a classifier, its
# CAMs, and confident labels made from these. A pipeline puts them before
# one of the other chains, whose classifier is then the seed network:
#   _base_ = ['../_base_/pipelines/irn.py', '../_base_/pipelines/seeds.py']
#   stages = _base_.seed_stages
seed_stages = dict(
    start=dict(
        command='tools/train.py {seed_classifier} --work-dir {dir} --resume '
        '--cfg-options randomness.seed={seed} {train_options}',
        outputs=dict(run='{dir}/last_checkpoint')),
    start_cams=dict(
        command='tools/test.py {seed_classifier} {start.run} --train-images '
        '--out {dir}/maps --work-dir {dir}',
        score='tools/evaluate_cams.py {dir}/maps {seeds_scored_on} '
        '--out {dir}/metrics.json',
        metrics='{dir}/metrics.json',
        rows={
            'CAM of the classifier, fixed threshold': '{metric}_fixed',
            'CAM of the classifier, best threshold *': '{metric}'
        },
        outputs=dict(maps='{dir}/maps')),
    seeds=dict(
        command='tools/refine_cams.py {seed_config} --cams {start_cams.maps} '
        '--out {dir}/masks --workers {workers}',
        score='tools/evaluate_masks.py {dir}/masks --config '
        '{seeds_scored_on} {mask_options} --out {dir}/metrics.json',
        metrics='{dir}/metrics.json',
        rows={
            'seeds': '{metric}',
            'seeds: pixels that are not confident, %': 'ignored'
        },
        outputs=dict(masks='{dir}/masks')),
    classify=dict(
        command='tools/train.py {classifier} --work-dir {dir} --resume '
        '--cfg-options randomness.seed={seed} '
        'train_dataloader.dataset.mask_dir={seeds.masks} '
        'val_dataloader.dataset.mask_dir={seeds.masks} '
        '{train_options}'),
    cams=dict(
        command='tools/test.py {classifier} {classify.run} --train-images '
        '--out {dir}/maps --work-dir {dir} --cfg-options '
        'test_dataloader.dataset.mask_dir={seeds.masks}'))
