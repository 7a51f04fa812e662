# default_runtime.py for classifiers on frozen features.
_base_ = './default_runtime.py'
custom_hooks = [
    # Mean and deviation of the features, before the first step.
    dict(type='mmwsss.FeatureStatisticsHook'),
    # Pictures of CAMs after the last validation or a test.
    dict(type='mmwsss.GalleryHook'),
    # CAMs as files, when a folder is given: test.py ... --out FOLDER
    dict(type='mmwsss.SaveCAMsHook', out_dir=None),
]
# A training takes seconds.
default_hooks = dict(
    logger=dict(interval=20), checkpoint=dict(interval=220, max_keep_ckpts=1))
