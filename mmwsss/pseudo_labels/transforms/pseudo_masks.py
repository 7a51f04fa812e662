"""From CAMs to masks that a segmentation model can train on."""
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from scipy.special import softmax

from mmwsss.pseudo_labels.dense_crf import unary_from_labels
from mmwsss.pseudo_labels.label_completion import LabelCompletion
from mmwsss.pseudo_labels.mask_file import IGNORE, class_lut
from mmwsss.registry import TRANSFORMS

from .crf import CRFTransform, add_background, require, rgb_image


def add_threshold(cams: np.ndarray, threshold: float) -> np.ndarray:
    """A constant background score before the CAMs.

    Args:
        cams (ndarray): float32 (k, H, W); k may be 0.
        threshold (float): The background's score.

    Returns:
        ndarray: float32 (k + 1, H, W).
    """
    background = np.full((1, *cams.shape[1:]), threshold, np.float32)
    return np.concatenate((background, cams))


def confident_label(strict: np.ndarray, loose: np.ndarray) -> np.ndarray:
    """IRN's confident labels from two masks (IRN, section 4.2).

    Foreground where the strict mask says so, background where both do,
    ignored elsewhere.

    Args:
        strict (ndarray): uint8 (H, W), made with a high threshold.
        loose (ndarray): uint8 (H, W), made with a low threshold.

    Returns:
        ndarray: uint8 (H, W), 255 is ignored.
    """
    unsure = np.where(loose == 0, 0, IGNORE)
    return np.where(strict > 0, strict, unsure).astype(np.uint8)


def _check_threshold(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f'{name} is {value}, must lie in [0, 1].')


@TRANSFORMS.register_module()
class ThresholdMask(BaseTransform):
    """The class with the highest map, background where it is too low.

    Adds ``pseudo_mask`` uint8 (H, W): argmax over [threshold, maps]. With a
    second, lower threshold only sure pixels are labelled: a class above the
    upper one, background where every map is at most the lower one, 255
    between them.

    Args:
        threshold (float): Score of the background, in [0, 1].
        low (float, optional): Highest score of sure background, at most
            ``threshold``. None labels every pixel. Defaults to None.

    Raises:
        ValueError: If a threshold is not in [0, 1], or ``low`` above
            ``threshold``.
    """

    def __init__(self, threshold: float, low: float | None = None) -> None:
        _check_threshold('threshold', threshold)
        if low is not None:
            _check_threshold('low', low)
            if low > threshold:
                raise ValueError(f'low is {low}, above threshold '
                                 f'({threshold}).')
        self.threshold = threshold
        self.low = low

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Decide one image.

        Args:
            results (dict): With ``cams`` and ``class_ids``.

        Returns:
            dict: With ``pseudo_mask``.
        """
        require(results, cams='LoadCAMs')
        cams = results['cams']
        best = add_threshold(cams, self.threshold).argmax(axis=0)
        mask = class_lut(results['class_ids'])[best]
        if self.low is not None and len(cams):
            mask[(mask == 0) & (cams.max(axis=0) > self.low)] = IGNORE
        results['pseudo_mask'] = mask
        return results

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(threshold={self.threshold}, '
                f'low={self.low})')


@TRANSFORMS.register_module()
class CRFMask(CRFTransform):
    """The most probable class after a dense CRF.

    Adds ``pseudo_mask`` uint8 (H, W). The background is either a constant
    (``threshold``; with ``softmax``, as VWL does it) or (1 - max)^``alpha``
    (PSA, SEAM, EPS).

    Args:
        threshold (float, optional): Constant background score.
        alpha (float, optional): Exponent of the background.
        softmax (bool): Whether the unaries come from the softmax of the
            scores instead of the scores. Defaults to False.
        crf (dict, optional): Settings of the dense CRF.

    Raises:
        ValueError: Unless exactly one of threshold and alpha is given.
    """

    def __init__(self,
                 threshold: float | None = None,
                 alpha: float | None = None,
                 softmax: bool = False,
                 crf: dict | None = None) -> None:
        super().__init__(crf)
        if (threshold is None) == (alpha is None):
            raise ValueError('CRFMask needs either threshold or alpha.')
        if threshold is not None:
            _check_threshold('threshold', threshold)
        elif alpha <= 0:
            raise ValueError(f'alpha is {alpha}, must be above 0.')
        self.threshold = threshold
        self.alpha = alpha
        self.softmax = softmax

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Decide one image.

        Args:
            results (dict): With ``img``, ``cams`` and ``class_ids``.

        Returns:
            dict: With ``pseudo_mask``.
        """
        image = rgb_image(results)
        if self.alpha is None:
            probs = add_threshold(results['cams'], self.threshold)
        else:
            probs = add_background(results['cams'], self.alpha)
        if self.softmax:
            probs = softmax(probs, axis=0)
        best = self.refine(image, [probs])[0].argmax(axis=0)
        results['pseudo_mask'] = class_lut(results['class_ids'])[best]
        return results


@TRANSFORMS.register_module()
class ScoreMask(BaseTransform):
    """The most probable class of CRF scores that are there already.

    Adds ``pseudo_mask`` uint8 (H, W) without another CRF.

    Args:
        alpha (float): Exponent of the scores, one of
            :class:`~mmwsss.pseudo_labels.transforms.CRFScores`.
    """

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Decide one image.

        Args:
            results (dict): With ``crf_scores`` and ``class_ids``.

        Returns:
            dict: With ``pseudo_mask``.

        Raises:
            KeyError: If there are no scores of this exponent.
        """
        require(results, crf_scores='CRFScores')
        scores = results['crf_scores']
        if self.alpha not in scores:
            raise KeyError(
                f'Image {results.get("img_id", "?")} has no scores of alpha '
                f'{self.alpha}, only of {list(scores)}; add it to the alphas '
                'of CRFScores.')
        best = scores[self.alpha].argmax(axis=0)
        results['pseudo_mask'] = class_lut(results['class_ids'])[best]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(alpha={self.alpha})'


@TRANSFORMS.register_module()
class IRNLabel(CRFTransform):
    """Confident labels for IRNet, unsure pixels ignored.

    Two masks, with a high and a low constant background, are refined as label
    maps by a dense CRF and joined by :func:`confident_label` (IRN,
    section 4.2; the settings are those of the published code).

    Adds ``pseudo_mask`` uint8 (H, W) with 255 where unsure.

    Args:
        fg_threshold (float): Background of the strict mask.
            Defaults to 0.30.
        bg_threshold (float): Background of the loose mask.
            Defaults to 0.05.
        gt_prob (float): How much the CRF trusts the label maps.
            Defaults to 0.7.
        crf (dict, optional): Changes of the CRF's settings, which are
            Gaussian 3 / 3, bilateral 50 / 5 / 10, 10 iterations.
    """
    CRF = dict(
        gaussian_sxy=3,
        gaussian_compat=3,
        bilateral_sxy=50,
        bilateral_srgb=5,
        bilateral_compat=10,
        num_iters=10)

    def __init__(self,
                 fg_threshold: float = 0.30,
                 bg_threshold: float = 0.05,
                 gt_prob: float = 0.7,
                 crf: dict | None = None) -> None:
        super().__init__({**self.CRF, **(crf or {})})
        _check_threshold('fg_threshold', fg_threshold)
        _check_threshold('bg_threshold', bg_threshold)
        if bg_threshold > fg_threshold:
            raise ValueError(
                f'bg_threshold ({bg_threshold}) must not be above '
                f'fg_threshold ({fg_threshold}).')
        if not 0 < gt_prob < 1:
            raise ValueError(f'gt_prob is {gt_prob}, must lie in (0, 1).')
        self.thresholds = (fg_threshold, bg_threshold)
        self.gt_prob = gt_prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Decide one image.

        Args:
            results (dict): With ``img``, ``cams`` and ``class_ids``.

        Returns:
            dict: With ``pseudo_mask``.
        """
        image, cams = rgb_image(results), results['cams']
        if len(cams) == 0:
            results['pseudo_mask'] = np.zeros(cams.shape[1:], np.uint8)
            return results
        maps = [add_threshold(cams, t).argmax(axis=0) for t in self.thresholds]
        scores = self.crf(image, [
            unary_from_labels(m, len(cams) + 1, self.gt_prob) for m in maps
        ])
        # Positions among the image's own planes, 0 is background.
        strict, loose = (s.argmax(axis=0) for s in scores)
        lut = class_lut(results['class_ids'])
        results['pseudo_mask'] = confident_label(lut[strict], lut[loose])
        return results


@TRANSFORMS.register_module()
class CompleteLabels(BaseTransform):
    """GETAM's activation-aware label completion, for maps of any model.

    Adds ``pseudo_mask`` uint8 (H, W) with 255 where unsure. With a saliency
    map (:class:`LoadSaliency`) it decides what is background; without, two
    thresholds do. The maps are divided by (their maximum + 1e-5) first,
    which PAMR lowers; put :class:`PAMRCams` before.

    Args:
        **completion: Settings of
            :class:`mmwsss.pseudo_labels.LabelCompletion`.
    """

    def __init__(self, **completion: Any) -> None:
        self.completion = LabelCompletion(**completion)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Decide one image.

        Args:
            results (dict): With ``cams`` (k, H, W), ``class_ids`` and maybe
                ``gt_saliency`` (H, W).

        Returns:
            dict: With ``pseudo_mask``.

        Raises:
            ValueError: If maps and saliency map differ in size.
        """
        require(results, cams='LoadCAMs')
        cams, saliency = results['cams'], results.get('gt_saliency')
        if saliency is not None:
            if saliency.shape != cams.shape[1:]:
                raise ValueError(
                    f'Image {results.get("img_id", "?")}: the saliency map is '
                    f'{saliency.shape} (height, width), the CAMs are '
                    f'{cams.shape[1:]}. Use LoadCAMs with upsample=True, and '
                    'resize nothing before.')
            saliency = torch.from_numpy(np.ascontiguousarray(saliency))[None]
        highest = cams.max(axis=(1, 2), initial=0, keepdims=True)
        labels, _ = self.completion(
            torch.from_numpy(cams / (highest + np.float32(1e-5)))[None],
            torch.from_numpy(results['class_ids'])[None], saliency)
        results['pseudo_mask'] = labels[0].numpy().astype(np.uint8)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.completion.extra_repr()})'
