# pipeline_voc-mini.py with a MobileNetV2 in place of the EfficientNet-Lite2.
_base_ = './pipeline_voc-mini.py'
variables = dict(
    classifier='configs/frozen/cam_mobilenet-v2_voc-mini.py',
    scored_on='configs/frozen/cam_mobilenet-v2_voc-mini.py --train-images',
    segmentor='configs/frozen/linear_mobilenet-v2-vit-tiny_voc-mini.py')
