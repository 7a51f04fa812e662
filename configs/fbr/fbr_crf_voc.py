# Masks of setting I+S: class maps and a dense CRF of five steps, nothing else.
_base_ = '../_base_/datasets/voc_384.py'
default_scope = 'mmseg'
refine_dataset = dict(
    type=_base_.dataset_type,
    data_root=_base_.data_root,
    ann_file='ImageSets/Segmentation/train_aug.txt',
    labels_file='image_labels.json',
    pipeline=[
        dict(type='mmwsss.LoadImage'),
        dict(type='mmwsss.LoadCAMs'),
        dict(type='mmwsss.CRFMask', alpha=8, crf=dict(num_iters=5)),
        dict(type='mmwsss.SaveMask')
    ])
