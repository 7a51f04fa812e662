# voc_pseudo_512.py on COCO 2014: pseudo masks of the training images, true
# masks of all of val2014.
_base_ = ['./voc_pseudo_512.py', './coco.py']
dataset_type = _base_.coco.train.type
data_root = _base_.coco.train.data_root
train_dataloader = dict(
    dataset=dict(
        dataset=_base_.coco.train, mask_dir='work_dirs/pseudo_masks/coco'))
val_dataloader = dict(dataset=_base_.coco.val)
test_dataloader = val_dataloader
