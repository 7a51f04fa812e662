# frozen_labels.py, and tests of the model on other images, with and without
# image-level labels, scored after each of its refiners.
_base_ = './frozen_labels.py'
stages = dict(
    test=dict(
        command='tools/test.py {segmentor} {segment.run} --work-dir {dir} '
        '--out {dir}/masks',
        metrics='{dir}/metrics.json',
        rows={
            'linear head, val': '{metric}_model',
            '+ affinity, val': '{metric}_FrozenAffinity',
            '+ PAMR, val': '{metric}_PAMR'
        },
        outputs=dict(masks='{dir}/masks')),
    test_labels=dict(
        command='tools/test.py {segmentor} {segment.run} --work-dir {dir} '
        '--out {dir}/masks --cfg-options model.test_cfg.use_image_labels=True',
        metrics='{dir}/metrics.json',
        rows={
            'linear head, val, with image-level labels': '{metric}_model',
            '+ affinity, val, with labels': '{metric}_FrozenAffinity',
            '+ PAMR, val, with labels': '{metric}_PAMR'
        },
        outputs=dict(masks='{dir}/masks')))
gallery = dict(
    val=dict(
        config='{segmentor}',
        columns={
            'segmentation': '{test.masks}',
            'with labels': '{test_labels.masks}'
        }))
