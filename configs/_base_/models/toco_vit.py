# ToCo: patch tokens are contrasted by the auxiliary head's CAMs, class tokens
# of crops with those of images, and PAR refines the labels
# (arXiv 2303.01267).
_base_ = './single_stage_vit.py'
model = dict(
    label_maker=dict(refiner=dict(type='mmwsss.PAMR', kernel='par')),
    regularizers=dict(
        patch=dict(
            type='mmwsss.PatchTokenContrast',
            fg_threshold=0.7,
            bg_threshold=0.25,
            loss_weight=0.2),
        crops=dict(
            type='mmwsss.LocalCropContrast',
            in_channels=768,
            crop_size=96,
            num_crops=8,
            fg_threshold=0.7,
            bg_threshold=0.25,
            temperature=0.5,
            momentum=0.9,
            # The paper's equation has no such term; for it, write False.
            always_repel=True,
            loss_weight=0.5)))
