# pipeline_custom.py with a ViT-Ti in place of the DINOv2-S/14: a third of the
# work.
_base_ = './pipeline_custom.py'
variables = dict(
    affinity_config='configs/frozen/affinity_vit-tiny_custom.py',
    segmentor='configs/frozen/linear_lite2-vit-tiny_custom.py')
