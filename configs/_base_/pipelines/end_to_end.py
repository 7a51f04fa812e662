# One training from image-level labels to a segmentation model, such as GETAM.
# A pipeline config sets variables.model; see docs/pipelines.md.
variables = dict(
    seed=0,
    # Settings of the training, e.g. 'train_dataloader.num_workers=8'.
    train_options='')
stages = dict(
    train=dict(
        command='tools/train.py {model} --work-dir {dir} --resume '
        '--cfg-options randomness.seed={seed} {train_options}',
        outputs=dict(run='{dir}/last_checkpoint')),
    test=dict(
        command='tools/test.py {model} {train.run} --work-dir {dir}',
        metrics='{dir}/metrics.json',
        rows={'decoder, val': 'mIoU'},
        outputs=dict(metrics='{dir}/metrics.json')))
# No files of CAMs or masks are made that a page could show.
gallery = dict()
