# SEAM's AffinityNet: PSA's network and labels from the exponents 4 and 24, but
# a shorter walk over wider maps.
_base_ = '../affinity/affinitynet_resnet38_voc.py'
model = dict(
    # Maps smaller than the radius of pairs allow still get some.
    decode_head=dict(shrink_radius=True),
    walk=dict(alpha=6, beta=8, log_steps=6))
