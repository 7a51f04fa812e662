# voc_448_rescale.py on COCO 2014: masks are measured on val2014.
_base_ = ['./voc_448_rescale.py', './coco.py']
dataset_type = _base_.coco.train.type
data_root = _base_.coco.train.data_root
train_dataloader = dict(dataset=_base_.coco.train)
val_dataloader = dict(dataset=_base_.coco.val)
test_dataloader = val_dataloader
