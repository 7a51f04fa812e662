# Masks from CAMs and mask proposals, on the small part of VOC. The proposals
# are objects found without labels; write them first:
#   python tools/discover_objects.py \
#       configs/discovery/tokencut_vit-tiny_voc-mini.py
# Those of a promptable segmenter go in the same way, see docs/refine.md.
_base_ = '../_base_/refine/voc-mini.py'
threshold = 0.3
refine_dataset = dict(
    proposal_dir='work_dirs/tokencut_vit-tiny_voc-mini/proposals',
    pipeline=[
        dict(type='mmwsss.LoadImage'),
        dict(type='mmwsss.LoadCAMs'),
        # A cut finds one object, not all: what it leaves out is not
        # background.
        dict(
            type='mmwsss.RefineWithProposals',
            threshold=threshold,
            unassigned='keep'),
        dict(type='mmwsss.ThresholdMask', threshold=threshold),
        dict(type='mmwsss.SaveMask')
    ])
