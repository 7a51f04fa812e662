# default_runtime.py for segmentation models, which have no CAMs.
_base_ = './default_runtime.py'
custom_hooks = [
    # Masks as files, when a folder is given: test.py ... --out FOLDER
    dict(type='mmwsss.SaveMasksHook', out_dir=None),
]
