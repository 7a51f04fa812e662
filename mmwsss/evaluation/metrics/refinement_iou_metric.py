"""Intersection over union after each refiner of a segmentation model."""
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from prettytable import PrettyTable

from mmwsss.registry import METRICS

from ..functional import curve_from_confusion, mean_of
from .collecting import first_of_each


class _ImageSteps(NamedTuple):
    """What one image adds to the result."""
    img_id: str | None
    names: list[str]
    confusion: np.ndarray  # int64 (steps, K + 1, K + 1), true by predicted


@METRICS.register_module()
class RefinementIoUMetric(BaseMetric):
    """mIoU of a :class:`RefinedSegmentor` before and after each refiner.

    Per step in percent, where STEP is ``model``, then the class name of each
    refiner (``FrozenAffinity``, ``PAMR``), numbered where one repeats:

    - ``mIoU_STEP``: mean IoU over classes that labels or predictions have;
    - ``mIoU_subset_STEP`` with ``report_classes``: the mean over these.

    ``mIoU`` and ``mIoU_subset`` are those of the last step, ``mFP`` and
    ``mFN`` its shares of false positives and negatives of the union.

    Args:
        report_classes (Sequence[str], optional): Class names, 'background'
            too. Defaults to None.
        ignore_index (int): True label of pixels that do not count.
            Defaults to 255.
        collect_device (str): See mmengine. Defaults to 'cpu'.
        prefix (str, optional): See mmengine. Defaults to None.
    """

    def __init__(self,
                 report_classes: Sequence[str] | None = None,
                 ignore_index: int = 255,
                 collect_device: str = 'cpu',
                 prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.report_classes = report_classes
        self.ignore_index = ignore_index

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Add a batch.

        Args:
            data_batch (Any): Unused.
            data_samples (Sequence[dict]): With ``step_sem_seg['data']``
                (steps, h, w), ``step_names`` and ``gt_sem_seg['data']``
                (1, h, w); ``img_id`` or ``img_path`` to tell images apart.

        Raises:
            KeyError: If a field is missing.
            ValueError: If sizes or labels do not fit.
        """
        num_labels = len(self._classes())
        for sample in data_samples:
            img_id = sample.get('img_id', sample.get('img_path'))
            for key, advice in (
                ('step_sem_seg', 'mmwsss.RefinedSegmentor predicts it.'),
                ('gt_sem_seg', 'Set with_masks=True for the dataset and put '
                 "dict(type='mmwsss.LoadMask') into its pipeline.")):
                if key not in sample:
                    raise KeyError(f'Image {img_id} has no {key}. {advice}')
            steps, gt = (
                torch.as_tensor(sample[key]['data']).cpu().numpy()
                for key in ('step_sem_seg', 'gt_sem_seg'))
            gt = gt.squeeze(0)
            if steps.shape[1:] != gt.shape:
                raise ValueError(
                    f'Image {img_id}: the prediction is {steps.shape[1:]}, '
                    f'the mask {gt.shape} (height, width).')
            counted = gt != self.ignore_index
            gt = gt[counted].astype(np.int64)
            if gt.size and not (gt.min() >= 0 and gt.max() < num_labels):
                raise ValueError(
                    f'Image {img_id}: the mask holds labels {gt.min()}..'
                    f'{gt.max()}, not all in 0..{num_labels - 1}.')
            if steps.size and steps.max() >= num_labels:
                raise ValueError(
                    f'Image {img_id}: the model predicts label {steps.max()}, '
                    f'but the dataset has 0..{num_labels - 1}. Set the '
                    'num_classes of its decode_head.')
            confusion = [
                np.bincount(
                    gt * num_labels + step[counted],
                    minlength=num_labels**2).reshape(num_labels, num_labels)
                for step in steps
            ]
            self.results.append(
                _ImageSteps(img_id, list(sample['step_names']),
                            np.stack(confusion)))

    def compute_metrics(self, results: list[_ImageSteps]) -> dict[str, float]:
        """Sum up all images.

        Args:
            results (list): Of :meth:`process`, of all processes.

        Returns:
            dict[str, float]: See the class.

        Raises:
            ValueError: If no pixel has a true label, or ``report_classes``
                names no class.
        """
        # Collecting turns named tuples into plain ones.
        results = first_of_each([_ImageSteps(*x) for x in results])
        total = np.sum([image.confusion for image in results], axis=0)
        if not total.any():
            raise ValueError(
                f'All pixels of all {len(results)} masks are '
                f'{self.ignore_index} (ignored); nothing can be scored.')
        classes = self._classes()
        unknown = set(self.report_classes or ()) - set(classes)
        if unknown:
            raise ValueError(f'report_classes has {sorted(unknown)}, which '
                             f'are none of {classes}.')
        subset = [classes.index(c) for c in self.report_classes or ()]
        metrics: dict[str, float] = {}
        table = PrettyTable(['step', 'mIoU', 'mIoU_subset'])
        for name, confusion in zip(results[0].names, total):
            curve = curve_from_confusion(confusion)
            metrics['mIoU'] = metrics[f'mIoU_{name}'] = float(curve.miou[0])
            if subset:
                metrics['mIoU_subset'] = metrics[f'mIoU_subset_{name}'] = \
                    float(mean_of(curve.iou[0][subset]))
            table.add_row([
                name, f'{metrics["mIoU"]:.2f}',
                f'{metrics["mIoU_subset"]:.2f}' if subset else '-'
            ])
        metrics.update(mFP=float(curve.mfp[0]), mFN=float(curve.mfn[0]))
        classwise = PrettyTable(['class', 'IoU'])
        for name, iou in zip(classes, curve.iou[0]):
            classwise.add_row(
                [name, '-' if np.isnan(iou) else f'{iou:.2f}'])
        print_log(
            f'IoU of {len(results)} images after the last step:\n'
            f'{classwise}\nand after each step:\n{table}',
            logger='current')
        return metrics

    def _classes(self) -> list[str]:
        """Names of background and classes."""
        names = (self.dataset_meta or {}).get('classes')
        if not names:
            raise ValueError('RefinementIoUMetric does not know the classes: '
                             "the dataset has no metainfo['classes'].")
        return list(names)
