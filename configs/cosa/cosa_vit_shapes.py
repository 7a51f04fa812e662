# CoSA on the generated Shapes images, from random weights, in minutes on a
# CPU. Its baseline, the same network without a teacher, is
# ../toco/toco_vit_shapes.py without its contrasts; labels are refined by PAR
# in both.
_base_ = '../toco/toco_vit_shapes.py'
model = dict(
    type='mmwsss.CoTrainingSegmentor',
    # A hundredth of the paper's steps, so a teacher that follows faster.
    momentum=0.98,
    cam_loss=dict(
        type='mmwsss.SwappedCAMLoss', temperature=0.01, loss_weight=0.05),
    seg_losses=dict(ce=dict(loss_weight=0.025)),
    auxiliary_seg_losses=dict(
        ce_aux=dict(type='mmwsss.BalancedCrossEntropy', loss_weight=0.025)),
    regularizers=dict(_delete_=True))
