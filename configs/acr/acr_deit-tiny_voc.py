# ACR with DeiT-T at 224 pixels, batches and AdamW: for small GPUs and CPUs.
_base_ = '../cam/cam_deit-tiny_voc.py'
model = dict(
    second_view=dict(type='mmwsss.HorizontalFlip'),
    regularizers=dict(
        # About 20 at 196 tokens; see docs/reproduction.md.
        acr=dict(
            type='mmwsss.AllPairsConsistency',
            loss_weight=60.,
            num_tokens=576)))
