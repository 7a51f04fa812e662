# voc_irn_512.py on COCO 2014. Labels:
#   tools/refine_cams.py configs/refine/irn-labels_coco.py --cams CAMS \
#       --out work_dirs/irn_labels/coco
_base_ = ['./voc_irn_512.py', './coco.py']
dataset_type = _base_.coco.train.type
data_root = _base_.coco.train.data_root
train_dataloader = dict(
    dataset=dict(_base_.coco.train, mask_dir='work_dirs/irn_labels/coco'))
test_dataloader = dict(
    dataset=dict(_base_.coco.train_masks, cam_dir='work_dirs/cams/coco'))
