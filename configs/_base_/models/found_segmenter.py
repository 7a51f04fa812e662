# FOUND's second step: a linear map of the keys of a frozen network learns what
# the background rule finds. A config gives the network and its width.
_base_ = './frozen_preprocessor.py'
refiner = dict(type='mmwsss.BilateralSolver')
model = dict(
    type='mmwsss.DiscoverySegmentor',
    discovery=dict(
        finder=dict(type='mmwsss.LinearSaliency'),
        refiner=refiner,
        # The images of VOC are smaller and keep their size.
        long_side=512),
    # The threshold is DINO's.
    teacher=dict(type='mmwsss.BackgroundDiscovery', threshold=0.3),
    # Of the targets. None and dict(type='mmwsss.PAMR') work as well.
    refiner=refiner)
