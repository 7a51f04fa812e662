# FOUND with its second step, the training, on a ViT-Ti that was trained as a
# classifier, on the small part of VOC. Images are not augmented, so that each
# goes through the network once.
_base_ = [
    '../_base_/models/frozen_networks.py',
    '../_base_/models/found_segmenter.py',
    '../_base_/datasets/voc-mini_224.py',
    '../_base_/schedules/found_500.py', '../_base_/found_runtime.py'
]
train_pipeline = [
    dict(type='mmwsss.LoadImage', to_float32=True),
    dict(type='mmwsss.SquareResize', size=224),
    dict(type='mmwsss.PackWSSSInputs')
]
train_dataloader = dict(
    batch_size=50,
    sampler=dict(type='mmwsss.InfiniteSeededSampler'),
    dataset=dict(pipeline=train_pipeline))
model = dict(
    discovery=dict(
        # Images at their own size when maps are written.
        network=dict(
            _base_.vit_tiny,
            long_side=None,
            cache_dir='work_dirs/features/vit-tiny-own-size'),
        finder=dict(in_channels=192)))
# Maps are measured by tools/evaluate_saliency.py.
val_dataloader = None
val_evaluator = None
test_dataloader = None
test_evaluator = None
