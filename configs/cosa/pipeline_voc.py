# CoSA on PASCAL VOC 2012: one training, and the published test with scales,
# mirror images and a CRF.
_base_ = '../_base_/pipelines/end_to_end.py'
variables = dict(model='configs/cosa/cosa_vit_voc.py')
stages = dict(
    test_crf=dict(
        command='tools/test.py {model} {train.run} --tta --work-dir {dir}',
        metrics='{dir}/metrics.json',
        rows={'published test with CRF, val': 'mIoU'},
        outputs=dict(metrics='{dir}/metrics.json')))
