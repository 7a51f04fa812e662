"""Intersection over union of CAMs at every background threshold."""
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MessageHub, MMLogger, print_log
from prettytable import PrettyTable

from mmwsss.registry import METRICS

from ..functional import (
    ScoreBins,
    best_class,
    curve_from_confusion,
    curve_from_histogram,
    mean_of,
    score_histogram,
    unmeasured,
    unmeasured_text,
)
from .collecting import first_of_each

CURVE = 'mmwsss/cam_curve'


class _ImageScores(NamedTuple):
    """What one image adds to the result."""
    img_id: str | None
    index: np.ndarray
    count: np.ndarray
    first_label: int  # mask value of the first tag, 0 without any
    tags: tuple[int, ...] = ()  # where the sample has some


@METRICS.register_module()
class CAMIoUMetric(BaseMetric):
    """mIoU of CAMs for all background thresholds, in one pass.

    Every pixel's background score is a constant t; a pixel belongs to the
    class with the highest map if that exceeds t, else to the background. The
    result is exact at every threshold, as if each had been scored alone.

    The results, all IoUs in percent:

    - ``mIoU``: the best over all thresholds, ``threshold``: where. This
      threshold is tuned on the ground truth it is scored with; it is the
      number that papers report for their "seeds".
    - ``mIoU_fixed``: at ``fixed_threshold``, tuned on nothing.
    - ``mFP``, ``mFN``: over- and under-activation at the best threshold, the
      mean over classes of FP or FN / (TP + FP + FN).
    - ``mIoU_all_background``, ``mIoU_tag_fill``: what needs no model: all
      pixels background, or all pixels of an image its first tag.
    - ``mIoU_subset`` and ``mIoU_subset_fixed`` with ``report_classes``: the
      mean over those, of the same masks as ``mIoU`` and ``mIoU_fixed``.

    The last result stays in ``curve`` (dictionary of plain numbers and lists)
    and in the message hub as ``mmwsss/cam_curve``, on the main process.

    Args:
        thresholds (Sequence[float], optional): Increasing, in [0, 1].
            Defaults to 0, 0.01, .., 0.99.
        fixed_threshold (float): Defaults to 0.4.
        absent (str): A class that neither labels nor predictions have is
            left out of the mean ('ignore') or counts as IoU 0 ('zero', as
            ACR's and PSA's scripts do). Defaults to 'ignore'.
        report_classes (Sequence[str | int], optional): Class names
            ('background' too) or class ids 0..K-1.
        num_classes (int, optional): K, background not counted. None takes it
            from the dataset's ``metainfo['classes']``. Defaults to None.
        ignore_index (int): Label of pixels that do not count.
            Defaults to 255.
        split (str, optional): What the log calls the images. None takes the
            dataset's ``metainfo['split']``, which tools fill in.
            Defaults to None.
        collect_device (str): See mmengine. Defaults to 'cpu'.
        prefix (str, optional): See mmengine. Defaults to None.

    Raises:
        ValueError: If an argument is not as described.
    """

    # No prefix; None would make mmengine warn.
    default_prefix = ''

    def __init__(self,
                 thresholds: Sequence[float] | None = None,
                 fixed_threshold: float = 0.4,
                 absent: str = 'ignore',
                 report_classes: Sequence[str | int] | None = None,
                 num_classes: int | None = None,
                 ignore_index: int = 255,
                 split: str | None = None,
                 collect_device: str = 'cpu',
                 prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if thresholds is None:
            thresholds = np.arange(0, 1, 0.01)
        if absent not in ('ignore', 'zero'):
            raise ValueError(f"absent is {absent!r}, must be 'ignore' or "
                             "'zero'.")
        if not 0 <= fixed_threshold <= 1:
            raise ValueError('fixed_threshold must lie in [0, 1], got '
                             f'{fixed_threshold}.')
        ScoreBins(thresholds)  # complains about bad ones
        self.thresholds = [float(t) for t in thresholds]
        self.fixed_threshold = float(fixed_threshold)
        # One histogram serves the fixed threshold too, on the list or not.
        grid = np.unique(
            np.asarray([*self.thresholds, self.fixed_threshold], np.float32))
        self.bins = ScoreBins(grid)
        self.rows = np.searchsorted(grid,
                                    np.asarray(self.thresholds, np.float32))
        self.fixed_row = int(
            np.searchsorted(grid, np.float32(self.fixed_threshold)))
        self.absent = absent
        self.report_classes = report_classes
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.split = split
        self.curve: dict[str, Any] | None = None

    # ---------------------------------------------------------- one image
    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Add a batch.

        Args:
            data_batch (Any): Unused.
            data_samples (Sequence[dict]): With ``cams`` (K', h, w) in
                [0, 1], ``class_ids`` (K',) and ``gt_sem_seg['data']``
                (1, h, w); ``img_id`` or ``img_path`` to tell images apart.

        Raises:
            KeyError: If a field is missing.
            ValueError: If sizes, class ids, labels or map values do not fit.
        """
        num_classes = len(self._names()) - 1
        for sample in data_samples:
            img_id = sample.get('img_id', sample.get('img_path'))
            try:
                self.results.append(
                    self._score(img_id, sample, num_classes))
            except (KeyError, ValueError) as error:
                # args[0]: str() of a KeyError would add quotes.
                message = f'Image {img_id}: {error.args[0]}.'
                raise type(error)(message) from error

    def _score(self, img_id: str | None, sample: dict,
               num_classes: int) -> _ImageScores:
        for key in ('cams', 'class_ids'):
            if key not in sample:
                raise KeyError(
                    f'the prediction has no {key!r}; CAMIoUMetric scores '
                    'CAMs, e.g. of mmwsss.CAMSegmentor (for masks use '
                    'IoUMetric)')
        if 'gt_sem_seg' not in sample:
            raise KeyError(
                'there is no mask to score with; set with_masks=True for the '
                "dataset and put dict(type='mmwsss.LoadMask') into its "
                'pipeline')
        cams = torch.as_tensor(sample['cams'])
        ids = torch.as_tensor(
            sample['class_ids'], dtype=torch.int64, device=cams.device)
        gt = torch.as_tensor(sample['gt_sem_seg']['data'])
        if cams.ndim != 3 or ids.shape != cams.shape[:1]:
            raise ValueError(
                'cams must be (classes, height, width) with one class id '
                f'each, got {tuple(cams.shape)} with {tuple(ids.shape)} ids')
        height, width = cams.shape[1:]
        if (gt.shape[-2:] != (height, width)
                or gt.numel() != height * width):
            raise ValueError(
                f'CAMs are {height} x {width} (height x width), '
                f'the mask is {" x ".join(map(str, gt.shape))}')
        if len(ids) and not 0 <= int(ids.min()) <= int(
                ids.max()) < num_classes:
            raise ValueError(f'class ids {ids.tolist()} are not all in '
                             f'0..{num_classes - 1}')
        order = ids.argsort()
        if len(ids.unique()) != len(ids):
            raise ValueError(f'class ids {ids.tolist()} repeat')
        if not torch.equal(ids, ids[order]):
            # The protocol's argmax prefers the lower class in a tie.
            ids, cams = ids[order], cams[order]
        score, best = best_class(cams)
        index, count = score_histogram(score, best, ids, gt.reshape(-1),
                                       self.bins, num_classes,
                                       self.ignore_index)
        tags = sample.get('gt_label', {}).get('label', ids)
        first = int(min(tags)) + 1 if len(tags) else 0
        given = tuple(map(int, tags)) if 'gt_label' in sample else ()
        return _ImageScores(img_id, index, count, first, given)

    # --------------------------------------------------------- all images
    def compute_metrics(self, results: list[_ImageScores]) -> dict[str, Any]:
        """Sum up all images.

        Args:
            results (list): Of :meth:`process`, of all processes.

        Returns:
            dict[str, float]: See the class.

        Raises:
            ValueError: If no pixel has a label, or the masks never show
                the classes, so that there is nothing to average.
        """
        names = self._names()
        num_classes = len(names) - 1
        # Collecting turns named tuples into plain ones.
        results = first_of_each([_ImageScores(*x) for x in results])
        shape = (num_classes + 1, num_classes, len(self.bins) + 1)
        total = np.zeros(shape, dtype=np.int64)
        tag_fill = np.zeros((num_classes + 1, num_classes + 1), np.int64)
        for image in results:
            # An image's indices are unique, so this adds all of them.
            total.reshape(-1)[image.index] += image.count
            tag_fill[:, image.first_label] += np.bincount(
                image.index // (shape[1] * shape[2]),
                image.count,
                minlength=num_classes + 1).astype(np.int64)
        if not total.any():
            raise ValueError(
                f'All pixels of all {len(results)} masks are '
                f'{self.ignore_index} (ignored); nothing can be scored.')
        self._refuse_unmeasured(names, total.sum(axis=(1, 2)), results)
        all_background = np.zeros_like(tag_fill)
        all_background[:, 0] = tag_fill.sum(axis=1)

        counts = curve_from_histogram(total, self.absent)
        iou, miou, mfp, mfn = counts.iou, counts.miou, counts.mfp, counts.mfn
        best = int(self.rows[np.argmax(miou[self.rows])])
        threshold = self.thresholds[int(np.argmax(miou[self.rows]))]
        metrics = dict(
            mIoU=miou[best],
            threshold=threshold,
            mIoU_fixed=miou[self.fixed_row],
            mFP=mfp[best],
            mFN=mfn[best])
        subset = self._subset(names)
        if subset is not None:
            metrics['mIoU_subset'] = mean_of(iou[best, subset])
            metrics['mIoU_subset_fixed'] = mean_of(iou[self.fixed_row,
                                                       subset])
        for name, confusion in (('all_background', all_background),
                                ('tag_fill', tag_fill)):
            metrics[f'mIoU_{name}'] = curve_from_confusion(
                confusion, self.absent).miou[0]
        metrics = {key: float(value) for key, value in metrics.items()}

        split = self.split or (self.dataset_meta or {}).get('split')
        self.curve = dict(
            metrics,
            fixed_threshold=self.fixed_threshold,
            thresholds=list(self.thresholds),
            miou_curve=miou[self.rows].tolist(),
            mfp_curve=mfp[self.rows].tolist(),
            mfn_curve=mfn[self.rows].tolist(),
            per_class_iou=iou[self.rows].tolist(),
            per_class_iou_best=iou[best].tolist(),
            per_class_iou_fixed=iou[self.fixed_row].tolist(),
            classes=list(names),
            split=split,
            num_images=len(results),
            absent=self.absent)
        # Not part of checkpoints: a resumed run scores anew.
        MessageHub.get_current_instance().update_info(
            CURVE, self.curve, resumed=False)
        self._log(names, iou[best], iou[self.fixed_row])
        return metrics

    @staticmethod
    def _refuse_unmeasured(names: Sequence[str], pixels: np.ndarray,
                           results: list[_ImageScores]) -> None:
        """Raise ValueError if classes that are there cannot be measured."""
        tagged = np.zeros(len(names), np.int64)
        for image in results:
            tagged[1:][list(image.tags)] += 1
        lacking = unmeasured(pixels, tagged)
        if lacking:
            raise ValueError(
                unmeasured_text(names, pixels, tagged, lacking, len(results)))

    def _names(self) -> Sequence[str]:
        """Names of background and the K classes."""
        names = (self.dataset_meta or {}).get('classes')
        if self.num_classes is None:
            if not names:
                raise ValueError(
                    'CAMIoUMetric does not know the classes: the dataset has '
                    "no metainfo['classes'] and num_classes is not set.")
            return names
        if names is None:
            return [
                'background', *(f'class {i}' for i in range(self.num_classes))
            ]
        if len(names) != self.num_classes + 1:
            raise ValueError(
                f'CAMIoUMetric.num_classes is {self.num_classes} (without '
                f'background), but the dataset names {len(names)} classes '
                'with background.')
        return names

    def _subset(self, names: Sequence[str]) -> list[int] | None:
        """Mask values of ``report_classes``."""
        if self.report_classes is None:
            return None
        subset = []
        for entry in self.report_classes:
            if isinstance(entry, str) and entry in names:
                subset.append(list(names).index(entry))
            elif not isinstance(entry, str) and 0 <= entry < len(names) - 1:
                subset.append(int(entry) + 1)
            else:
                raise ValueError(
                    f'report_classes has {entry!r}, which is neither of '
                    f'{tuple(names)} nor a class id in 0..{len(names) - 2}.')
        return subset

    def _log(self, names: Sequence[str], best: np.ndarray,
             fixed: np.ndarray) -> None:
        """Write the table of classes and what the numbers rest on."""
        curve = self.curve

        def show(value: float) -> str:
            return '-' if np.isnan(value) else f'{value:.2f}'

        table = PrettyTable([
            'class', f'IoU at best t={curve["threshold"]:.2f}',
            f'IoU at fixed t={self.fixed_threshold:.2f}'
        ])
        table.align = 'r'
        table.align['class'] = 'l'
        for row in zip(names, map(show, best), map(show, fixed)):
            table.add_row(row)
        table.add_row(
            ['mean',
             show(curve['mIoU']),
             show(curve['mIoU_fixed'])])
        logger = MMLogger.get_current_instance()
        print_log(f'IoU of CAMs:\n{table}', logger=logger)
        images = (f'the {curve["num_images"]} images of '
                  f'{curve["split"] or "the evaluated split"}')
        print_log(
            f'mIoU {curve["mIoU"]:.2f} is the best of '
            f'{len(self.thresholds)} thresholds: t={curve["threshold"]:.2f} '
            f'was tuned on the ground truth of {images}. At the fixed '
            f't={self.fixed_threshold:.2f} it is '
            f'{curve["mIoU_fixed"]:.2f}. Without any model: all background '
            f'{curve["mIoU_all_background"]:.2f}, every pixel its image\'s '
            f'first tag {curve["mIoU_tag_fill"]:.2f}.',
            logger=logger)
