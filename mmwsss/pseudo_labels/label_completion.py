"""Labels from CAMs and a saliency map: activation-aware completion."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmwsss.registry import MODELS

IGNORE = 255
#: What a saliency map holds where a class was found outside of it.
MINED = 255
CONFLICTS = ('ignore', 'first')


def open_mask(mask: Tensor, size: int) -> Tensor:
    """Morphological opening with a square, as OpenCV computes it.

    The anchor of an even square lies right of and below its centre, in the
    erosion and in the dilation, so what survives is moved by one pixel; the
    published labels have this shift. What lies outside the image changes
    nothing.

    Args:
        mask (Tensor): Bool (..., H, W).
        size (int): Side of the square in pixels; 1 or less does nothing.

    Returns:
        Tensor: Bool (..., H, W).
    """
    if size <= 1:
        return mask
    before = size // 2
    sides = (before, size - 1 - before) * 2

    def highest(values: Tensor) -> Tensor:
        return F.max_pool2d(F.pad(values, sides, value=-1.), size, 1)

    planes = mask.float().reshape(-1, *mask.shape[-2:])
    eroded = -highest(-planes)
    return (highest(eroded) > 0).view(mask.shape)


def mine(cams: Tensor, cut: float) -> Tensor:
    """Where each class is most active.

    A class claims the pixels above the entry ``int(n * cut)`` of its n
    positive values in rising order.

    Args:
        cams (Tensor): (..., K, H, W), not negative.
        cut (float): Share of the positive values that is not claimed.

    Returns:
        Tensor: Bool (..., K, H, W).
    """
    values = cams.flatten(-2).sort(dim=-1).values
    positive = (values > 0).sum(dim=-1, keepdim=True)
    # Without leaving the device: the positive ones come last.
    place = values.shape[-1] - positive + (positive.double() * cut).long()
    least = values.gather(-1, place.clamp(max=values.shape[-1] - 1))
    return cams > least.clamp(min=0)[..., None]


def _in_order(cams: Tensor, class_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Planes (..., K, H, W) and ids (..., K), by rising id."""
    class_ids, order = class_ids.sort(dim=-1)
    return cams.take_along_dim(order[..., None, None], dim=-3), class_ids


def _best_class(cams: Tensor, class_ids: Tensor,
                background: Tensor) -> Tensor:
    """Argmax over background and classes; the first of equals wins."""
    planes = torch.cat((background.unsqueeze(-3), cams), dim=-3)
    best = planes.argmax(dim=-3)
    labels = F.pad(class_ids + 1, (1, 0))
    return labels.gather(-1, best.flatten(-2)).view_as(best)


def complete_labels(cams: Tensor,
                    class_ids: Tensor,
                    saliency: Tensor,
                    cut: float = 0.9,
                    bg_power: float = 32,
                    conflict: str = 'ignore',
                    opening: int = 10) -> tuple[Tensor, Tensor]:
    """Labels by GETAM's activation-aware label completion.

    Salient and activated pixels get their class, salient ones that are not
    activated are ignored, the rest is background. Pixels outside the salient
    region where a class is most active are mined: they get that class.
    What an opening takes from the labelled region becomes background.

    Args:
        cams (Tensor): (..., K, H, W), not negative, each with a maximum of
            about 1; zero in padded planes.
        class_ids (Tensor): int64 (..., K); -1 in padded planes.
        saliency (Tensor): (..., H, W), salient where positive.
        cut (float): Share of a class's positive values that is not mined.
            Defaults to 0.9 (COCO: 0.95).
        bg_power (float): The background's score is
            (1 - max_c n_c)^``bg_power``. Defaults to 32.
        conflict (str): Pixels that two classes mine are ignored
            (``'ignore'``, the paper) or go to the lower class index
            (``'first'``, the published code). Defaults to 'ignore'.
        opening (int): Side of the opening's square. Defaults to 10.

    Returns:
        tuple[Tensor, Tensor]: Labels int64 (..., H, W), 0 = background,
        c + 1 = class c, 255 = ignored; saliency float32 (..., H, W), 0, 1
        where the detector says so, 255 where a class was mined, whatever the
        opening did there.
    """
    cams, class_ids = _in_order(cams, class_ids)
    salient = saliency > 0
    highest = F.pad(cams, (0, 0, 0, 0, 1, 0)).amax(dim=-3)
    background = (1 - highest)**bg_power
    labels = _best_class(cams, class_ids, background)
    labels = labels.masked_fill(labels == 0, IGNORE)
    labels = labels.masked_fill(~salient, 0)

    claims = mine(cams, cut) & (labels == 0).unsqueeze(-3)
    claimants = claims.sum(dim=-3)
    # The first plane that claims a pixel; without any it does not matter.
    mined = _best_class(claims.float(), class_ids, claims.new_full(
        salient.shape, 0.5, dtype=torch.float32))
    if conflict == 'ignore':
        mined = mined.masked_fill(claimants > 1, IGNORE)
    claimed = claimants > 0
    labels = torch.where(claimed, mined, labels)
    after = salient.float().masked_fill(claimed, MINED)
    kept = open_mask(labels != 0, opening)
    return labels.masked_fill(~kept, 0), after


def threshold_labels(cams: Tensor, class_ids: Tensor, fg_threshold: float,
                     bg_threshold: float) -> Tensor:
    """Labels without saliency.

    Not in the paper, whose background comes from saliency alone.

    Args:
        cams (Tensor): (..., K, H, W).
        class_ids (Tensor): int64 (..., K); -1 in padded planes.
        fg_threshold (float): From this score on a pixel has its best class.
        bg_threshold (float): Up to this score it is background; between the
            two it is ignored.

    Returns:
        Tensor: int64 (..., H, W), 0 = background, c + 1 = class c,
        255 = ignored.
    """
    cams, class_ids = _in_order(cams, class_ids)
    # A class-less image: everything scores zero.
    score, best = F.pad(cams, (0, 0, 0, 0, 1, 0)).max(dim=-3)
    labels = F.pad(class_ids + 1, (1, 0))
    labels = labels.gather(-1, best.flatten(-2)).view_as(best)
    unsure = torch.where(score <= bg_threshold, 0, IGNORE)
    return torch.where(score >= fg_threshold, labels, unsure)


@MODELS.register_module()
class LabelCompletion(nn.Module):
    """Labels to train on, from normalised CAMs.

    With saliency maps the labels are those of GETAM
    (https://arxiv.org/abs/2112.02841), see
    :func:`complete_labels`; without, two thresholds decide, see
    :func:`threshold_labels`. No gradient flows through it.

    Args:
        cut (float): See :func:`complete_labels`, in [0, 1). Defaults to 0.9.
        bg_power (float): Likewise. Defaults to 32.
        conflict (str): Likewise, 'ignore' or 'first'. Defaults to 'ignore'.
        opening (int): Likewise. Defaults to 10.
        fg_threshold (float): See :func:`threshold_labels`. Defaults to 0.4.
        bg_threshold (float): Likewise. Defaults to 0.1.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(self,
                 cut: float = 0.9,
                 bg_power: float = 32,
                 conflict: str = 'ignore',
                 opening: int = 10,
                 fg_threshold: float = 0.4,
                 bg_threshold: float = 0.1) -> None:
        super().__init__()
        if not 0 <= cut < 1:
            raise ValueError(f'cut is {cut}, must lie in [0, 1).')
        if bg_power <= 0:
            raise ValueError(f'bg_power is {bg_power}, must be above 0.')
        if conflict not in CONFLICTS:
            raise ValueError(
                f'conflict is {conflict!r}, not one of {CONFLICTS}.')
        if opening < 0:
            raise ValueError(f'opening is {opening}, must be 0 or more.')
        if not 0 <= bg_threshold < fg_threshold:
            raise ValueError(
                f'bg_threshold ({bg_threshold}) must lie in '
                f'[0, fg_threshold), and fg_threshold is {fg_threshold}.')
        self.cut = cut
        self.bg_power = bg_power
        self.conflict = conflict
        self.opening = opening
        self.fg_threshold = fg_threshold
        self.bg_threshold = bg_threshold

    @torch.no_grad()
    def forward(
        self,
        cams: Tensor,
        class_ids: Tensor,
        saliency: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Label a batch.

        Args:
            cams (Tensor): (N, K', H, W), normalised: PAMR's maps by
                (their maximum + 1e-5). Padded planes are not looked at.
            class_ids (Tensor): int64 (N, K'), -1 where an image has fewer
                classes.
            saliency (Tensor, optional): (N, H, W), salient where positive.

        Returns:
            tuple[Tensor, Tensor or None]: Labels int64 (N, H, W), 255 is
            ignored; saliency after mining, float32 (N, H, W), 0, 1 or 255,
            None without saliency.

        Raises:
            ValueError: If the shapes do not fit.
        """
        size = (len(cams), *cams.shape[2:])
        if cams.shape[:2] != class_ids.shape or (
                saliency is not None and saliency.shape != size):
            raise ValueError(
                f'LabelCompletion: maps {tuple(cams.shape)} need class ids '
                f'{tuple(cams.shape[:2])} and saliency {size} or None, got '
                f'{tuple(class_ids.shape)} and '
                f'{None if saliency is None else tuple(saliency.shape)}.')
        cams = cams.float().masked_fill((class_ids < 0)[..., None, None], 0.)
        if saliency is None:
            return threshold_labels(cams, class_ids, self.fg_threshold,
                                    self.bg_threshold), None
        return complete_labels(cams, class_ids, saliency, self.cut,
                               self.bg_power, self.conflict, self.opening)

    def extra_repr(self) -> str:
        return (f'cut={self.cut}, bg_power={self.bg_power}, '
                f'conflict={self.conflict!r}, opening={self.opening}, '
                f'fg_threshold={self.fg_threshold}, '
                f'bg_threshold={self.bg_threshold}')
