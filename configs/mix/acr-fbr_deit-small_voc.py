# ACR and FBR on DeiT-S, for one GPU: fbr_acr_vit_voc.py with a smaller
# backbone.
_base_ = ['../acr/acr_deit-small_voc.py', '../_base_/models/fbr.py']
# Prototypes, and the pixels of other classes that queries are pushed from, are
# those of the batch; ACR's single image rarely shows two classes. 26,450 steps
# of four images are the ten epochs that ACR's script states.
train_dataloader = dict(batch_size=4)
model = dict(
    regularizers=dict(
        fbr=dict(
            _base_.fbr,
            in_channels=384,
            num_classes=20,
            scores='cams')))
