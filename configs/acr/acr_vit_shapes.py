# ACR on the generated Shapes images, from random weights, in minutes on a CPU.
_base_ = '../cam/cam_vit_shapes.py'
model = dict(
    second_view=dict(type='mmwsss.HorizontalFlip'),
    regularizers=dict(
        # A quarter of the paper's weight per token: from random weights the
        # full one holds up the classification (docs/reproduction.md).
        acr=dict(
            type='mmwsss.AllPairsConsistency',
            loss_weight=30.,
            num_tokens=576)))
