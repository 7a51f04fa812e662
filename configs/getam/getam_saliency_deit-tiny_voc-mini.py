# getam_deit-tiny_voc-mini.py with saliency maps of objects that are found
# without labels; write them first:
#   python tools/discover_objects.py \
#       configs/discovery/tokencut_vit-tiny_voc-mini.py
_base_ = ['./getam_deit-tiny_voc-mini.py']
train_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    dict(type='mmwsss.LoadSaliency'),
    # After LoadImage.
    *_base_.train_pipeline[1:]
]
train_dataloader = dict(
    dataset=dict(
        saliency_dir='work_dirs/tokencut_vit-tiny_voc-mini/saliency',
        pipeline=train_pipeline))
# No saliency maps in the test, so none of the labels of the training.
model = dict(test_cfg=dict(pseudo_labels=False))
val_evaluator = [dict(type='IoUMetric', iou_metrics=['mIoU'])]
test_evaluator = val_evaluator
