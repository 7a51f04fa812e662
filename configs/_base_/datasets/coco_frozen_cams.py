# voc_frozen_cams.py on COCO 2014.
_base_ = ['./voc_frozen_cams.py', './coco.py']
dataset_type = _base_.coco.train.type
data_root = _base_.coco.train.data_root
train_dataloader = dict(dataset=_base_.coco.train)
test_dataloader = dict(
    dataset=dict(_base_.coco.train_masks, cam_dir='work_dirs/cams/coco'))
