# FOUND with its second step, the training, on DINO's ViT-S/8, PASCAL VOC.
_base_ = [
    '../_base_/models/frozen_networks.py',
    '../_base_/models/found_segmenter.py', '../_base_/datasets/voc_384.py',
    '../_base_/schedules/found_500.py', '../_base_/found_runtime.py'
]
train_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    # Another resolution each time: 0.1 to 3 times that of the network.
    dict(type='mmwsss.RandomLongSideResize', low=30, high=896),
    dict(type='mmwsss.SquareResize', size=224),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(batch_size=50, dataset=dict(pipeline=train_pipeline))
model = dict(
    discovery=dict(
        # Images at their own size when maps are written.
        network=dict(_base_.dino_small_p8, long_side=None),
        finder=dict(in_channels=384)))
# Maps are measured by tools/evaluate_saliency.py.
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None
