# GETAM with a small ViT on a small part of VOC, without saliency maps: see
# docs/reproduction.md.
_base_ = [
    '../_base_/models/getam_vit.py', '../_base_/datasets/voc_mini_224.py',
    '../_base_/schedules/adamw_8e.py', '../_base_/epoch_runtime.py'
]
# Six for the classifier, three for both, which take four times as long.
max_epochs, cls_epochs = 9, 6
model = dict(
    backbone=dict(
        arch='deit-tiny',
        img_size=224,
        # An ImageNet-pretrained ViT-Ti/16 with mmpretrain's names.
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/vit_tiny_p16_224.pth')),
    neck=dict(in_channels=192, out_channels=(48, 96, 192, 192)),
    decode_head=dict(in_channels=192),
    seg_head=dict(
        in_channels=(48, 96, 192, 192),
        # Narrow: its maps of 112 x 112 are what costs time on a CPU.
        channels=32,
        # Not batch norm, which would make two processes differ from one.
        norm_cfg=dict(type='GN', num_groups=8)),
    # The last blocks, as in cam_deit-tiny_voc-mini.py.
    localizer=dict(start_layer=9),
    train_cfg=dict(seg_start=cls_epochs / max_epochs))
optim_wrapper = dict(
    type='mmwsss.BFloat16OptimWrapper',
    paramwise_cfg=dict(
        custom_keys=dict(
            # Readout and reassembly begin from random weights too.
            neck=dict(lr_mult=10.),
            # Phase 2 lowers the learning rate to a tenth; the decoder, which
            # only then begins, learns at the full one of the heads.
            seg_head=dict(lr_mult=100.))))
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
        milestones=[cls_epochs],
        gamma=0.1,
        by_epoch=True),
]
train_cfg = dict(max_epochs=max_epochs, val_interval=1)
val_evaluator = [
    dict(type='IoUMetric', iou_metrics=['mIoU']),
    dict(type='mmwsss.PseudoLabelIoU')
]
test_evaluator = val_evaluator
