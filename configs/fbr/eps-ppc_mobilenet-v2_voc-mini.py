# PPC on EPS with a MobileNetV2, on a small part of VOC, with saliency maps of
# objects that are found without labels; write them first:
#   python tools/discover_objects.py \
#       configs/discovery/tokencut_vit-tiny_voc-mini.py
# For maps of a detector, name their folder in saliency_dir.
_base_ = '../seam/seam_mobilenet-v2_voc-mini.py'
train_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    dict(type='mmwsss.LoadSaliency', threshold=127),
    # After LoadImage.
    *_base_.train_pipeline[1:]
]
train_dataloader = dict(
    dataset=dict(
        saliency_dir='work_dirs/tokencut_vit-tiny_voc-mini/saliency',
        pipeline=train_pipeline))
model = dict(
    cls_head=dict(with_background=True, pool_at_image_size=False),
    localizer=dict(_delete_=True, type='mmwsss.SoftmaxCAM'),
    regularizers=dict(
        eps=dict(
            type='mmwsss.ExplicitPseudoPixelSupervision', refined_weight=1.),
        ppc=dict(
            type='mmwsss.PixelPrototypeContrast',
            in_channels=320,
            num_classes=20,
            background_score=0.1,
            area_divisor=16,
            cross_weight=0.1,
            intra_weight=0.1)),
    test_cfg=dict(normalize='max', threshold=0.22))
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys=dict(regularizers=dict(lr_mult=10.))))
val_evaluator = dict(fixed_threshold=0.22)
test_evaluator = val_evaluator
