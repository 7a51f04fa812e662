# How all pipelines begin: tags, a classifier, its CAMs of the training
# images.
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
stages = dict(
    classify=dict(
        command='tools/train.py {classifier} --work-dir {dir} --resume '
        '--cfg-options randomness.seed={seed} {train_options}',
        outputs=dict(run='{dir}/last_checkpoint')),
    cams=dict(
        command='tools/test.py {classifier} {classify.run} --train-images '
        '--out {dir}/maps --work-dir {dir}',
        score='tools/evaluate_cams.py {dir}/maps {scored_on} '
        '--out {dir}/metrics.json',
        metrics='{dir}/metrics.json',
        rows={
            'CAM, fixed threshold': '{metric}_fixed',
            'CAM, best threshold *': '{metric}'
        },
        outputs=dict(maps='{dir}/maps')))
gallery = dict(
    train=dict(
        config='{classifier}',
        train_images=True,
        columns={'CAM': '{cams.maps}'}))
