# walk_runtime.py for an IRNet that predicts instances beside masks.
_base_ = './walk_runtime.py'
custom_hooks = [
    # Pictures of CAMs and masks after a test.
    dict(type='mmwsss.GalleryHook', before_train=False),
    # Masks and instances as files, in two folders below the one that is
    # given: test.py ... --out FOLDER
    dict(type='mmwsss.SaveMasksHook', out_dir=None),
    dict(type='mmwsss.SaveInstancesHook', out_dir=None),
    # Losses see differences of displacements only: their mean over the
    # training images is measured at the end, before the last checkpoint.
    dict(type='mmwsss.DisplacementMeanHook'),
]
