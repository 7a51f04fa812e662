# WeakTr's retraining: Segmenter on DeiT-S, with the capped loss.
_base_ = [
    '../_base_/models/segmenter_deit-small.py',
    '../_base_/datasets/voc_pseudo_480.py',
    '../_base_/schedules/sgd_segmenter_100e.py',
    '../_base_/seg_epoch_runtime.py'
]
model = dict(
    backbone=dict(
        # deit_small_patch16_224, converted by tools/model_converters/deit.py
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/deit_small_patch16_224.pth')))
