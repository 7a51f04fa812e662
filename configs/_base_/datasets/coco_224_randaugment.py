# voc_224_randaugment.py on COCO 2014.
_base_ = ['./voc_224_randaugment.py', './coco.py']
dataset_type = _base_.coco.train.type
data_root = _base_.coco.train.data_root
train_dataloader = dict(dataset=_base_.coco.train)
val_dataloader = dict(dataset=_base_.coco.train_part)
test_dataloader = dict(dataset=_base_.coco.train_masks)
