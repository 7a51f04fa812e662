# GETAM on COCO 2014 by a script from the history of the authors' code: half
# the learning rate, 20 epochs with 4 processes of 2 images each, fewer pixels
# mined.
_base_ = [
    '../_base_/models/getam_vit-hybrid.py',
    '../_base_/datasets/coco_256_saliency.py',
    '../_base_/schedules/getam_53k.py', '../_base_/default_runtime.py'
]
# 20 * floor(82081 / 8) steps
max_iters = 205200
model = dict(
    backbone=dict(
        # vit_base_r50_s16_384, converted by
        #   tools/model_converters/timm_vit.py IN OUT
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/vit_base_r50_s16_384.pth')),
    cls_head=dict(num_classes=80),
    decode_head=dict(num_classes=81),
    label_maker=dict(cut=0.95),
    # No saliency maps in the test, so none of the labels of the training.
    test_cfg=dict(pseudo_labels=False))
optim_wrapper = dict(optimizer=dict(lr=0.02))
param_scheduler = [
    dict(
        type='PolyLR',
        power=0.9,
        eta_min=0.,
        end=max_iters + 1,
        by_epoch=False),
    dict(
        type='MultiStepLR',
        milestones=[max_iters // 2],
        gamma=0.1,
        by_epoch=False),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 10)
train_dataloader = dict(batch_size=2)
val_evaluator = dict(
    _delete_=True, type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator
# The script tests at one size, with a shorter CRF.
tta_pipeline = [
    dict(type='mmwsss.LoadImage'),
    dict(
        type='TestTimeAug',
        transforms=[[
            dict(type='Resize', scale=(224, 224), keep_ratio=False)
        ], [dict(type='mmwsss.LoadMask')],
                    [dict(type='mmwsss.PackWSSSInputs')]])
]
tta_model = dict(
    type='mmwsss.SegTTAModel',
    average='logits',
    crf=dict(
        num_iters=10,
        gaussian_sxy=3,
        gaussian_compat=3,
        bilateral_sxy=83,
        bilateral_srgb=5,
        bilateral_compat=4))
