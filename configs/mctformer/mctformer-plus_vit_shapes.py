# MCTformer+ on the generated Shapes images, from random weights, in minutes on
# a CPU. Its baseline is cam_vit_shapes.py.
_base_ = '../cam/cam_vit_shapes.py'
model = dict(
    backbone=dict(num_class_tokens=6),
    cls_head=dict(
        _delete_=True,
        type='mmwsss.MultiClassTokenHead',
        num_classes=6,
        in_channels=128),
    regularizers=dict(
        mct=dict(type='mmwsss.ClassTokenContrast', loss_weight=1.)),
    # Without propagation, for the reason that the base gives.
    localizer=dict(
        _delete_=True, type='mmwsss.ClassAttentionCAM', affinity=False))
