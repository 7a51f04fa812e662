# FOUND's second step: a linear map of the keys of a frozen network learns what
# the background rule finds. A config gives the network and its width.
_base_ = ['./frozen_preprocessor.py', './discovery.py']
model = dict(
    type='mmwsss.DiscoverySegmentor',
    discovery=dict(
        finder=dict(type='mmwsss.LinearSaliency'),
        refiner=_base_.bilateral_solver),
    teacher=_base_.found,
    # Of the targets. None and dict(type='mmwsss.PAMR') work as well.
    refiner=_base_.bilateral_solver)
