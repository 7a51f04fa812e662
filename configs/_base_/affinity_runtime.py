# epoch_runtime.py for networks that refine CAMs into CAMs and masks.
_base_ = './epoch_runtime.py'
custom_hooks = [
    # Pictures of CAMs and masks after a test.
    dict(type='mmwsss.GalleryHook', before_train=False),
    # When a folder is given, test.py ... --out FOLDER: CAMs in FOLDER/cams,
    # masks in FOLDER/masks.
    dict(type='mmwsss.SaveCAMsHook', out_dir=None),
    dict(type='mmwsss.SaveMasksHook', out_dir=None),
]
