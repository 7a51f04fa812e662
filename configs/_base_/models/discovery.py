# Finders of objects with the thresholds that were published, all chosen for
# DINO's ViT-S, and what brings their masks to the outlines of the image.
# FOUND: what is not background.
found = dict(type='mmwsss.BackgroundDiscovery', threshold=0.3)
# One object.
tokencut = dict(type='mmwsss.NormalizedCut', threshold=0.2)
# Several objects.
maskcut = dict(
    type='mmwsss.NormalizedCut',
    threshold=0.15,
    num_objects=3,
    check_corners=True)
refiner = dict(type='mmwsss.PAMR')
default_scope = 'mmseg'
