"""mIoU over background thresholds: one histogram against re-scoring.

Two references, written out plainly, score every threshold anew:

- published: the evaluation script that PSA's descendants share. Per threshold
  and image an argmax over all 21 scores, then three sums per class.
- frugal: per threshold and image an argmax over the present classes only and
  one bincount for the whole confusion matrix.

Both and ours run in turn on the same generated CAMs; the curves must
agree.

    python benchmarks/bench_metric.py
"""
import argparse
import logging

import numpy as np
import torch
import torch.nn.functional as F
from common import machine, ratio_table, timed

from mmwsss.evaluation import CAMIoUMetric


def make_images(num, size, num_classes):
    """Smooth CAMs with masks that resemble them."""
    generator = torch.Generator().manual_seed(0)
    images = []
    for i in range(num):
        present = torch.randperm(num_classes, generator=generator)
        ids = present[:1 + i % 3].sort().values

        def smooth():
            maps = torch.rand((1, len(ids), 12, 16), generator=generator)
            maps = F.interpolate(maps, size, mode='bicubic')[0]
            low, high = maps.amin((1, 2), True), maps.amax((1, 2), True)
            return (maps - low) / (high - low + 1e-6)

        cams, truth = smooth(), smooth()
        score, best = (cams + truth).max(dim=0)
        gt = torch.where(score > 1, ids[best] + 1, 0)
        gt[:, :4] = 255
        images.append(
            dict(
                img_id=str(i),
                cams=cams,
                class_ids=ids,
                gt_sem_seg=dict(data=gt[None])))
    return images


def rescore(images, thresholds, num_classes, score_image):
    """mIoU at every threshold; absent classes count 0."""
    curve = []
    for t in thresholds:
        tp, predicted, labels = np.zeros((3, num_classes + 1), np.int64)
        for image in images:
            score_image(image, t, tp, predicted, labels)
        curve.append(100 * np.mean(tp / (predicted + labels - tp + 1e-10)))
    return np.array(curve)


def published(image, t, tp, predicted, labels):
    """One image at one threshold, as the field's script does it."""
    cams, gt = image['cams'].numpy(), image['gt_sem_seg']['data'][0].numpy()
    scores = np.zeros((len(tp), *gt.shape), np.float32)
    for c, cam in zip(image['class_ids'], cams):
        scores[c + 1] = cam
    scores[0] = t
    prediction = scores.argmax(axis=0).astype(np.uint8)
    counted = gt < 255
    right = (prediction == gt) * counted
    for c in range(len(tp)):
        predicted[c] += np.sum((prediction == c) * counted)
        labels[c] += np.sum((gt == c) * counted)
        tp[c] += np.sum((gt == c) * right)


def frugal(image, t, tp, predicted, labels):
    """The same with the least work for one threshold."""
    cams, gt = image['cams'], image['gt_sem_seg']['data'][0]
    score, best = cams.max(dim=0)
    prediction = torch.where(
        score > torch.tensor(t, dtype=torch.float32),
        image['class_ids'][best] + 1, 0)
    size = len(tp)
    counted = gt < 255
    confusion = torch.bincount(
        gt[counted] * size + prediction[counted],
        minlength=size * size).reshape(size, size).numpy()
    tp += confusion.diagonal()
    predicted += confusion.sum(0)
    labels += confusion.sum(1)


def ours(images, thresholds, num_classes):
    """The curve of the metric, from maps to numbers."""
    metric = CAMIoUMetric(thresholds, absent='zero', num_classes=num_classes)
    for image in images:
        metric.process(None, [image])
    metric.compute_metrics(metric.results)
    return np.array(metric.curve['miou_curve'])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=6)
    parser.add_argument('--size', nargs=2, type=int, default=[375, 500])
    parser.add_argument('--classes', type=int, default=20)
    parser.add_argument('--thresholds', type=int, default=60)
    parser.add_argument('--repeats', type=int, default=3)
    args = parser.parse_args()
    print(machine())
    logging.disable(logging.WARNING)
    images = make_images(args.images, tuple(args.size), args.classes)
    thresholds = np.arange(args.thresholds) / 100
    rows = []
    for name, score_image in (('published', published), ('frugal', frugal)):
        reference, result, times = timed(
            lambda: rescore(images, thresholds, args.classes, score_image),
            lambda: ours(images, thresholds, args.classes), args.repeats)
        error = np.abs(reference - result).max()
        assert error < 1e-9, f'curves differ by {error}'
        rows.append((f'against {name}', *times, error))
    height, width = args.size
    ratio_table(
        f'mIoU at {args.thresholds} thresholds, {args.images} images of '
        f'{height} x {width}, {args.classes} classes', rows,
        ('reference', 'ours'))
    print(f'ours: {rows[0][2] / args.images * 1e3:.2f} ms per image')


if __name__ == '__main__':
    main()
