# pipeline_voc.py on the generated Shapes images.
_base_ = '../_base_/pipelines/crf.py'
variables = dict(
    classifier='configs/weaktr/weaktr_vit_shapes.py',
    # Results on the training images are scored with their masks.
    scored_on='configs/weaktr/weaktr_vit_shapes.py --train-images',
    mask_config='configs/weaktr/refine_weaktr-crf_shapes.py',
    segmentor='configs/weaktr/weaktr_segmenter_vit_shapes.py')
