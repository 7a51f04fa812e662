# Ablation of seam_r18_shapes.py: refined maps, but without hard mining and
# without the term that only the script has.
_base_ = 'seam_r18_shapes.py'
model = dict(
    regularizers=dict(seam=dict(rvmin_weight=0., topk_ratio=1.)))
