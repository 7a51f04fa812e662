# CoSA: a moving average of the network labels its two branches
# (arXiv 2402.17891).
_base_ = './single_stage_vit.py'
model = dict(
    type='mmwsss.CoTrainingSegmentor',
    momentum=0.9994,
    cam_loss=dict(
        type='mmwsss.SwappedCAMLoss', temperature=0.01, loss_weight=0.05),
    # Without refinement, as the released code trains; with the PAR that ToCo
    # has: refiner=dict(type='mmwsss.PAMR', kernel='par').
    label_maker=dict(
        type='mmwsss.RefinedLabels', fg_threshold=0.7, bg_threshold=0.25),
    # The labels of both heads share the weight of ToCo's cross entropy.
    seg_losses=dict(
        ce=dict(type='mmwsss.BalancedCrossEntropy', loss_weight=0.025)),
    auxiliary_seg_losses=dict(
        ce_aux=dict(type='mmwsss.BalancedCrossEntropy', loss_weight=0.025)),
    # Both published trainings have fixed thresholds. For those of the paper:
    # adaptive_thresholds=dict(bg_threshold=0.25, fg_threshold=0.7).
    adaptive_thresholds=None)
