"""Scores of CAMs for all background thresholds in one pass.

The protocol of the field (PSA, IRN, SEAM, ACR, ..) gives the background a
constant score t, takes the best of background and CAMs per pixel, and
repeats this for many t. A pixel's class is the one with the highest map
whatever t is, and it is foreground exactly for the thresholds below that
maximum. So one histogram over (label, best class, number of thresholds below
the maximum) holds the confusions of all thresholds.
"""
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# The CAMs' floats are cut into cells by their leading bits; finer
# than this, the table of cells would not fit the processor's cache.
MIN_SHIFT = 12


class ScoreBins:
    """Counts, for scores, how many thresholds lie below them.

    It gives exactly ``np.searchsorted(thresholds, score, side='left')`` for
    float32. Non-negative floats order like their bits read as integers, so
    the leading bits index a table that already knows the answer up to the one
    threshold that may lie inside the cell. That is several times faster than
    a binary search per pixel.

    Args:
        thresholds (Sequence[float]): Increasing, in [0, 1]. Compared as
            float32, the type of the CAMs.

    Raises:
        ValueError: If there are none, they do not increase or leave [0, 1].
    """

    def __init__(self, thresholds: Sequence[float]) -> None:
        values = np.asarray(thresholds, dtype=np.float32)
        if values.ndim != 1 or len(values) == 0:
            raise ValueError('thresholds must be a list of at least one '
                             f'number, got {thresholds!r}.')
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError('thresholds must lie in [0, 1], got '
                             f'{values.min()}..{values.max()}.')
        if not (np.diff(values) > 0).all():
            raise ValueError('thresholds must increase (as float32), got '
                             f'{values.tolist()}.')
        self.values = torch.from_numpy(values)
        self.shift: int | None = None
        for shift in range(16, MIN_SHIFT - 1, -1):
            # Cells that cover the floats of [0, 2).
            edges = np.arange((0x40000000 >> shift) + 1, dtype=np.int64)
            floats = (edges << shift).astype(np.int32).view(np.float32)
            below = np.searchsorted(values, floats, side='left')
            if np.diff(below).max() <= 1:
                self.shift = shift
                following = np.append(values, np.float32(np.inf))[below[:-1]]
                self.below = torch.from_numpy(below[:-1])
                self.following = torch.from_numpy(following)
                break

    def __len__(self) -> int:
        """Number of thresholds."""
        return len(self.values)

    def __call__(self, score: Tensor) -> Tensor:
        """Bin scores.

        Args:
            score (Tensor): float32 (n,) in [0, 2), without negative zeros.

        Returns:
            Tensor: int64 (n,), number of thresholds < score.
        """
        if self.shift is None:
            return torch.bucketize(score, self.values.to(score.device))
        cell = score.view(torch.int32) >> self.shift
        bins = self.below.to(score.device).index_select(0, cell)
        bins += score > self.following.to(score.device).index_select(0, cell)
        return bins


def best_class(cams: Tensor) -> tuple[Tensor, Tensor]:
    """The highest CAM per pixel.

    Args:
        cams (Tensor): float32 (K', h, w) with values in [0, 1].

    Returns:
        tuple[Tensor, Tensor]: The maximum, float32 (h*w,), and the position
        0..K'-1 of the first map that has it, int64 (h*w,). Without any map
        both are zero: background at all thresholds.

    Raises:
        ValueError: If values are not in [0, 1].
    """
    maps = cams.detach().float().flatten(1)
    if len(maps) == 0:
        return (maps.new_zeros(maps.shape[1]),
                torch.zeros(
                    maps.shape[1], dtype=torch.int64, device=maps.device))
    if len(maps) == 1:
        score = maps[0]
        best = torch.zeros_like(score, dtype=torch.int64)
    else:
        score, best = maps.max(dim=0)
    if score.numel():
        # Both are NaN if a value is. The lowest of all maps need not be
        # looked at: what is below the maximum decides nothing.
        low, high = (float(x) for x in torch.aminmax(score))
        if not (low >= 0 and high <= 1 + 1e-4):
            raise ValueError(
                f'CAMs have maxima {low:.4g}..{high:.4g}, but must lie '
                'in [0, 1]; keep model.test_cfg.normalize at minmax, max or '
                'shifted and check the model for NaN')
    return score.abs(), best  # abs: -0.0 has the bits of a negative number


def score_histogram(
        score: Tensor,
        best: Tensor,
        class_ids: Tensor,
        gt: Tensor,
        bins: ScoreBins,
        num_classes: int,
        ignore_index: int = 255) -> tuple[np.ndarray, np.ndarray]:
    """Sparse histogram of one image.

    Args:
        score (Tensor): float32 (n,), see :func:`best_class`.
        best (Tensor): int64 (n,), positions in ``class_ids``.
        class_ids (Tensor): int64 (K',), classes 0..K-1 of the maps.
        gt (Tensor): Integers (n,): 0 background, c + 1 class c.
        bins (ScoreBins): For T thresholds.
        num_classes (int): K, background not counted.
        ignore_index (int): Label of pixels that do not count.
            Defaults to 255.

    Returns:
        tuple[ndarray, ndarray]: Indices, int32, into a flattened histogram
        (K + 1, K, T + 1) over (label, best class, bin), and counts, int32.

    Raises:
        ValueError: If there are labels other than 0..K and ``ignore_index``.
    """
    device = score.device
    length = len(bins) + 1
    # The maps of one image are few: number those, not all K classes.
    per_label = max(len(class_ids), 1) * length
    gt = gt.to(device=device, dtype=torch.int64)
    lowest, highest = (int(x) for x in torch.aminmax(gt)) if len(gt) else (0,
                                                                          0)
    if lowest < 0 or highest > 255:
        raise ValueError(f'the mask has labels {lowest}..{highest}')
    # Two rows more: ignored pixels and labels that may not be.
    rows = torch.full((256, ), num_classes + 2, device=device)
    rows[:num_classes + 1] = torch.arange(num_classes + 1, device=device)
    rows[ignore_index] = num_classes + 1
    key = (rows * per_label).index_select(0, gt)
    if len(class_ids):
        if len(class_ids) > 1:
            key += best * length
        key += bins(score)
    counts = torch.bincount(key, minlength=(num_classes + 3) * per_label)
    if counts[(num_classes + 2) * per_label:].any():
        wrong = torch.unique(gt[key >= (num_classes + 2) * per_label])
        raise ValueError(
            f'the mask has labels {wrong.tolist()}, allowed are 0 '
            f'(background), 1..{num_classes} (classes) and {ignore_index} '
            '(ignored)')
    counts = counts[:(num_classes + 1) * per_label]
    filled = counts.nonzero()[:, 0]
    counts = counts[filled].cpu().numpy().astype(np.int32)
    filled = filled.cpu().numpy()
    ids = class_ids.cpu().numpy() if len(class_ids) else np.zeros(1, np.int64)
    label, rest = np.divmod(filled, per_label)
    position, step = np.divmod(rest, length)
    index = (label * num_classes + ids[position]) * length + step
    return index.astype(np.int32), counts


@dataclass
class ThresholdCurve:
    """Pixel counts of all classes at all thresholds.

    Attributes:
        tp (ndarray): int64 (T, K + 1), right pixels; class 0 is background.
        fp (ndarray): int64 (T, K + 1), pixels wrongly given to the class.
        fn (ndarray): int64 (T, K + 1), pixels of the class given to others.
        absent (str): 'ignore' leaves a class out of the means where neither
            label nor prediction has it, 'unlabelled' where no label has it,
            'zero' counts it as IoU 0.
    """
    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray
    absent: str = 'ignore'

    def _share(self, counts: np.ndarray) -> np.ndarray:
        union = self.tp + self.fp + self.fn
        share = 100 * counts / np.maximum(union, 1)
        if self.absent != 'zero':
            share[union == 0] = np.nan
        return share

    def _mean(self, shares: np.ndarray, first: int = 0) -> np.ndarray:
        """Mean of the classes from ``first`` on."""
        if self.absent == 'unlabelled':
            shares = np.where(self.tp + self.fn > 0, shares, np.nan)
        return mean_of(shares[:, first:])

    @property
    def iou(self) -> np.ndarray:
        """float64 (T, K + 1), percent; NaN marks classes left out."""
        return self._share(self.tp)

    @property
    def miou(self) -> np.ndarray:
        """float64 (T,), percent, the mean over background and classes."""
        return self._mean(self.iou)

    @property
    def mfp(self) -> np.ndarray:
        """float64 (T,), percent: over-activation.

        FP / (TP + FP + FN), averaged over the classes without background.
        With :attr:`mfn` and the classes' mean IoU it adds up to 100.
        """
        return self._mean(self._share(self.fp), first=1)

    @property
    def mfn(self) -> np.ndarray:
        """float64 (T,), percent: under-activation, FN / (TP + FP + FN)."""
        return self._mean(self._share(self.fn), first=1)


def mean_of(shares: np.ndarray) -> np.ndarray:
    """Mean over the last axis without NaN.

    Args:
        shares (ndarray): float64 (..., n).

    Returns:
        ndarray: float64 (...,), NaN where all are NaN.
    """
    known = ~np.isnan(shares)
    total = np.where(known, shares, 0).sum(axis=-1)
    count = known.sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def curve_from_histogram(histogram: np.ndarray,
                         absent: str = 'ignore') -> ThresholdCurve:
    """Counts at every threshold from the summed histogram of all images.

    Args:
        histogram (ndarray): int64 (K + 1, K, T + 1), see
            :func:`score_histogram`.
        absent (str): See :class:`ThresholdCurve`.

    Returns:
        ThresholdCurve: For T thresholds.
    """
    histogram = histogram.astype(np.int64, copy=False)
    num_classes = histogram.shape[1]
    # (K + 1, K, T): pixels with more than i thresholds below their score,
    # those that are foreground at the i-th.
    above = histogram[..., ::-1].cumsum(axis=-1)[..., ::-1][..., 1:]
    classes = np.arange(num_classes)
    labels = histogram.sum(axis=(1, 2))
    steps = above.shape[-1]
    tp = np.empty((steps, num_classes + 1), dtype=np.int64)
    predicted = np.empty_like(tp)
    tp[:, 1:] = above[classes + 1, classes].T
    predicted[:, 1:] = above.sum(axis=0).T
    tp[:, 0] = labels[0] - above[0].sum(axis=0)
    predicted[:, 0] = labels.sum() - predicted[:, 1:].sum(axis=1)
    return ThresholdCurve(tp, predicted - tp, labels - tp, absent)


def curve_from_confusion(confusion: np.ndarray,
                         absent: str = 'ignore') -> ThresholdCurve:
    """The same for one prediction without threshold.

    Args:
        confusion (ndarray): int64 (K + 1, K + 1), label by prediction.
        absent (str): See :class:`ThresholdCurve`.

    Returns:
        ThresholdCurve: For T = 1.
    """
    confusion = np.asarray(confusion, dtype=np.int64)
    tp = np.diag(confusion)[None]
    return ThresholdCurve(tp, confusion.sum(axis=0)[None] - tp,
                          confusion.sum(axis=1)[None] - tp, absent)


def unmeasured(pixels: np.ndarray, tagged: np.ndarray) -> list[int]:
    """Classes whose masks are missing although they should be there.

    Args:
        pixels (ndarray): int64 (K + 1,), true pixels of background and
            classes in all masks.
        tagged (ndarray): int64 (K + 1,), images tagged with each; zeros
            where nobody says.

    Returns:
        list[int]: Labels 1..K: all if no mask shows any class, else those
        tagged in more images than chance explains (3 or more).
    """
    if not pixels[1:].any():
        return list(range(1, len(pixels)))
    return np.flatnonzero((pixels == 0) & (tagged > 2)).tolist()


def unmeasured_text(names: Sequence[str], pixels: np.ndarray,
                    tagged: np.ndarray, lacking: Sequence[int],
                    num_images: int) -> str:
    """Say what masks lack, and what they hold instead.

    Args:
        names (Sequence[str]): K + 1 names, background first.
        pixels (ndarray): See :func:`unmeasured`.
        tagged (ndarray): Likewise.
        lacking (Sequence[int]): Its result.
        num_images (int): Number of masks.

    Returns:
        str: Some sentences.
    """
    which = ', '.join(
        f'{names[i]!r} (value {i}' +
        (f', {tagged[i]} tagged image(s))' if tagged[i] else ')')
        for i in lacking[:5])
    more = f' and {len(lacking) - 5} more' if len(lacking) > 5 else ''
    return (
        f'None of the {num_images} true masks shows {which}{more}, so there '
        'is nothing to average. Apart from 255 (not measured) they hold the '
        f'values {np.flatnonzero(pixels).tolist()}. If another value, such as '
        f'255, stands for a class, name it: mask_values=[\'255={names[-1]}\'] '
        'of the dataset, --mask-values of '
        'tools/dataset_converters/custom.py and tools/evaluate_masks.py.')
