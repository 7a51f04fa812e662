# voc_amn_512.py on COCO 2014. Seeds:
#   tools/refine_cams.py configs/refine/irn-labels_coco.py --cams CAMS \
#       --out work_dirs/irn_labels/coco
_base_ = ['./voc_amn_512.py', './coco.py']
dataset_type = _base_.coco.train.type
data_root = _base_.coco.train.data_root
seed_dir = 'work_dirs/irn_labels/coco'
train_dataloader = dict(dataset=dict(_base_.coco.train, mask_dir=seed_dir))
val_dataloader = dict(dataset=dict(_base_.coco.train_part, mask_dir=seed_dir))
test_dataloader = dict(
    dataset=dict(_base_.coco.train_masks, mask_dir=seed_dir))
