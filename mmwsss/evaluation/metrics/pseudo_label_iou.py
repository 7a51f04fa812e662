"""Intersection over union of the labels a model makes for itself."""
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from mmwsss.registry import METRICS

from ..functional import curve_from_confusion, unmeasured, unmeasured_text
from .collecting import first_of_each


class _ImageLabels(NamedTuple):
    """What one image adds to the result."""
    img_id: str | None
    confusion: np.ndarray  # int64 (K + 1, K + 2), true label by pseudo label


@METRICS.register_module()
class PseudoLabelIoU(BaseMetric):
    """How right and how complete pseudo labels are.

    They may leave pixels open, so one number does not tell them:

    - ``pseudo_mIoU``: mean IoU in percent over the pixels they label, of the
      classes that labels or truth have there.
    - ``pseudo_coverage``: the share of pixels they label, in percent.

    Pixels whose true label is ``ignore_index`` count in neither.

    Args:
        ignore_index (int): Label of pixels that do not count in the truth
            and are left open in the pseudo labels. Defaults to 255.
        collect_device (str): See mmengine. Defaults to 'cpu'.
        prefix (str, optional): See mmengine. Defaults to None.
    """

    # No prefix; None would make mmengine warn.
    default_prefix = ''

    def __init__(self,
                 ignore_index: int = 255,
                 collect_device: str = 'cpu',
                 prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.ignore_index = ignore_index

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Add a batch.

        Args:
            data_batch (Any): Unused.
            data_samples (Sequence[dict]): With ``pseudo_sem_seg['data']``
                and ``gt_sem_seg['data']``, (1, h, w); ``img_id`` or
                ``img_path`` to tell images apart.

        Raises:
            KeyError: If a field is missing.
            ValueError: If sizes or labels do not fit.
        """
        num_labels = self._num_labels()
        for sample in data_samples:
            img_id = sample.get('img_id', sample.get('img_path'))
            if 'pseudo_sem_seg' not in sample:
                raise KeyError(
                    f'Image {img_id}: the prediction has no pseudo labels '
                    '(pseudo_sem_seg). mmwsss.EndToEndSegmentor makes them '
                    'for images with tags: use mmwsss.ImageLevelDataset and '
                    'keep model.test_cfg.pseudo_labels=True.')
            if 'gt_sem_seg' not in sample:
                raise KeyError(
                    f'Image {img_id}: there is no mask to score with; set '
                    'with_masks=True for the dataset and put '
                    "dict(type='mmwsss.LoadMask') into its pipeline.")
            pseudo, gt = (
                torch.as_tensor(sample[key]['data']).cpu().numpy().squeeze(0)
                for key in ('pseudo_sem_seg', 'gt_sem_seg'))
            if pseudo.shape != gt.shape:
                raise ValueError(
                    f'Image {img_id}: the pseudo labels are {pseudo.shape}, '
                    f'the mask {gt.shape} (height, width).')
            counted = gt != self.ignore_index
            pseudo, gt = pseudo[counted].astype(int), gt[counted].astype(int)
            open_pixels = pseudo == self.ignore_index
            for name, labels in (('mask', gt),
                                 ('pseudo labels', pseudo[~open_pixels])):
                if labels.size and not (labels.min() >= 0
                                        and labels.max() < num_labels):
                    raise ValueError(
                        f'Image {img_id}: the {name} hold labels '
                        f'{labels.min()}..{labels.max()}, not all in '
                        f'0..{num_labels - 1}.')
            pseudo[open_pixels] = num_labels
            index = gt * (num_labels + 1) + pseudo
            confusion = np.bincount(
                index, minlength=num_labels * (num_labels + 1))
            self.results.append(
                _ImageLabels(img_id,
                             confusion.reshape(num_labels, num_labels + 1)))

    def compute_metrics(self,
                        results: list[_ImageLabels]) -> dict[str, float]:
        """Sum up all images.

        Args:
            results (list): Of :meth:`process`, of all processes.

        Returns:
            dict[str, float]: See the class; ``pseudo_mIoU`` is NaN if the
            pseudo labels leave all pixels open.

        Raises:
            ValueError: If no pixel has a true label, or the masks show no
                class.
        """
        # Collecting turns named tuples into plain ones.
        results = first_of_each([_ImageLabels(*x) for x in results])
        total = np.sum([image.confusion for image in results], axis=0)
        if not total.any():
            raise ValueError(
                f'All pixels of all {len(results)} masks are '
                f'{self.ignore_index} (ignored); nothing can be scored.')
        pixels = total.sum(axis=1)
        lacking = unmeasured(pixels, np.zeros_like(pixels))
        if lacking:
            raise ValueError(
                unmeasured_text(
                    self.dataset_meta['classes'], pixels,
                    np.zeros_like(pixels), lacking, len(results)))
        labelled = total[:, :-1]
        metrics = dict(
            pseudo_mIoU=float(curve_from_confusion(labelled).miou[0]),
            pseudo_coverage=float(100 * labelled.sum() / total.sum()))
        print_log(
            f'Pseudo labels of {len(results)} images: mIoU '
            f'{metrics["pseudo_mIoU"]:.2f} on the '
            f'{metrics["pseudo_coverage"]:.2f} % of pixels that they label.',
            logger='current')
        return metrics

    def _num_labels(self) -> int:
        """Background and the K classes."""
        names = (self.dataset_meta or {}).get('classes')
        if not names:
            raise ValueError('PseudoLabelIoU does not know the classes: the '
                             "dataset has no metainfo['classes'].")
        return len(names)
