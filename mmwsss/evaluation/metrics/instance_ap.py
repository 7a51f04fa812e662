"""Average precision of instances."""
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger, print_log
from prettytable import PrettyTable

from mmwsss.registry import METRICS

from .collecting import first_of_each


class _ImageMatches(NamedTuple):
    """What one image adds to the result."""
    img_id: str | None
    true_labels: np.ndarray  # int64 (m,)
    labels: np.ndarray  # int64 (n,)
    scores: np.ndarray  # float64 (n,)
    matched: np.ndarray  # bool (T, n), for every IoU that is asked for


def mask_iou(masks: torch.Tensor, others: torch.Tensor) -> np.ndarray:
    """Intersection over union of all pairs.

    Args:
        masks (Tensor): bool (n, H, W).
        others (Tensor): bool (m, H, W).

    Returns:
        ndarray: float64 (n, m); 0 for two empty masks.
    """
    # Sums of up to 2^24 pixels are exact in float32.
    kind = torch.float32 if masks[0:1].numel() < 2**24 else torch.float64
    others = others.flatten(1).to(kind)
    # In parts: there may be hundreds of small fragments.
    both = torch.cat([
        part.flatten(1).to(kind) @ others.t() for part in masks.split(64)
    ]).double()
    area, other_area = masks.flatten(1).sum(1), others.sum(1).double()
    either = area.double()[:, None] + other_area - both
    return (both / either.clamp(min=1)).cpu().numpy()


def match_instances(iou: np.ndarray, scores: np.ndarray,
                    threshold: float) -> np.ndarray:
    """Which predicted instances of one class find a true one of their own.

    As in PASCAL VOC: in the order of falling scores, each prediction stands
    for the true instance that it overlaps most, which only the first one
    finds.

    Args:
        iou (ndarray): (n, m), predicted with true instances.
        scores (ndarray): (n,).
        threshold (float): The IoU that is needed at least.

    Returns:
        ndarray: bool (n,).
    """
    matched = np.zeros(len(scores), bool)
    if not iou.size:
        return matched
    best, found = iou.argmax(1), set()
    for i in np.argsort(-scores, kind='stable'):
        if iou[i, best[i]] >= threshold and best[i] not in found:
            matched[i] = True
            found.add(best[i])
    return matched


def precision_recall(matched: np.ndarray, scores: np.ndarray,
                     num_true: int) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall of the best 1, 2, .. predictions.

    Args:
        matched (ndarray): bool (n,), see :func:`match_instances`.
        scores (ndarray): (n,).
        num_true (int): Number of true instances.

    Returns:
        tuple[ndarray, ndarray]: (n,) each; recall NaN without true instances.
    """
    order = np.argsort(-scores, kind='stable')
    hits = np.cumsum(matched[order]).astype(float)
    precision = hits / np.arange(1, len(hits) + 1)
    recall = hits / num_true if num_true else np.full(len(hits), np.nan)
    return precision, recall


def average_precision(precision: np.ndarray, recall: np.ndarray) -> float:
    """Area under the curve of the best precision from each recall on.

    Args:
        precision (ndarray): (n,) of :func:`precision_recall`.
        recall (ndarray): (n,).

    Returns:
        float: In [0, 1].
    """
    best = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0) * best).sum())


@METRICS.register_module()
class InstanceAP(BaseMetric):
    """Average precision of instances, as papers on PASCAL VOC report it.

    Per class, the area under the monotone curve of precision over recall of
    all instances, score 0 included; then the mean over the classes that have
    true instances. ``AP50`` is it at a mask IoU of at least 0.5, in percent,
    ``AP70`` at 0.7, and so on.

    Args:
        thresholds (Sequence[float]): IoUs. Defaults to (0.5, ).
        collect_device (str): See mmengine. Defaults to 'cpu'.
        prefix (str, optional): See mmengine. Defaults to None.

    Raises:
        ValueError: If a threshold is not in (0, 1].
    """

    # No prefix; None would make mmengine warn.
    default_prefix = ''

    def __init__(self,
                 thresholds: Sequence[float] = (0.5, ),
                 collect_device: str = 'cpu',
                 prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.thresholds = [float(t) for t in thresholds]
        if not self.thresholds or not all(0 < t <= 1 for t in self.thresholds):
            raise ValueError('thresholds must be IoUs in (0, 1], got '
                             f'{tuple(thresholds)}.')

    # ---------------------------------------------------------- one image
    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Add a batch.

        Args:
            data_batch (Any): Unused.
            data_samples (Sequence[dict]): With ``pred_instances`` (``masks``
                bool (n, H, W), ``labels`` (n,), ``scores`` (n,)) and
                ``gt_instances`` (``masks``, ``labels``); ``img_id`` or
                ``img_path`` to tell images apart.

        Raises:
            KeyError: If a field is missing.
            ValueError: If sizes or classes do not fit.
        """
        for sample in data_samples:
            img_id = sample.get('img_id', sample.get('img_path'))
            try:
                self.results.append(self._score(img_id, sample))
            except (KeyError, ValueError) as error:
                # args[0]: str() of a KeyError would add quotes.
                raise type(error)(
                    f'Image {img_id}: {error.args[0]}.') from error

    def _score(self, img_id: str | None, sample: dict) -> _ImageMatches:
        if 'pred_instances' not in sample:
            raise KeyError(
                'the prediction has no instances (pred_instances); '
                'mmwsss.IRNet makes them with model.instances=dict()')
        if 'gt_instances' not in sample:
            raise KeyError(
                'there are no instances to score with; set with_masks=True '
                "and data_prefix=dict(instance_path='SegmentationObject') "
                "for the dataset and put dict(type='mmwsss.LoadMask') and "
                "dict(type='mmwsss.LoadInstances') into its pipeline")
        found, true = sample['pred_instances'], sample['gt_instances']
        masks = torch.as_tensor(found['masks'])
        true_masks = torch.as_tensor(true['masks']).to(masks.device)
        if masks.shape[1:] != true_masks.shape[1:]:
            raise ValueError(
                f'the instances are {tuple(masks.shape[1:])} pixels (height, '
                f'width), the true ones {tuple(true_masks.shape[1:])}')
        labels, true_labels = (
            torch.as_tensor(x['labels']).cpu().numpy().astype(np.int64)
            for x in (found, true))
        names = self._names()
        for values in (labels, true_labels):
            if len(values) and not 0 <= values.min() <= values.max() < len(
                    names):
                raise ValueError(f'classes {np.unique(values).tolist()} are '
                                 f'not all in 0..{len(names) - 1}')
        scores = torch.as_tensor(found['scores']).cpu().numpy()
        scores = scores.astype(np.float64)
        matched = np.zeros((len(self.thresholds), len(labels)), bool)
        for label in np.intersect1d(labels, true_labels):
            own = np.flatnonzero(labels == label)
            iou = mask_iou(masks[own],
                           true_masks[np.flatnonzero(true_labels == label)])
            for row, threshold in zip(matched, self.thresholds):
                row[own] = match_instances(iou, scores[own], threshold)
        return _ImageMatches(img_id, true_labels, labels, scores, matched)

    # --------------------------------------------------------- all images
    def compute_metrics(self,
                        results: list[_ImageMatches]) -> dict[str, float]:
        """Sum up all images.

        Args:
            results (list): Of :meth:`process`, of all processes.

        Returns:
            dict[str, float]: ``AP50`` and so on, in percent.

        Raises:
            ValueError: If no image has a true instance.
        """
        names = self._names()
        # Collecting turns named tuples into plain ones.
        images = first_of_each([_ImageMatches(*x) for x in results])
        count = np.bincount(
            np.concatenate([x.true_labels for x in images]),
            minlength=len(names))
        if not count.any():
            raise ValueError(f'None of the {len(images)} images has a true '
                             'instance; nothing can be scored.')
        labels = np.concatenate([x.labels for x in images])
        scores = np.concatenate([x.scores for x in images])
        matched = np.concatenate([x.matched for x in images], axis=1)
        table = PrettyTable(['class', 'true', 'found', *self._keys()])
        table.align = 'r'
        table.align['class'] = 'l'
        values = np.full((len(names), len(self.thresholds)), np.nan)
        for label in np.flatnonzero(count):
            own = labels == label
            for t in range(len(self.thresholds)):
                values[label, t] = 100 * average_precision(*precision_recall(
                    matched[t, own], scores[own], count[label]))
            table.add_row([
                names[label], count[label],
                own.sum(), *(f'{v:.2f}' for v in values[label])
            ])
        mean = np.nanmean(values, axis=0)
        table.add_row(['mean', count.sum(),
                       len(labels), *(f'{v:.2f}' for v in mean)])
        print_log(
            f'Average precision of instances in {len(images)} images:\n'
            f'{table}',
            logger=MMLogger.get_current_instance())
        return dict(zip(self._keys(), mean.tolist(), strict=True))

    def _keys(self) -> list[str]:
        return [f'AP{100 * t:.4g}' for t in self.thresholds]

    def _names(self) -> Sequence[str]:
        """Names of the K classes without background."""
        names = (self.dataset_meta or {}).get('classes')
        if not names:
            raise ValueError('InstanceAP does not know the classes: the '
                             "dataset has no metainfo['classes'].")
        return names[1:]
