# voc_256_saliency.py on COCO 2014: masks are measured on val2014. Saliency:
# Saliency/train2014/{id}.png.
_base_ = ['./voc_256_saliency.py', './coco.py']
dataset_type = _base_.coco.train.type
data_root = _base_.coco.train.data_root
train_dataloader = dict(
    dataset=dict(
        _base_.coco.train,
        data_prefix=dict(saliency_path='Saliency/train2014')))
val_dataloader = dict(dataset=_base_.coco.val)
test_dataloader = val_dataloader
