"""IoU after each refiner against confusion matrices, pixel by pixel."""
import numpy as np
import pytest
import torch

from mmwsss.registry import METRICS
from tests.test_datasets.builders import METAINFO

NAMES = ['model', 'PAMR']


def build(**kwargs):
    metric = METRICS.build(dict(type='mmwsss.RefinementIoUMetric', **kwargs))
    metric.dataset_meta = METAINFO
    return metric


def image(seed, size=(5, 7), img_id=None, labels=(0, 1, 2, 255)):
    rng = np.random.default_rng(seed)
    return dict(
        img_id=f'image{seed}' if img_id is None else img_id,
        step_names=list(NAMES),
        step_sem_seg=dict(
            data=torch.from_numpy(rng.integers(0, 3, (2, *size)))),
        gt_sem_seg=dict(
            data=torch.from_numpy(rng.choice(labels, (1, *size)))))


def evaluate(metric, samples):
    for sample in samples:
        metric.process({}, [sample])
    return metric.evaluate(len(samples))


def plain(samples, step):
    """Per class TP, FP, FN over all pixels."""
    counts = np.zeros((3, 3), int)
    for sample in samples:
        predicted = sample['step_sem_seg']['data'][step]
        for p, t in zip(predicted.flatten().tolist(),
                        sample['gt_sem_seg']['data'].flatten().tolist()):
            if t == 255:
                continue
            if p == t:
                counts[t, 0] += 1
            else:
                counts[p, 1] += 1
                counts[t, 2] += 1
    return counts


def test_against_plain_counts():
    samples = [image(i, (5, 7 + i)) for i in range(3)]
    found = evaluate(build(report_classes=['dog', 'background']), samples)
    for step, name in enumerate(NAMES):
        tp, fp, fn = plain(samples, step).T
        iou = 100 * tp / (tp + fp + fn)
        assert found[f'mIoU_{name}'] == pytest.approx(iou.mean())
        assert found[f'mIoU_subset_{name}'] == pytest.approx(
            (iou[2] + iou[0]) / 2)
    assert found['mIoU'] == found['mIoU_PAMR']
    assert found['mIoU_subset'] == found['mIoU_subset_PAMR']
    assert found['mIoU_model'] != found['mIoU_PAMR']
    assert {'mFP', 'mFN'} <= set(found)


def test_perfect_and_classes_that_do_not_occur():
    sample = image(0, labels=(0, 1))
    truth = sample['gt_sem_seg']['data']
    sample['step_sem_seg']['data'] = torch.cat((1 - truth, truth))
    found = evaluate(build(), [sample])
    # Dogs neither occur nor are predicted: they do not count.
    assert found['mIoU_PAMR'] == 100 and found['mIoU_model'] == 0
    assert found['mFP'] == found['mFN'] == 0
    assert 'mIoU_subset' not in found


def test_an_image_that_comes_twice_counts_once():
    samples = [image(0), image(1)]
    assert evaluate(build(), samples + samples[:1]) == evaluate(
        build(), samples)
    # Images without a name are all kept.
    nameless = [{k: v
                 for k, v in s.items() if k != 'img_id'} for s in samples]
    assert evaluate(build(), nameless) == evaluate(build(), samples)


def test_what_cannot_be_scored():
    ignored = image(0, labels=(255, ))
    with pytest.raises(ValueError, match='All pixels of all 1 masks'):
        evaluate(build(), [ignored])
    # Beside others it does no harm.
    assert evaluate(build(), [ignored, image(1)]) == evaluate(
        build(), [image(1)])
    with pytest.raises(ValueError, match=r"report_classes has \['cow'\]"):
        evaluate(build(report_classes=['cat', 'cow']), [image(0)])
    with pytest.raises(ValueError, match='image0: the mask holds labels 0'
                       r'..7, not all in 0..2'):
        evaluate(build(), [image(0, labels=(0, 7))])
    wrong = image(0)
    wrong['gt_sem_seg']['data'] = torch.zeros(1, 4, 4)
    with pytest.raises(ValueError, match=r'image0: the prediction is \(5, 7\)'
                       r', the mask \(4, 4\)'):
        evaluate(build(), [wrong])
    for key, advice in (('step_sem_seg', 'RefinedSegmentor'),
                        ('gt_sem_seg', 'with_masks=True')):
        lacking = image(0)
        lacking.pop(key)
        with pytest.raises(KeyError, match=f'image0 has no {key}.*{advice}'):
            evaluate(build(), [lacking])
    # A model with more outputs than the data has classes.
    more = image(0)
    more['step_sem_seg']['data'][1, 2, 2] = 5
    more['gt_sem_seg']['data'][0, 2, 2] = 1
    with pytest.raises(ValueError, match='image0.*label 5.*0..2'):
        evaluate(build(), [more])
    metric = build()
    metric.dataset_meta = None
    with pytest.raises(ValueError, match="metainfo\\['classes'\\]"):
        evaluate(metric, [image(0)])
