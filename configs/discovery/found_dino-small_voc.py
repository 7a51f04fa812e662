# FOUND's background discovery with DINO's ViT-S/8, PASCAL VOC.
_base_ = [
    '../_base_/models/frozen_networks.py', '../_base_/models/discovery.py',
    '../_base_/datasets/voc_384.py'
]
discovery = dict(
    network=_base_.dino_small_p8,
    finder=_base_.found,
    refiner=_base_.refiner)
