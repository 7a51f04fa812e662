# ACR with a small ViT on a small part of VOC: see docs/reproduction.md.
_base_ = '../cam/cam_deit-tiny_voc-mini.py'
model = dict(
    second_view=dict(type='mmwsss.HorizontalFlip'),
    regularizers=dict(
        # About 20 at 196 tokens; see docs/reproduction.md.
        acr=dict(
            type='mmwsss.AllPairsConsistency',
            loss_weight=60.,
            num_tokens=576)))
