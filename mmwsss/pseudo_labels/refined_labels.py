"""Labels from CAMs that are refined together with the background's score."""
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmwsss.registry import MODELS

from .label_completion import IGNORE


def _refined_planes(cams: Tensor, class_ids: Tensor, image: Tensor,
                    background: float,
                    scale_factor: float) -> tuple[Tensor, Tensor]:
    """Probabilities of background and classes, and the image, both smaller."""
    size = [max(int(s * scale_factor), 1) for s in cams.shape[-2:]]
    image = F.interpolate(
        image.float(), size=size, mode='bilinear', align_corners=False)
    planes = cams.new_full((len(cams), 1, *size), background)
    if cams.shape[1]:
        maps = F.interpolate(
            cams, size=size, mode='bilinear', align_corners=False)
        maps = maps.masked_fill((class_ids < 0)[..., None, None], -torch.inf)
        planes = torch.cat((planes, maps), dim=1)
    return planes.softmax(dim=1), image


def refined_labels(cams: Tensor,
                   class_ids: Tensor,
                   image: Tensor,
                   refine: Callable[[Tensor, Tensor], Tensor] | None = None,
                   fg_threshold: float = 0.7,
                   bg_threshold: float = 0.25,
                   scale_factor: float = 0.5) -> Tensor:
    """Labels by two background scores that are refined like the maps (ToCo).

    A threshold is a plane of constant score. Beside the maps of an image's
    classes it goes through a softmax and the refinement, and the highest
    plane wins. A pixel at which a class wins against ``fg_threshold`` has
    that class; one at which the background wins even with ``bg_threshold``
    is background; the rest is ignored.

    Args:
        cams (Tensor): float32 (N, K', H, W) in [0, 1].
        class_ids (Tensor): int64 (N, K'), rising, -1 where an image has fewer
            classes.
        image (Tensor): (N, 3, h, w), 0..255.
        refine (Callable, optional): From images and planes (N, k, h, w) to
            planes of that size, e.g. ``PAMR``; must not mix planes. None
            does not refine.
        fg_threshold (float): Defaults to 0.7.
        bg_threshold (float): Defaults to 0.25.
        scale_factor (float): Refinement is done at this share of the size.
            Defaults to 0.5.

    Returns:
        Tensor: int64 (N, H, W), 0 = background, c + 1 = class c,
        255 = ignored.
    """
    parts = []
    for background in (fg_threshold, bg_threshold):
        planes, small = _refined_planes(cams, class_ids, image, background,
                                        scale_factor)
        parts.append(planes)
    # Planes do not mix, so both go through the refinement at once.
    planes = torch.cat(parts, dim=1)
    if refine is not None:
        planes = refine(small, planes)
    planes = F.interpolate(
        planes, size=cams.shape[-2:], mode='bilinear', align_corners=False)
    ids = F.pad(class_ids + 1, (1, 0))
    high, low = (
        ids.gather(1, part.argmax(dim=1).flatten(1)).view(-1, *part.shape[2:])
        for part in planes.chunk(2, dim=1))
    labels = torch.where(high > 0, high, IGNORE)
    return labels.masked_fill((high == 0) & (low == 0), 0)


@MODELS.register_module()
class RefinedLabels(nn.Module):
    """Labels to train on, from normalised CAMs and the image.

    (ToCo, https://arxiv.org/abs/2303.01267, whose refinement is PAR:
    ``refiner=dict(type='mmwsss.PAMR', kernel='par')``.) See
    :func:`refined_labels`. Saliency is not read.

    Args:
        fg_threshold (float): Background score that a class must beat.
            Defaults to 0.7.
        bg_threshold (float): Background score with which the background must
            win. Defaults to 0.25.
        refiner (dict, optional): Applied to maps and background alike. None
            does not refine. Defaults to None.
        scale_factor (float): Refinement is done at this share of the size, in
            (0, 1]. Defaults to 0.5.

    Raises:
        ValueError: If a setting is out of range.
    """
    #: The model calls it with ``image``.
    reads_image = True
    #: Thresholds may be given with each call.
    takes_thresholds = True
    #: It makes the same labels with saliency and without.
    reads_saliency = False

    def __init__(self,
                 fg_threshold: float = 0.7,
                 bg_threshold: float = 0.25,
                 refiner: dict | None = None,
                 scale_factor: float = 0.5) -> None:
        super().__init__()
        if not 0 <= bg_threshold < fg_threshold:
            raise ValueError(
                f'bg_threshold ({bg_threshold}) must lie in '
                f'[0, fg_threshold), and fg_threshold is {fg_threshold}.')
        if not 0 < scale_factor <= 1:
            raise ValueError(f'scale_factor is {scale_factor}, must lie in '
                             '(0, 1].')
        self.fg_threshold = fg_threshold
        self.bg_threshold = bg_threshold
        self.refiner = MODELS.build(refiner) if refiner else None
        self.scale_factor = scale_factor

    @torch.no_grad()
    def forward(
        self,
        cams: Tensor,
        class_ids: Tensor,
        saliency: Tensor | None = None,
        *,
        image: Tensor,
        thresholds: tuple[float, float] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Label a batch.

        Args:
            cams (Tensor): (N, K', H, W), normalised. Padded planes are not
                looked at.
            class_ids (Tensor): int64 (N, K'), -1 where an image has fewer
                classes.
            saliency (Tensor, optional): Returned as it is.
            image (Tensor): (N, 3, h, w), 0..255, of any size.
            thresholds (tuple[float, float], optional): Instead of
                ``bg_threshold`` and ``fg_threshold``.

        Returns:
            tuple[Tensor, Tensor or None]: Labels int64 (N, H, W), 255 is
            ignored; ``saliency``.

        Raises:
            ValueError: If the shapes do not fit.
        """
        if cams.shape[:2] != class_ids.shape or len(image) != len(cams):
            raise ValueError(
                f'RefinedLabels: maps {tuple(cams.shape)} need class ids '
                f'{tuple(cams.shape[:2])} and as many images, got '
                f'{tuple(class_ids.shape)} and {tuple(image.shape)}.')
        low, high = thresholds or (self.bg_threshold, self.fg_threshold)
        # Sums of small differences decide, in half precision they tie.
        with torch.autocast(cams.device.type, enabled=False):
            labels = refined_labels(cams.float(), class_ids, image,
                                    self.refiner, high, low,
                                    self.scale_factor)
        return labels, saliency

    def extra_repr(self) -> str:
        return (f'fg_threshold={self.fg_threshold}, '
                f'bg_threshold={self.bg_threshold}, '
                f'scale_factor={self.scale_factor}')
