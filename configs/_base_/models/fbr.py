# FBR where no head scores the background, its settings of I+S: positions are
# labelled by CAMs against a constant. A config adds it to a model's
# regularizers and says whose maps label (scores), how wide the features are
# and how many classes there are:
#   _base_ = ['../cam/cam_r50_voc.py', '../_base_/models/fbr.py']
#   model = dict(regularizers=dict(fbr=dict(_base_.fbr, scores='cams', ..)))
fbr = dict(
    type='mmwsss.FineGrainedBackgroundContrast',
    unsure_ratio=0.6,
    entropy_quantile=0.1,
    # Of the positions of an image.
    top_share=1 / 16,
    bank_size=50000)
