"""SEAM: CAMs must follow the transformation of the image."""
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import ViewPair

from .regularizer import Regularizer


def minmax_norm(maps: Tensor, eps: float = 1e-5) -> Tensor:
    """Scale the positive part of each map to [0, 1].

    With p = relu(maps): relu(p - min p - eps) / (max p - min p + eps).
    Gradient also flows through the minimum and the maximum, so no map can
    lower a loss by merely growing. A constant map becomes zero.

    Args:
        maps (Tensor): (..., h, w).
        eps (float): Keeps constant maps at zero. Defaults to 1e-5.

    Returns:
        Tensor: (..., h, w), differentiable.
    """
    maps = maps.relu()
    low = maps.amin(dim=(-2, -1), keepdim=True)
    high = maps.amax(dim=(-2, -1), keepdim=True)
    return (maps - low - eps).relu() / (high - low + eps)


def winner_take_all(maps: Tensor, background: bool = True) -> Tensor:
    """Zero all classes of a pixel but the strongest.

    Winners keep their value, and so do ties.

    Args:
        maps (Tensor): (N, C, h, w).
        background (bool): Whether plane 0 is the background, which neither
            competes nor changes. Defaults to True.

    Returns:
        Tensor: (N, C, h, w), a copy.
    """
    classes = maps[:, int(background):]
    wins = classes == classes.amax(dim=1, keepdim=True)
    return torch.cat((maps[:, :int(background)], classes * wins), dim=1)


def adaptive_min_pooling_loss(maps: Tensor, ratio: float = 0.25) -> Tensor:
    """Push the least active pixels of an image towards zero.

    Of every image the ``ratio`` of pixels where even the strongest class is
    weakest; the mean of their positive part. An object that fills the image
    is thus kept from filling it completely. In SEAM's published code, not in
    its paper.

    Args:
        maps (Tensor): CAMs without background (N, K, h, w), absent
            classes zeroed.
        ratio (float): Share of pixels, at least one. Defaults to 0.25.

    Returns:
        Tensor: A scalar.
    """
    strongest = maps.amax(dim=1).flatten(1)
    count = max(int(strongest.shape[1] * ratio), 1)
    weakest = strongest.topk(count, dim=1, largest=False, sorted=False)[0]
    return weakest.relu().mean()


def hard_mean(errors: Tensor,
              ratio: float = 0.2,
              size: int | None = None) -> Tensor:
    """Mean of the largest errors of each image, averaged over images.

    Args:
        errors (Tensor): Not negative, (N, ...).
        ratio (float): Share of an image's entries that counts, at least
            one entry; 1 is the plain mean. Defaults to 0.2.
        size (int, optional): Entries of an image if ``errors`` leaves some
            out that are known to be zero. Defaults to None, all are given.

    Returns:
        Tensor: A scalar.
    """
    errors = errors.flatten(1)
    count = max(int((size or errors.shape[1]) * ratio), 1)
    if count < errors.shape[1]:
        errors = errors.topk(count, dim=1, sorted=False)[0]
    return errors.sum(dim=1).mean() / count


class Present(NamedTuple):
    """The classes of each image of a batch.

    Maps of absent classes are zero in every term, so that only the present
    ones need to be resized and compared.

    Attributes:
        ids (Tensor): int64 (N, K'), K' the highest number of classes in an
            image, at least one; rows of fewer classes are filled up with
            absent ones.
        mask (Tensor): Tags of these classes (N, K', 1, 1).
    """
    ids: Tensor
    mask: Tensor

    @classmethod
    def of(cls, labels: Tensor) -> 'Present':
        """Of multi-hot tags (N, K); what nobody knows is not present."""
        labels = labels.float().nan_to_num(0.)
        longest = max(int((labels > 0).sum(dim=1).max()), 1)
        tags, ids = labels.topk(longest, dim=1)
        return cls(ids, tags[..., None, None])

    def select(self, maps: Tensor, size: tuple[int, int],
               background: bool) -> Tensor:
        """Maps of the present classes at image size, in float32.

        Args:
            maps (Tensor): All classes (N, K, h, w), or with background
                first (N, K + 1, h, w).
            size (tuple[int, int]): Height and width of the result.
            background (bool): Whether plane 0 is the background; it stays.

        Returns:
            Tensor: (N, K', *size) or (N, K' + 1, *size), not masked.
        """
        ids = F.pad(self.ids + 1, (1, 0)) if background else self.ids
        # Half precision could not tell close neighbours from ties.
        return F.interpolate(
            maps.take_along_dim(ids[..., None, None], dim=1).float(),
            size=size,
            mode='bilinear',
            align_corners=True)


def with_background(maps: Tensor) -> Tensor:
    """Put 1 - max over classes in front of CAMs.

    Args:
        maps (Tensor): (N, K, h, w) in [0, 1].

    Returns:
        Tensor: (N, K + 1, h, w).
    """
    return torch.cat((1 - maps.amax(dim=1, keepdim=True), maps), dim=1)


@MODELS.register_module()
class EquivariantRegularization(Regularizer):
    """Equivariant regularization of CAMs (SEAM, arXiv 2004.04581).

    All maps are brought to the size of their view's image, normalised
    (:func:`minmax_norm`) and, for the first view, transformed like the image
    was to make the second. Classes that the tags lack are zero and count in
    every mean.

    - ``loss_er`` (section 3.3): mean absolute difference of the two
      views' CAMs.
    - ``loss_ecr`` (section 3.4): refined maps of either view against the
      winner-take-all CAMs of the other. Per view the mean over the
      largest ``topk_ratio`` of an image's differences; sum of the two. The
      CAMs are targets and get no gradient here.
    - ``loss_rvmin``: :func:`adaptive_min_pooling_loss` of the refined maps,
      not normalised, mean of both views. Part of the published code only.

    ``loss_ecr`` and ``loss_rvmin`` read ``refined_cams``, so the model needs
    a refiner. A term of weight 0 is not computed.

    Args:
        er_weight (float): Weight of ``loss_er``. Defaults to 1.
        ecr_weight (float): Weight of ``loss_ecr``. Defaults to 1.
        rvmin_weight (float): Weight of ``loss_rvmin``. Defaults to 1.
        topk_ratio (float): Share of entries (class, pixel) of an image that
            ``loss_ecr`` averages; 1 turns hard mining off. Defaults to 0.2.
        rvmin_ratio (float): Share of pixels that ``loss_rvmin`` averages.
            Defaults to 0.25.

    Raises:
        ValueError: If a weight is negative, all are zero, or a ratio is not
            in (0, 1].
    """
    needs_second_view = True

    def __init__(self,
                 er_weight: float = 1.,
                 ecr_weight: float = 1.,
                 rvmin_weight: float = 1.,
                 topk_ratio: float = 0.2,
                 rvmin_ratio: float = 0.25) -> None:
        super().__init__()
        weights = (er_weight, ecr_weight, rvmin_weight)
        if min(weights) < 0 or max(weights) == 0:
            raise ValueError(
                'EquivariantRegularization needs er_weight, ecr_weight and '
                f'rvmin_weight >= 0 and one above 0, got {weights}.')
        for name, ratio in (('topk_ratio', topk_ratio),
                            ('rvmin_ratio', rvmin_ratio)):
            if not 0 < ratio <= 1:
                raise ValueError(f'EquivariantRegularization needs {name} in '
                                 f'(0, 1], got {ratio}.')
        self.er_weight = er_weight
        self.ecr_weight = ecr_weight
        self.rvmin_weight = rvmin_weight
        self.topk_ratio = topk_ratio
        self.rvmin_ratio = rvmin_ratio

    @property
    def needs_refined_cams(self) -> bool:
        """Whether the model must be configured with a refiner."""
        return self.ecr_weight > 0 or self.rvmin_weight > 0

    def forward(self, pair: ViewPair) -> dict[str, Tensor]:
        """The terms of positive weight.

        Args:
            pair (ViewPair): Two views, with tags, and ``transform``; their
                ``cams`` and, if needed, ``refined_cams`` are read.

        Returns:
            dict[str, Tensor]: Of ``loss_er``, ``loss_ecr``, ``loss_rvmin``.

        Raises:
            ValueError: If the transformed maps differ in size from the
                second view's image.
        """
        present = Present.of(pair.first.labels)
        num_classes = pair.first.labels.shape[1]
        sizes = [tuple(v.image.shape[-2:]) for v in pair.views]
        losses, refined = {}, []
        if self.needs_refined_cams:
            refined = [
                present.select(v.refined_cams, size, True)
                for v, size in zip(pair.views, sizes)
            ]
        if self.er_weight > 0 or self.ecr_weight > 0:
            planes = [[present.select(v.cams, size, False)]
                      for v, size in zip(pair.views, sizes)]
            masks = [present.mask]
            if self.ecr_weight > 0:
                # Both kinds of maps go the same way.
                masks.append(
                    F.pad(present.mask, (0, 0, 0, 0, 1, 0), value=1.))
                for view, maps in zip(planes, refined):
                    view.append(maps)
            counts = [m.shape[1] for m in masks]
            one, other = (
                minmax_norm(torch.cat(view, dim=1)) for view in planes)
            one = self.transformed(one, pair.transform, sizes[1])
            # (2, N, .., h, w): both views on one grid.
            cams, *maps = (torch.stack((one, other)) * torch.cat(
                masks, dim=1)).split(counts, dim=2)
            num_pixels = cams.shape[3] * cams.shape[4]
        if self.er_weight > 0:
            losses['loss_er'] = self.er_weight * hard_mean(
                (cams[0] - cams[1]).abs(), 1., num_classes * num_pixels)
        if self.ecr_weight > 0:
            # Each view's against the winners of the other.
            winners = winner_take_all(
                with_background(cams.detach().flip(0).flatten(0, 1)))
            errors = (winners - maps[0].flatten(0, 1)).abs()
            losses['loss_ecr'] = 2 * self.ecr_weight * hard_mean(
                errors, self.topk_ratio, (num_classes + 1) * num_pixels)
        if self.rvmin_weight > 0:
            losses['loss_rvmin'] = self.rvmin_weight * torch.stack([
                adaptive_min_pooling_loss(maps[:, 1:] * present.mask,
                                          self.rvmin_ratio)
                for maps in refined
            ]).mean()
        return losses

    @staticmethod
    def transformed(maps: Tensor, transform: Callable[[Tensor], Tensor],
                    size: tuple[int, int]) -> Tensor:
        """First-view maps in the second view's frame.

        Args:
            maps (Tensor): (N, C, H, W).
            transform (Callable): See :class:`ViewPair`.
            size (tuple[int, int]): Size of the second view's image.

        Returns:
            Tensor: (N, C, *size).

        Raises:
            ValueError: If ``transform`` gives another size.
        """
        maps = transform(maps)
        if tuple(maps.shape[-2:]) != size:
            raise ValueError(
                'EquivariantRegularization: the transformed maps of the '
                f'first view have {tuple(maps.shape[-2:])} pixels, the '
                f"second view's image {size}. The second_view must give the "
                'same size for an image and for maps of the same size.')
        return maps
