# Masks from CAMs and mask proposals, on the generated Shapes images. The
# proposals are regions of even colour; write them first:
#   python tools/make_proposals.py data/shapes/JPEGImages \
#       work_dirs/proposals/shapes
# Never take data/shapes/SegmentationObject: these are the true outlines.
_base_ = '../_base_/refine/shapes.py'
threshold = 0.3
refine_dataset = dict(
    proposal_dir='work_dirs/proposals/shapes',
    pipeline=[
        dict(type='mmwsss.LoadImage'),
        dict(type='mmwsss.LoadCAMs'),
        dict(type='mmwsss.RefineWithProposals', threshold=threshold),
        # Decides where there are no proposals.
        dict(type='mmwsss.ThresholdMask', threshold=threshold),
        dict(type='mmwsss.SaveMask')
    ])
