# ACR on the generated Shapes images, from random weights, in minutes on a CPU.
_base_ = '../cam/cam_vit_shapes.py'
model = dict(
    second_view=dict(type='mmwsss.HorizontalFlip'),
    regularizers=[
        dict(
            type='mmwsss.AllPairsConsistency',
            loss_weight=125.,
            num_tokens=576)
    ])
