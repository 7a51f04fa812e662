# GETAM's activation-aware label completion, for CAMs of any model: what
# is salient and activated gets its class, what is neither is background.
# Saliency maps of any detector: one 8-bit file per image id in data_prefix.
# saliency_path (saliency_suffix='.jpg' for JPEG). Without any, take
# data_prefix and LoadSaliency out: two thresholds decide then.
_base_ = '../_base_/refine/voc.py'
refine_dataset = dict(
    data_prefix=dict(saliency_path='Saliency'),
    pipeline=[
        dict(type='mmwsss.LoadImage'),
        dict(type='mmwsss.LoadSaliency'),
        dict(type='mmwsss.LoadCAMs'),
        dict(type='mmwsss.PAMRCams'),
        dict(type='mmwsss.CompleteLabels', cut=0.9, conflict='ignore'),
        dict(type='mmwsss.SaveMask')
    ])
