# GETAM's network: a ViT whose blocks 3, 6, 9 and 12 feed a DPT decoder. The
# class head reads the decoder's coarsest map, its CAMs are gradients of
# the class token's attention, and what PAMR and label completion make of them
# is what the decoder learns.
_base_ = './imagenet_preprocessor.py'
model = dict(
    type='mmwsss.EndToEndSegmentor',
    backbone=dict(
        type='mmwsss.AttentionViT',
        arch='base',
        img_size=384,
        # ImageNet weights: convert them (tools/model_converters/timm_vit.py)
        # and set init_cfg=dict(type='Pretrained', checkpoint=PATH).
        patch_size=16,
        out_indices=(2, 5, 8, 11)),
    neck=dict(
        type='mmwsss.DPTReassemble',
        in_channels=768,
        out_channels=(96, 192, 384, 768)),
    cls_head=dict(
        type='mmwsss.CAMHead', num_classes=20, in_channels=768, bias=True),
    decode_head=dict(
        type='mmwsss.DPTDecoderHead',
        in_channels=(96, 192, 384, 768),
        channels=256,
        num_classes=21),
    # All blocks for ViT and DeiT, the last six for the hybrid (the paper).
    localizer=dict(
        type='mmwsss.GETAM',
        func='cam_grad_s',
        start_layer=0,
        affinity=False,
        align_corners=True),
    label_refiner=dict(type='mmwsss.PAMR'),
    label_maker=dict(type='mmwsss.LabelCompletion', cut=0.9, bg_power=32),
    seg_losses=dict(
        ce=dict(type='mmwsss.BalancedCrossEntropy'),
        saliency=dict(type='mmwsss.SaliencyLoss'),
        energy=dict(type='mmwsss.DenseEnergyLoss')),
    # The second half of the steps also trains the decoder. A schedule that
    # lowers the learning rate there has its milestone at the same step.
    train_cfg=dict(seg_start=0.5),
    test_cfg=dict(pseudo_labels=True))
# With several processes: phase 1 leaves the decoder without gradients, which
# the wrapper of the model would otherwise take for a mistake and stop.
find_unused_parameters = True
# On several GPUs batch norm normalises the images of all of them.
sync_bn = 'torch'
