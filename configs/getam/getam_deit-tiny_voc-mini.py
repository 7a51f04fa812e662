# GETAM with a small ViT on a small part of VOC, without saliency maps: see
# docs/reproduction.md.
_base_ = [
    '../_base_/models/getam_vit.py', '../_base_/datasets/voc-mini_224.py',
    '../_base_/schedules/adamw_8e.py', '../_base_/epoch_runtime.py'
]
max_epochs = 8
model = dict(
    backbone=dict(
        arch='deit-tiny',
        img_size=224,
        # An ImageNet-pretrained ViT-Ti/16 with mmpretrain's names.
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/vit_tiny_p16_224.pth')),
    # A plain decoder on the blocks' tokens and a class head on the class
    # token: neck and pyramid begin from random weights, and do not learn in
    # 350 steps.
    neck=None,
    cls_head=dict(
        _delete_=True,
        type='mmwsss.ClassTokenHead',
        num_classes=20,
        in_channels=192),
    decode_head=dict(
        _delete_=True,
        type='FCNHead',
        in_channels=(192, 192, 192, 192),
        in_index=(0, 1, 2, 3),
        input_transform='resize_concat',
        channels=128,
        num_convs=2,
        concat_input=False,
        dropout_ratio=0.,
        # Not batch norm, which would make two processes differ from one.
        norm_cfg=dict(type='GN', num_groups=16),
        num_classes=21),
    # The last blocks, as in cam_deit-tiny_voc-mini.py.
    localizer=dict(start_layer=9),
    # Fewer neighbours: refining is half of the time of a step.
    label_refiner=dict(dilations=(1, 2, 4, 8)),
    # These maps are narrow: at 0.4 and 0.1 only 7 % of the pixels would get a
    # class, where 23 % have one (docs/reproduction.md).
    label_maker=dict(fg_threshold=0.2, bg_threshold=0.05))
optim_wrapper = dict(
    # Phase 2 lowers the learning rate to a tenth; the decoder, which only
    # then begins, learns at the full one of the heads.
    paramwise_cfg=dict(custom_keys=dict(decode_head=dict(lr_mult=200.))))
param_scheduler = [
    dict(
        type='PolyLR',
        power=0.9,
        eta_min=0.,
        begin=0,
        end=max_epochs,
        by_epoch=True,
        convert_to_iter_based=True),
    dict(
        type='MultiStepLR',
        milestones=[max_epochs // 2],
        gamma=0.1,
        by_epoch=True),
]
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
val_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='mmwsss.PseudoLabelIoU')
]
test_evaluator = val_evaluator
