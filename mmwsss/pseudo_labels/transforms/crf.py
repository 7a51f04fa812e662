"""CAMs made to follow the edges of the image."""
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from mmwsss.pseudo_labels.dense_crf import DenseCRF, unary_from_probs
from mmwsss.pseudo_labels.pamr import PAMR
from mmwsss.registry import TRANSFORMS

#: Below this a probability is not distinguished from zero.
CLIP = 1e-5


def add_background(cams: np.ndarray, alpha: float) -> np.ndarray:
    """Background score (1 - max)^alpha before the CAMs (PSA, eq. 2).

    Args:
        cams (ndarray): float32 (k, H, W) in [0, 1]; k may be 0.
        alpha (float): A high exponent leaves little to the background.

    Returns:
        ndarray: float32 (k + 1, H, W); all ones without any class.
    """
    highest = cams.max(axis=0, initial=0, keepdims=True)
    return np.concatenate(((1 - highest)**np.float32(alpha), cams))


def require(results: dict[str, Any], **makers: str) -> None:
    """Make sure that earlier steps have run.

    Args:
        results (dict): The sample.
        **makers (str): Key that is needed, and the transform that adds it.

    Raises:
        KeyError: If a key is missing, naming the image and the transform.
    """
    for key, name in makers.items():
        if key not in results:
            raise KeyError(
                f'Image {results.get("img_id", "?")}: {key!r} is missing; put '
                f"dict(type='mmwsss.{name}') before this transform.")


def rgb_image(results: dict[str, Any]) -> np.ndarray:
    """The image as a dense CRF reads it.

    Args:
        results (dict): With ``img`` (H, W, 3), BGR 0..255, and ``cams``.

    Returns:
        ndarray: uint8 (H, W, 3), RGB, contiguous.

    Raises:
        KeyError: If no image or no CAMs were loaded.
        ValueError: If the image has another size than the maps.
    """
    img_id = results.get('img_id', '?')
    require(results, img='LoadImage', cams='LoadCAMs')
    image, size = results['img'], results['cams'].shape[1:]
    if image.shape[:2] != size:
        raise ValueError(
            f'Image {img_id} is {image.shape[:2]} (height, width) but its '
            f'CAMs are {size}. Use LoadCAMs with upsample=True, and '
            'resize nothing before.')
    if image.dtype != np.uint8:
        image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(image[..., ::-1])


class CRFTransform(BaseTransform):
    """Base of transforms that run a dense CRF.

    Args:
        crf (dict, optional): Settings of
            :class:`mmwsss.pseudo_labels.dense_crf.DenseCRF`.
    """

    def __init__(self, crf: dict | None = None) -> None:
        self.crf = DenseCRF(**(crf or {}))

    def refine(self, image: np.ndarray,
               probs: Sequence[np.ndarray]) -> list:
        """Refine several distributions of one image on one lattice.

        Args:
            image (ndarray): uint8 (H, W, 3), see :func:`rgb_image`.
            probs (Sequence[ndarray]): float32 (k + 1, H, W) each, all of one
                length; need not add up to 1.

        Returns:
            list[ndarray]: float32 (k + 1, H, W), the CRF's marginals.
        """
        if len(probs[0]) == 1:  # Nothing to decide.
            return [np.ones_like(p) for p in probs]
        return self.crf(image, [unary_from_probs(p, CLIP) for p in probs])

    def __repr__(self) -> str:
        return f'{type(self).__name__}(crf={self.crf!r})'


@TRANSFORMS.register_module()
class CRFScores(CRFTransform):
    """CRF marginals for several background exponents, for AffinityNet.

    For each alpha the background (1 - max)^alpha joins the CAMs, and a
    dense CRF with the unary -log refines them (PSA, section 3.2). The
    exponents share one lattice, since it depends on the image alone.

    Adds ``crf_scores``: a dict from alpha to float32 (k + 1, H, W),
    background first. An image without class is background for certain.

    Args:
        alphas (Sequence[float]): The exponents. Defaults to (4, 24).
        crf (dict, optional): Settings of the dense CRF. Defaults to those of
            PSA: Gaussian 3 / 3, bilateral 80 / 13 / 10, 10 iterations.
    """

    def __init__(self,
                 alphas: Sequence[float] = (4, 24),
                 crf: dict | None = None) -> None:
        super().__init__(crf)
        self.alphas = tuple(alphas)
        if not self.alphas or min(self.alphas) <= 0 or \
                len(set(self.alphas)) != len(self.alphas):
            raise ValueError('CRFScores needs different exponents above 0, '
                             f'got {self.alphas}.')

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Refine one image.

        Args:
            results (dict): With ``img`` and ``cams``.

        Returns:
            dict: With ``crf_scores``.
        """
        image = rgb_image(results)
        probs = [add_background(results['cams'], a) for a in self.alphas]
        scores = self.refine(image, probs)
        results['crf_scores'] = dict(zip(self.alphas, scores))
        return results


@TRANSFORMS.register_module()
class PAMRCams(BaseTransform):
    """Refine CAMs by pixel-adaptive convolutions.

    Replaces ``cams`` (k, H, W) by PAMR's result at the size of the image
    (Araslanov and Roth 2020, section 4.2), still in [0, 1]: that of
    ``kernel='par'`` is divided by what it multiplies levels with.

    Args:
        **pamr: Settings of :class:`mmwsss.pseudo_labels.pamr.PAMR`.
    """

    def __init__(self, **pamr: Any) -> None:
        self.pamr = PAMR(**pamr)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Refine one image.

        Args:
            results (dict): With ``img`` and ``cams``.

        Returns:
            dict: With new ``cams``.
        """
        image = rgb_image(results)
        if len(results['cams']):
            with torch.no_grad():
                refined = self.pamr(
                    torch.from_numpy(image).permute(2, 0, 1)[None].float(),
                    torch.from_numpy(results['cams'])[None])[0]
            refined /= self.pamr.gain
            results['cams'] = refined.clamp(0, 1).numpy()
        return results
