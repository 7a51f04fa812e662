"""mIoU of CAMs over background thresholds."""
from numpy.testing import assert_allclose

from mmwsss.evaluation import CAMIoUMetric

FAMILIES = ('acr_eval_curve', )


def test_acr_eval_curve(vector):
    thresholds = vector['thresholds']
    fixed = len(thresholds) * 2 // 5  # Any of them.
    metric = CAMIoUMetric(
        thresholds=thresholds,
        fixed_threshold=float(thresholds[fixed]),
        absent='zero',
        num_classes=vector['per_class_iou'].shape[1] - 1)
    for i in range(int(vector['n_images'])):
        sample = dict(
            img_id=f'im{i}',
            cams=vector[f'im{i:02d}_cams'],
            class_ids=vector[f'im{i:02d}_keys'],
            gt_sem_seg=dict(data=vector[f'im{i:02d}_gt'][None]))
        metric.process(None, [sample])
    result = metric.compute_metrics(metric.results)
    curve = metric.curve
    assert_allclose(
        curve['miou_curve'], vector['miou_curve'], rtol=0, atol=1e-6)
    assert_allclose(
        curve['per_class_iou'], vector['per_class_iou'], rtol=0, atol=1e-6)
    assert_allclose(result['mIoU'], vector['best_miou'], rtol=0, atol=1e-6)
    assert result['threshold'] == vector['best_threshold']
    assert_allclose(
        result['mIoU_fixed'], vector['miou_curve'][fixed], rtol=0, atol=1e-6)
