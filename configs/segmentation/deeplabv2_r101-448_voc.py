# The last stage of PPC and of FBR with saliency: DeepLabV2's head in the
# recipe of SEAM's retraining code (deeplabv1-largefov_r101_voc.py), with its
# crops of 448 pixels, colour jitter and six scales in testing.
_base_ = './deeplabv1-largefov_r101_voc.py'
model = dict(
    backbone=dict(norm_eval=True),
    decode_head=dict(
        _delete_=True,
        type='mmwsss.DeepLabV2Head',
        in_channels=2048,
        in_index=0,
        num_classes=21,
        dilations=(6, 12, 18, 24),
        align_corners=True,
        # The mean is over labelled pixels, not over all.
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True)))
# Head 10 times faster; its biases 20 times and without weight decay.
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys=dict(
            _delete_=True,
            decode_head=dict(lr_mult=10.),
            **{
                f'decode_head.branches.{i}.bias': dict(
                    lr_mult=20., decay_mult=0.)
                for i in range(4)
            })))
