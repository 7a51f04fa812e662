# ACR on COCO 2014 with the settings of its COCO script: the consistency terms
# weigh 100 and training takes 5 * floor(82081 / 4) steps; the rest is that of
# acr_vit_voc.py, the recipe really run included. Images without any class stop
# the script, so it trains on those with one. It has no inference for COCO:
# CAMs are read as on VOC, and the threshold is VOC's.
_base_ = [
    '../_base_/models/acr_vit.py', '../_base_/datasets/coco_384.py',
    '../_base_/schedules/acr_26k.py', '../_base_/default_runtime.py'
]
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmwsss.HybridViT',
        arch='base',
        img_size=384,
        # vit_base_r50_s16_384, converted by
        #   tools/model_converters/timm_vit.py IN OUT
        init_cfg=dict(
            type='Pretrained',
            checkpoint='checkpoints/vit_base_r50_s16_384.pth')),
    cls_head=dict(num_classes=80),
    regularizers=dict(acr=dict(loss_weight=100.)))
# lr(t) = 0.05 * (1 - t / 102600)^0.9; mmengine decays over end - 1 steps.
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=0., end=102601, by_epoch=False)
]
train_cfg = dict(max_iters=102600, val_interval=102600)
