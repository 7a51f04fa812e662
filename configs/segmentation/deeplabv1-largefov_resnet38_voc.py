# SEAM's last stage: DeepLabV1-LargeFOV on the wide ResNet-38.
_base_ = './deeplabv1-largefov_r101_voc.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmwsss.ResNet38',
        out_indices=(3, ),
        # ilsvrc-cls_rna-a1_cls1000_ep-0001, as a PyTorch checkpoint.
        init_cfg=dict(
            type='Pretrained', checkpoint='checkpoints/resnet38.pth')),
    decode_head=dict(in_channels=4096))
