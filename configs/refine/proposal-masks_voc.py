# Masks from CAMs and mask proposals of a promptable segmenter: each
# proposal belongs to the class whose map is highest in it on average, small
# ones decide over large ones. The folder holds one {img_id}.json or .png per
# image, see docs/refine.md; Segment Anything writes them with
#   python scripts/amg.py --convert-to-rle --input JPEGImages \
#       --output Proposals --model-type vit_h --checkpoint FILE
# The threshold is a guess: nobody has tuned it.
_base_ = '../_base_/refine/voc.py'
threshold = 0.3
refine_dataset = dict(
    proposal_dir='data/VOCdevkit/VOC2012/Proposals',
    pipeline=[
        dict(type='mmwsss.LoadImage'),
        dict(type='mmwsss.LoadCAMs'),
        dict(type='mmwsss.RefineWithProposals', threshold=threshold),
        # Decides where there are no proposals. To refine masks after a CRF
        # instead: CRFMask, then RefineWithProposals(key='pseudo_mask',
        # threshold=0.5), then SaveMask.
        dict(type='mmwsss.ThresholdMask', threshold=threshold),
        dict(type='mmwsss.SaveMask')
    ])
