# MaskCut, up to three objects, with DINO's ViT-S/16, PASCAL VOC.
_base_ = [
    '../_base_/models/frozen_networks.py', '../_base_/models/discovery.py',
    '../_base_/datasets/voc_384.py'
]
discovery = dict(
    network=_base_.dino_small_p16,
    finder=_base_.maskcut,
    refiner=_base_.refiner)
