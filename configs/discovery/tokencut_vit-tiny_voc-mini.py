# TokenCut with a ViT-Ti that was trained as a classifier, on the small part of
# VOC.
_base_ = [
    '../_base_/models/frozen_networks.py', '../_base_/models/discovery.py',
    '../_base_/datasets/voc-mini_224.py'
]
discovery = dict(
    network=_base_.vit_tiny,
    finder=_base_.tokencut,
    refiner=_base_.refiner)
