"""The energy of a dense CRF as a loss.

Pixels that are near and alike in colour shall have like probabilities
(Tang et al., "On Regularized Losses for Weakly-supervised CNN Segmentation",
ECCV 2018), gated as in RRM (Zhang et al., AAAI 2020): pixels without a label
count fully, the others by how unsure the network is about them. GETAM
(https://arxiv.org/abs/2112.02841) trains with it.
"""
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmwsss.pseudo_labels.permutohedral import PermutohedralLattice
from mmwsss.registry import MODELS

FILTERS = ('lattice', 'exact')


def _positions(image: Tensor) -> Tensor:
    """x and y of all pixels, (P, 2), row by row, of the image's type."""
    height, width = image.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, device=image.device, dtype=image.dtype),
        torch.arange(width, device=image.device, dtype=image.dtype),
        indexing='ij')
    return torch.stack((x.flatten(), y.flatten()), dim=1)


def lattice_filter(values: Tensor, image: Tensor, sigma_rgb: float,
                   sigma_xy: float) -> Tensor:
    """Bilateral filter of one image, or of several, by the lattice.

    Args:
        values (Tensor): float32 (K, H, W) or (N, K, H, W).
        image (Tensor): float32 (3, H, W) or (N, 3, H, W), 0..255.
        sigma_rgb (float): Standard deviation in grey levels.
        sigma_xy (float): Standard deviation in pixels.

    Returns:
        Tensor: As ``values``, about half of :func:`exact_filter`'s.
    """
    if values.dim() == 3:
        return lattice_filter(values[None], image[None], sigma_rgb,
                              sigma_xy)[0]
    n, k = values.shape[:2]
    colours = image.flatten(2).mT.reshape(-1, 3)
    lattice = PermutohedralLattice(
        torch.cat((_positions(image).repeat(n, 1) / sigma_xy,
                   colours / sigma_rgb),
                  dim=1), n)
    filtered = lattice.filter(values.flatten(2).mT.reshape(-1, k))
    return filtered.view(n, -1, k).mT.reshape(values.shape)


def exact_filter(values: Tensor,
                 image: Tensor,
                 sigma_rgb: float,
                 sigma_xy: float,
                 max_entries: int = 2**22) -> Tensor:
    """Bilateral filter of one image, every pair of pixels.

    (W v)_i = sum_j exp(-|x_i - x_j|^2 / (2 sigma_xy^2)
    - |I_i - I_j|^2 / (2 sigma_rgb^2)) v_j, where j = i counts as well. Time
    grows with the square of the number of pixels, memory does not.

    Args:
        values (Tensor): float32 (K, H, W).
        image (Tensor): float32 (3, H, W), 0..255.
        sigma_rgb (float): Standard deviation in grey levels.
        sigma_xy (float): Standard deviation in pixels.
        max_entries (int): Entries of W in memory at once, at least one row;
            there are two such blocks. Defaults to 2^22 (16 MiB).

    Returns:
        Tensor: float32 (K, H, W).
    """
    columns = values.flatten(1).T
    # Unscaled: squares of whole numbers are exact in float32.
    spaces = [(points, points.square().sum(dim=1), -0.5 / sigma**2)
              for points, sigma in ((image.flatten(1).T, sigma_rgb),
                                    (_positions(image), sigma_xy))]
    filtered = torch.empty_like(columns)
    count = len(columns)
    step = max(max_entries // count, 1)
    for start in range(0, count, step):
        rows = slice(start, start + step)
        exponent = 0
        for points, squares, factor in spaces:
            distance = torch.addmm(
                squares[None], points[rows], points.T, alpha=-2)
            exponent += distance.add_(squares[rows, None]).mul_(factor)
        filtered[rows] = exponent.exp_() @ columns
    return filtered.T.reshape(values.shape)


class _Energy(torch.autograd.Function):
    """-sum g S (W S), differentiated as if W S and S were the same.

    The gate counts as constant, and the second S contributes as much as the
    first, which would be exact if the gate were the same everywhere.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, gate: Tensor,
                filtered: Tensor) -> Tensor:
        gated = gate * filtered
        ctx.save_for_backward(gated)
        return -(scores * gated).sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        gated, = ctx.saved_tensors
        return -2 * grad * gated, None, None


@MODELS.register_module()
class DenseEnergyLoss(nn.Module):
    """Gated dense CRF energy of the predicted probabilities.

    With S = probabilities inside the image, W the bilateral kernel and g the
    gate, 1 where the label is 255, else what the highest probability leaves
    to 1 (0 outside the image):

        L = -(loss_weight / N) sum_n sum_k sum_i g_i S_ki (W S_k)_i

    Its gradient is the published one, -(2 loss_weight / N) g (W S) inside
    the image; the kernel is evaluated once. It is computed in float32 on
    images of ``scale_factor`` of the size. A mean over images needs no
    further care on several processes.

    The published weight belongs to the permutohedral lattice, whose sums are
    smaller than the Gaussian's: see ``exact_factor``.

    Args:
        sigma_rgb (float): Standard deviation in grey levels. Defaults to 15.
        sigma_xy (float): Standard deviation in pixels of the full image.
            Defaults to 100.
        scale_factor (float): Share of the size. Defaults to 0.5.
        filter (str): ``'lattice'``, the permutohedral lattice, as published,
            or ``'exact'``, all pairs of pixels. Defaults to 'lattice'.
        exact_factor (float): What the exact sums are multiplied by, so that
            a weight means the same with either filter. Defaults to 0.57, what
            we found on photographs of 128 x 128 pixels (0.54 to 0.59).
        max_entries (int): See :func:`exact_filter`. Defaults to 2^22.
        loss_weight (float): Factor. Defaults to 1e-7.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(self,
                 sigma_rgb: float = 15,
                 sigma_xy: float = 100,
                 scale_factor: float = 0.5,
                 filter: str = 'lattice',
                 exact_factor: float = 0.57,
                 max_entries: int = 2**22,
                 loss_weight: float = 1e-7) -> None:
        super().__init__()
        if filter not in FILTERS:
            raise ValueError(f'filter is {filter!r}, not one of {FILTERS}.')
        for name, value in (('sigma_rgb', sigma_rgb), ('sigma_xy', sigma_xy),
                            ('scale_factor', scale_factor),
                            ('exact_factor', exact_factor),
                            ('max_entries', max_entries)):
            if value <= 0:
                raise ValueError(f'{name} is {value}, it must be positive.')
        self.sigma_rgb = sigma_rgb
        self.sigma_xy = sigma_xy
        self.scale_factor = scale_factor
        self.filter = filter
        self.exact_factor = exact_factor
        self.max_entries = max_entries
        self.loss_weight = loss_weight

    @torch.no_grad()
    def filtered(self, scores: Tensor, image: Tensor) -> Tensor:
        """W S of one image, or of several, at the reduced size.

        Args:
            scores (Tensor): float32 (K, h, w) or (N, K, h, w).
            image (Tensor): float32 (3, h, w) or (N, 3, h, w), 0..255.

        Returns:
            Tensor: float32, as ``scores``.
        """
        sigma_xy = self.sigma_xy * self.scale_factor
        # A CPU filters images faster one after the other.
        together = self.filter == 'lattice' and scores.device.type != 'cpu'
        if scores.dim() == 4 and not together:
            return torch.stack(
                [self.filtered(s, i) for s, i in zip(scores, image)])
        if self.filter == 'lattice':
            return lattice_filter(scores, image, self.sigma_rgb, sigma_xy)
        return self.exact_factor * exact_filter(
            scores, image, self.sigma_rgb, sigma_xy, self.max_entries)

    def forward(self,
                logits: Tensor,
                labels: Tensor,
                *,
                image: Tensor,
                valid: Tensor | None = None,
                saliency: Tensor | None = None) -> Tensor:
        """Compute the loss.

        Args:
            logits (Tensor): (N, C + 1, H, W).
            labels (Tensor): int64 (N, H, W), 255 = ignored.
            image (Tensor): (N, 3, H, W), RGB 0..255, uint8 or float.
            valid (Tensor, optional): Bool (N, H, W), where the input shows
                the image; None is everywhere.
            saliency (Tensor, optional): Not read.

        Returns:
            Tensor: Scalar.
        """
        with torch.autocast(logits.device.type, enabled=False):
            return self._loss(logits.float(), labels, image, valid)

    def _loss(self, logits: Tensor, labels: Tensor, image: Tensor,
              valid: Tensor | None) -> Tensor:
        if valid is None:
            valid = torch.ones_like(labels, dtype=torch.bool)

        def shrink(maps: Tensor, **mode: Any) -> Tensor:
            return F.interpolate(
                maps.float(), scale_factor=self.scale_factor, **mode)

        probs = shrink(
            logits.softmax(dim=1), mode='bilinear', align_corners=False)
        image = shrink(image)
        roi, labels = shrink(valid[:, None]), shrink(labels[:, None])
        scores = probs * roi
        with torch.no_grad():
            unsure = (roi - probs.amax(dim=1, keepdim=True)).clamp(min=0)
            gate = unsure.masked_fill(labels == 255, 1.)
            filtered = self.filtered(scores, image)
        energy = _Energy.apply(scores, gate, filtered)
        return self.loss_weight / len(logits) * energy
