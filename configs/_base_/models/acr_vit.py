# ACR: two mirrored views whose attention must agree (arXiv 2308.04321).
_base_ = './cam_vit.py'
model = dict(
    second_view=dict(type='mmwsss.HorizontalFlip'),
    regularizers=dict(
        # Weight 125 is the VOC script's; its COCO script uses 100. Both
        # belong to 576 patch tokens (384 pixels). With num_tokens set, the
        # weight follows the number of tokens of the input at hand.
        acr=dict(
            type='mmwsss.AllPairsConsistency',
            loss_weight=125.,
            num_tokens=576)))
