# Ablation of seam_r18_shapes.py: only the raw maps of both views must agree.
_base_ = '../cam/cam_r18_shapes.py'
model = dict(
    cls_head=dict(loss_weight=0.5),
    second_view=dict(type='mmwsss.Rescale', scale=0.5),
    regularizers=dict(
        seam=dict(
            type='mmwsss.EquivariantRegularization',
            ecr_weight=0.,
            rvmin_weight=0.)))
