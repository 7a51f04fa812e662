# frozen_runtime.py for segmentation models, which have no CAMs.
_base_ = './frozen_runtime.py'
custom_hooks = [
    # Mean and deviation of the features, before the first step.
    dict(type='mmwsss.FeatureStatisticsHook'),
    # Masks as files, when a folder is given: test.py ... --out FOLDER
    dict(type='mmwsss.SaveMasksHook', out_dir=None),
]
