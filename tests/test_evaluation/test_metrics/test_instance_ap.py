"""InstanceAP against values by hand, a plain program and COCO's evaluation."""
import contextlib
import io

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmwsss.evaluation import InstanceAP
from mmwsss.evaluation.metrics.instance_ap import (
    average_precision,
    mask_iou,
    match_instances,
    precision_recall,
)
from mmwsss.registry import METRICS

CLASSES = ('background', 'cat', 'dog', 'cow')
SIZE = (20, 24)


def box(y0, x0, y1, x1):
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[y0:y1, x0:x1] = True
    return mask


def make(true=(), found=(), img_id='x'):
    """A sample of (mask, label) and (mask, label, score)."""

    def stack(masks):
        return torch.stack(masks) if masks else torch.zeros(
            0, *SIZE, dtype=torch.bool)

    def integers(values):
        return torch.tensor(values, dtype=torch.int64)

    sample = SegDataSample(metainfo=dict(img_id=img_id))
    sample.gt_instances = InstanceData(
        masks=stack([t[0] for t in true]),
        labels=integers([t[1] for t in true]))
    sample.pred_instances = InstanceData(
        masks=stack([f[0] for f in found]),
        labels=integers([f[1] for f in found]),
        scores=torch.tensor([float(f[2]) for f in found]))
    return sample.to_dict()


def evaluate(*samples, **kwargs):
    metric = InstanceAP(**kwargs)
    metric.dataset_meta = dict(classes=CLASSES)
    for sample in samples:
        metric.process({}, [sample])
    return metric.evaluate(len(samples))


A, B = box(0, 0, 8, 10), box(10, 10, 18, 22)


def test_iou():
    iou = mask_iou(torch.stack((A, B, box(4, 0, 12, 10))),
                   torch.stack((A, box(0, 0, 0, 0))))
    np.testing.assert_allclose(iou, [[1, 0], [0, 0], [40 / 120, 0]])
    assert mask_iou(torch.zeros(0, *SIZE), A[None]).shape == (0, 1)


def test_all_or_nothing():
    true = [(A, 0), (B, 2)]
    assert evaluate(make(true, [(A, 0, .9), (B, 2, .1)])) == {'AP50': 100}
    assert evaluate(make(true)) == {'AP50': 0}
    # The wrong class, the wrong place.
    assert evaluate(make(true, [(A, 2, .9), (B, 0, .1)])) == {'AP50': 0}
    # A class that does not occur does not count.
    assert evaluate(make(true, [(A, 0, .9), (B, 2, .1), (A, 1, .95)
                                ]))['AP50'] == 100


def test_each_true_instance_is_found_once():
    # Two hits of one object: the second is wrong. Recall .5 at precision 1.
    same = make([(A, 0), (B, 0)], [(A, 0, .9), (A, 0, .8)])
    assert evaluate(same)['AP50'] == pytest.approx(50)
    # Hit, miss, hit: precision 1 up to recall .5, then 2 / 3.
    mixed = make([(A, 0), (B, 0)],
                 [(A, 0, .9), (box(0, 20, 4, 24), 0, .8), (B, 0, .7)])
    assert evaluate(mixed)['AP50'] == pytest.approx(50 + 50 * 2 / 3)
    # Miss first: precision never exceeds 2 / 3.
    late = make([(A, 0), (B, 0)],
                [(box(0, 20, 4, 24), 0, .9), (A, 0, .8), (B, 0, .7)])
    assert evaluate(late)['AP50'] == pytest.approx(100 * 2 / 3)


def test_threshold_itself_is_enough():
    half = box(0, 0, 4, 10)  # IoU with A is exactly 0.5
    sample = make([(A, 0)], [(half, 0, 1)])
    result = evaluate(sample, thresholds=(0.5, 0.501, 0.7))
    assert result == {'AP50': 100, 'AP50.1': 0, 'AP70': 0}


def test_scores_are_compared_across_images():
    hit, miss = make([(A, 0)], [(A, 0, .4)], 'a'), make([], [(B, 0, .6)], 'b')
    assert evaluate(hit, miss)['AP50'] == pytest.approx(50)
    miss = make([], [(B, 0, .2)], 'b')
    assert evaluate(hit, miss)['AP50'] == pytest.approx(100)
    # An image that a sampler hands out twice counts once.
    assert evaluate(hit, miss, hit)['AP50'] == pytest.approx(100)


def random_samples(count=12, seed=0):
    """Disjoint true instances, and predictions of all qualities."""
    rng = np.random.default_rng(seed)
    samples, score = [], iter(rng.permutation(1000) / 1000)
    for i in range(count):
        true, found = [], []
        for y in (0, 10):
            for x in (0, 12):
                if rng.random() < .3:
                    continue
                mask = box(y, x, y + 9, x + 11)
                label = int(rng.integers(3))
                true.append((mask, label))
                for _ in range(rng.integers(4)):
                    noise = torch.from_numpy(
                        rng.random(SIZE) < rng.choice([0, .1, .3, .6]))
                    if rng.random() < .2:
                        label = int(rng.integers(3))
                    found.append((mask & ~noise | (noise & box(
                        y, x, y + 10, x + 12)), label, next(score)))
        samples.append(make(true, found, f'{i:03}'))
    return samples


def ap_by_loop(samples, label, threshold):
    """Average precision with loops only."""
    ranked = sorted(((float(s), i, n)
                     for i, sample in enumerate(samples)
                     for n, (s, c) in enumerate(
                         zip(sample['pred_instances']['scores'],
                             sample['pred_instances']['labels']))
                     if c == label), key=lambda x: -x[0])
    total = sum((s['gt_instances']['labels'] == label).sum().item()
                for s in samples)
    found, points = set(), []
    for rank, (_, i, n) in enumerate(ranked, 1):
        mask = samples[i]['pred_instances']['masks'][n]
        best, overlap = None, 0
        true = samples[i]['gt_instances']
        for m, (other, c) in enumerate(zip(true['masks'], true['labels'])):
            iou = ((mask & other).sum() / (mask | other).sum()).item()
            if c == label and iou > overlap:
                best, overlap = (i, m), iou
        if overlap >= threshold and best not in found:
            found.add(best)
            points.append((len(found) / total, len(found) / rank))
    area, before = 0, 0
    for k, (recall, _) in enumerate(points):
        area += (recall - before) * max(p for _, p in points[k:])
        before = recall
    return 100 * area


@pytest.mark.parametrize('seed', range(3))
def test_equals_a_loop(seed):
    samples = random_samples(seed=seed)
    result = evaluate(*samples, thresholds=(0.5, 0.75))
    for threshold in (0.5, 0.75):
        expected = np.mean(
            [ap_by_loop(samples, label, threshold) for label in range(3)])
        assert 5 < expected < 95
        assert result[f'AP{100 * threshold:.0f}'] == pytest.approx(expected)


def coco_precision(samples):
    """COCO's precision at 101 recalls, (101, 3), at a mask IoU of 0.5."""

    def rle(mask):
        return coco_mask.encode(np.asfortranarray(mask.numpy().astype('u1')))

    content = dict(
        images=[
            dict(id=i, height=SIZE[0], width=SIZE[1])
            for i in range(1, len(samples) + 1)
        ],
        categories=[dict(id=c + 1, name=n) for c, n in enumerate(CLASSES[1:])],
        annotations=[])
    found = []
    for i, sample in enumerate(samples, 1):
        true, pred = sample['gt_instances'], sample['pred_instances']
        for mask, label in zip(true['masks'], true['labels']):
            content['annotations'].append(
                dict(
                    id=len(content['annotations']) + 1,
                    image_id=i,
                    category_id=int(label) + 1,
                    segmentation=rle(mask),
                    area=int(mask.sum()),
                    iscrowd=0))
        for mask, label, score in zip(pred['masks'], pred['labels'],
                                      pred['scores']):
            found.append(
                dict(
                    image_id=i,
                    category_id=int(label) + 1,
                    segmentation=rle(mask),
                    score=float(score)))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = content
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(found), 'segm')
        run.params.iouThrs = np.array([0.5])
        run.params.maxDets = [1000]
        run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ['all']
        run.evaluate()
        run.accumulate()
    return run.eval['precision'][0, :, :, 0, 0]


@pytest.mark.parametrize('seed', range(3))
def test_is_the_area_under_cocos_curve(seed):
    samples = random_samples(seed=seed)
    theirs = coco_precision(samples)
    metric = InstanceAP()
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process({}, samples)
    labels, scores = (
        np.concatenate([getattr(x, key) for x in metric.results])
        for key in ('labels', 'scores'))
    true = np.concatenate([x.true_labels for x in metric.results])
    matched = np.concatenate([x.matched[0] for x in metric.results])
    for label in range(3):
        own = labels == label
        precision, recall = precision_recall(matched[own], scores[own],
                                             (true == label).sum())
        # The same points: best precision at a recall of at least r.
        points = [
            max(precision[recall >= r], default=0)
            for r in np.linspace(0, 1, 101)
        ]
        np.testing.assert_allclose(points, theirs[:, label], atol=1e-9)
    # The area of a falling curve within [0, 1] lies between the sums of
    # rectangles to the left and right of 100 steps, COCO's mean of 101 points
    # does too: they differ by 0.01 at most.
    ours = metric.evaluate(len(samples))['AP50']
    assert abs(ours - 100 * theirs.mean()) <= 1


def test_functions():
    iou = np.array([[.9, .1], [.6, .55], [.1, .5], [.2, .1]])
    # The second overlaps the first's object most, which is taken.
    assert match_instances(iou, np.array([.9, .8, .3, .7]),
                           .5).tolist() == [True, False, True, False]
    assert match_instances(iou, np.array([.5, .8, .3, .7]),
                           .5).tolist() == [False, True, True, False]
    assert match_instances(np.zeros((2, 0)), np.zeros(2), .5).tolist() == [
        False, False
    ]
    precision, recall = precision_recall(
        np.array([True, False, True]), np.array([.1, .5, .9]), 4)
    assert recall.tolist() == [.25, .25, .5]
    assert precision.tolist() == [1, .5, 2 / 3]
    assert average_precision(precision, recall) == pytest.approx(
        .25 + .25 * 2 / 3)
    assert average_precision(np.zeros(0), np.zeros(0)) == 0


def test_errors():
    metric = METRICS.build(dict(type='mmwsss.InstanceAP'))
    good = make([(A, 0)], [(A, 0, 1)])
    with pytest.raises(ValueError, match='does not know the classes'):
        metric.process({}, [good])
    metric.dataset_meta = dict(classes=CLASSES)
    with pytest.raises(KeyError, match='Image x: .*model.instances=dict'):
        metric.process({}, [{k: v for k, v in good.items()
                             if k != 'pred_instances'}])
    with pytest.raises(KeyError, match='Image x: .*LoadInstances'):
        metric.process({}, [{k: v for k, v in good.items()
                             if k != 'gt_instances'}])
    other = dict(good, gt_instances=dict(
        masks=torch.zeros(1, 3, 4), labels=torch.zeros(1)))
    with pytest.raises(ValueError, match=r'Image x: .*\(3, 4\)'):
        metric.process({}, [other])
    with pytest.raises(ValueError, match=r'classes \[3\] .* 0\.\.2'):
        metric.process({}, [make([(A, 3)])])
    metric.process({}, [make([], [(A, 0, 1)])])
    with pytest.raises(ValueError, match='None of the 1 images'):
        metric.evaluate(1)
    for thresholds in ((), (0, ), (1.5, )):
        with pytest.raises(ValueError, match='thresholds'):
            InstanceAP(thresholds=thresholds)
