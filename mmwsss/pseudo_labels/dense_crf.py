"""Dense CRF: CAMs sharpened at the edges of the image.

Fully connected CRF with Gaussian edge potentials (Kraehenbuehl and Koltun,
"Efficient Inference in Fully Connected CRFs with Gaussian Edge Potentials",
NIPS 2011). Each pixel's labels are drawn towards those of near pixels, and of
pixels that are less near but alike in colour.

All unaries of one image share its lattices, and only the labels given are
inferred. Pass the background and the present classes: time grows with labels.
"""
import functools
import importlib
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor, nn

from mmwsss.registry import MODELS

from .permutohedral import PermutohedralCRF

BACKENDS = ('auto', 'pydensecrf', 'torch')
# Beyond the largest energy by this much, a label's probability is exp(-1000):
# zero in float32 whatever the messages are.
PROHIBITIVE = 1e3


def unary_from_probs(probs: np.ndarray, clip: float = 1e-5) -> np.ndarray:
    """Energies of a distribution: -log of it.

    Args:
        probs (np.ndarray): (L, H, W) in [0, 1]. Need not sum to one: only
            differences between the labels of a pixel count.
        clip (float): Smaller probabilities count as this. Defaults to 1e-5.

    Returns:
        np.ndarray: float32 (L, H, W).
    """
    return -np.log(np.clip(probs, clip, 1)).astype(np.float32)


def unary_from_labels(label: np.ndarray, num_labels: int,
                      gt_prob: float) -> np.ndarray:
    """Energies of a label map that is right with some probability.

    The other labels share the rest equally. There is no label for 'unsure'
    (IRN's use, section 3.2 of its card: ``zero_unsure=False``).

    Args:
        label (np.ndarray): (H, W) integers in 0..num_labels-1.
        num_labels (int): Number of labels L.
        gt_prob (float): Probability of the label shown, in (0, 1).

    Returns:
        np.ndarray: float32 (L, H, W).

    Raises:
        ValueError: If a label or ``gt_prob`` is out of range.
    """
    if not 0 < gt_prob < 1:
        raise ValueError(f'gt_prob is {gt_prob}, not between 0 and 1.')
    label = np.asarray(label)
    if label.size and not 0 <= label.min() <= label.max() < num_labels:
        raise ValueError(
            f'The label map holds {label.min()}..{label.max()}, not only '
            f'0..{num_labels - 1}. Replace ignored pixels first.')
    others = (1 - gt_prob) / max(num_labels - 1, 1)
    shown = label[None] == np.arange(num_labels)[:, None, None]
    return np.where(shown, -np.log(gt_prob),
                    -np.log(others)).astype(np.float32)


@functools.cache
def _warn_once(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)


def choose_backend(backend: str) -> str:
    """Resolve ``'auto'`` and check that the backend can be used.

    Args:
        backend (str): ``'auto'``, ``'pydensecrf'`` or ``'torch'``.

    Returns:
        str: ``'pydensecrf'`` or ``'torch'``; ``'auto'`` is the former where
        it is installed, and otherwise warns once.

    Raises:
        ValueError: If the name is unknown.
        ImportError: If ``'pydensecrf'`` is asked for and not installed.
    """
    if backend not in BACKENDS:
        raise ValueError(f'backend is {backend!r}, not one of {BACKENDS}.')
    if backend == 'torch':
        return backend
    try:
        importlib.import_module('pydensecrf.densecrf')
    except ImportError as error:
        if backend == 'pydensecrf':
            raise ImportError(
                'DenseCRF(backend=\'pydensecrf\') needs pydensecrf: `pip '
                'install pydensecrf2`, or use backend=\'torch\'.') from error
        _warn_once(
            'pydensecrf is not installed (`pip install pydensecrf2`): the '
            'dense CRF runs on torch instead; backend=\'torch\' silences '
            'this.')
        return 'torch'
    return 'pydensecrf'


def _checked(image: np.ndarray,
             unaries: Sequence[np.ndarray]) -> tuple[np.ndarray, list]:
    """Both as contiguous arrays of the right type, or ValueError."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError('The CRF needs an image uint8 (H, W, 3), not '
                         f'{image.dtype} {image.shape}.')
    if not image.size:
        raise ValueError(f'The image is empty: {image.shape}.')
    checked = []
    for unary in unaries:
        unary = np.ascontiguousarray(unary, np.float32)
        if unary.ndim != 3 or unary.shape[1:] != image.shape[:2] or \
                not len(unary):
            raise ValueError(
                f'Unary energies of shape {unary.shape} do not fit the image, '
                f'which is {image.shape[0]} x {image.shape[1]}: they must be '
                '(labels, H, W) with one label at least.')
        if not np.isfinite(unary).all():
            raise ValueError('Unary energies hold NaN or infinity. Clip '
                             'probabilities: unary_from_probs does.')
        checked.append(unary)
    return np.ascontiguousarray(image), checked


@MODELS.register_module()
class DenseCRFRefiner(nn.Module):
    """A dense CRF after the probabilities of a :class:`RefinedSegmentor`.

    Args:
        **crf: Arguments of :class:`DenseCRF`.
    """

    def __init__(self, **crf: Any) -> None:
        super().__init__()
        self.crf = DenseCRF(**crf)

    def forward(self, image: Tensor, probs: Tensor) -> Tensor:
        """Infer the labels of all pixels.

        Args:
            image (Tensor): (N, 3, H, W), RGB, grey levels.
            probs (Tensor): (N, L, h, w), resized to the images (bilinear).

        Returns:
            Tensor: float32 (N, L, H, W).
        """
        size = image.shape[2:]
        if probs.shape[2:] != size:
            probs = F.interpolate(probs.float(), size, mode='bilinear')
        pictures = image.round().clamp(0, 255).byte().permute(0, 2, 3, 1)
        return torch.stack([
            torch.from_numpy(
                self.crf(
                    np.ascontiguousarray(picture),
                    unary_from_probs(one))).to(probs)
            for picture, one in zip(pictures.cpu().numpy(),
                                    probs.float().cpu().numpy())
        ])


@MODELS.register_module()
class DenseCRF:
    """Mean-field inference of a dense CRF.

    Called with an image, uint8 (H, W, 3), and energies, (L, H, W) or a
    sequence of such arrays, which may differ in L; returns the distribution
    over labels in the same structure, float32. The order of the colour
    channels does not matter.

    Args:
        num_iters (int): Mean-field steps. Defaults to 10.
        gaussian_sxy (float): Standard deviation in pixels of the smoothness
            kernel. Defaults to 3.
        gaussian_compat (float): Its Potts weight. Defaults to 3.
        bilateral_sxy (float): Standard deviation in pixels of the appearance
            kernel. Defaults to 80.
        bilateral_srgb (float): Its standard deviation in grey levels.
            Defaults to 13.
        bilateral_compat (float): Its Potts weight. Defaults to 10. (The
            defaults are those PSA, SEAM and ACR use for CAMs.)
        backend (str): ``'pydensecrf'``, ``'torch'``, or ``'auto'``, the first
            that is installed. Both compute the same (on photographs we found
            equal labels and probabilities within 0.003). Defaults to
            ``'auto'``.

    Raises:
        ValueError: If a parameter is out of range; when called, if image or
            energies have the wrong shape or type or are not finite.
        ImportError: If ``backend='pydensecrf'`` is not installed.
    """

    def __init__(self,
                 num_iters: int = 10,
                 gaussian_sxy: float = 3,
                 gaussian_compat: float = 3,
                 bilateral_sxy: float = 80,
                 bilateral_srgb: float = 13,
                 bilateral_compat: float = 10,
                 backend: str = 'auto') -> None:
        for name, sigma in (('gaussian_sxy', gaussian_sxy),
                            ('bilateral_sxy', bilateral_sxy),
                            ('bilateral_srgb', bilateral_srgb)):
            if sigma <= 0:
                raise ValueError(f'{name} is {sigma}, it must be positive.')
        if num_iters < 0:
            raise ValueError(f'num_iters is {num_iters}, not 0 or more.')
        self.num_iters = num_iters
        self.gaussian_sxy = gaussian_sxy
        self.gaussian_compat = gaussian_compat
        self.bilateral_sxy = bilateral_sxy
        self.bilateral_srgb = bilateral_srgb
        self.bilateral_compat = bilateral_compat
        self.backend = choose_backend(backend)

    def __call__(
        self, image: np.ndarray, unaries: np.ndarray | Sequence[np.ndarray]
    ) -> np.ndarray | list[np.ndarray]:
        """Infer the labels of all pixels.

        Args:
            image (np.ndarray): uint8 (H, W, 3).
            unaries (np.ndarray or Sequence[np.ndarray]): Energies (L, H, W),
                or several of them.

        Returns:
            np.ndarray or list[np.ndarray]: Distributions float32 (L, H, W).
        """
        single = isinstance(unaries, np.ndarray)
        image, checked = _checked(image, [unaries] if single else unaries)
        infer = self._torch if self.backend == 'torch' else self._pydensecrf
        out = infer(image, checked) if checked else []
        return out[0] if single else out

    def _pydensecrf(self, image: np.ndarray,
                    unaries: list[np.ndarray]) -> list[np.ndarray]:
        """One CRF object for all; it has a fixed number of labels."""
        from pydensecrf.densecrf import DenseCRF2D
        height, width = image.shape[:2]
        num_labels = max(map(len, unaries))
        crf = DenseCRF2D(width, height, num_labels)
        crf.addPairwiseGaussian(
            sxy=self.gaussian_sxy, compat=self.gaussian_compat)
        crf.addPairwiseBilateral(
            sxy=self.bilateral_sxy,
            srgb=self.bilateral_srgb,
            rgbim=image,
            compat=self.bilateral_compat)
        out = []
        for unary in unaries:
            padded = np.full((num_labels, height * width),
                             unary.max() + PROHIBITIVE, np.float32)
            padded[:len(unary)] = unary.reshape(len(unary), -1)
            crf.setUnaryEnergy(padded)
            q = np.array(crf.inference(self.num_iters), np.float32)
            out.append(q[:len(unary)].reshape(unary.shape))
        return out

    def _torch(self, image: np.ndarray,
               unaries: list[np.ndarray]) -> list[np.ndarray]:
        """The same on our lattice."""
        crf = PermutohedralCRF(image, self.gaussian_sxy, self.gaussian_compat,
                               self.bilateral_sxy, self.bilateral_srgb,
                               self.bilateral_compat)
        return crf.infer(unaries, self.num_iters)
