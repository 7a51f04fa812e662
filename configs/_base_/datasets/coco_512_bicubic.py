# voc_512_bicubic.py on COCO 2014: 512 pixel crops, Pillow's bicubic resizing,
# batches of 16.
_base_ = ['./voc_512_bicubic.py', './coco.py']
dataset_type = _base_.coco.train.type
data_root = _base_.coco.train.data_root
train_dataloader = dict(dataset=_base_.coco.train)
val_dataloader = dict(dataset=_base_.coco.train_part)
test_dataloader = dict(dataset=_base_.coco.train_masks)
