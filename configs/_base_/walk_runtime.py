# epoch_runtime.py for networks that refine CAMs into masks.
_base_ = './epoch_runtime.py'
custom_hooks = [
    # Pictures of CAMs and masks after a test.
    dict(type='mmwsss.GalleryHook', before_train=False),
    # Masks as files, when a folder is given: test.py ... --out FOLDER
    dict(type='mmwsss.SaveMasksHook', out_dir=None),
]
