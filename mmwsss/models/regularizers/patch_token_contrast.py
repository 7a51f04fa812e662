"""ToCo: an earlier block says which patches must stay different."""
import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.pseudo_labels.label_completion import IGNORE, threshold_labels
from mmwsss.registry import MODELS
from mmwsss.structures.view_output import FusedCAMs, ViewPair

from ..losses.affinity_loss import global_means
from ..utils.stack_valid import stack_valid
from ..utils.training_phase import has_reached
from .regularizer import Regularizer


def patch_token_contrast(feats: Tensor, labels: Tensor) -> Tensor:
    """Absolute cosines of patches against their pair labels (ToCo, PTC).

    Half of 1 - the mean |cosine| over pairs of one label plus half of the
    mean over pairs of different labels, in which a patch is no pair with
    itself. Means are taken over all pairs of the global batch; as published,
    1 is added to the number of pairs.

    Args:
        feats (Tensor): Patch tokens (N, D, h, w).
        labels (Tensor): int64 (N, h, w); pairs with a patch of label 255 do
            not count.

    Returns:
        Tensor: Scalar, at least float32, in [0, 1].
    """
    # Cosines of over-smoothed tokens differ by less than half precision has.
    feats = feats.to(torch.promote_types(feats.dtype, torch.float32))
    with torch.autocast(feats.device.type, enabled=False):
        unit = F.normalize(feats.flatten(2), dim=1, eps=1e-8)
        cosines = (unit.mT @ unit).abs()
    labels = labels.flatten(1)
    known = labels != IGNORE
    pairs = known[:, :, None] & known[:, None]
    itself = torch.eye(
        labels.shape[1], dtype=torch.bool, device=labels.device)
    pairs = pairs & ~itself
    same = labels[:, :, None] == labels[:, None]
    alike, different = (
        kind & pairs for kind in (same, ~same))
    mean_alike, mean_different = global_means(
        [torch.where(kind, cosines, 0).sum() for kind in (alike, different)],
        [kind.sum() for kind in (alike, different)],
        eps=1.)
    return 0.5 * (1 - mean_alike) + 0.5 * mean_different


def patch_labels(fused: FusedCAMs, size: tuple[int, int], valid: Tensor,
                 fg_threshold: float, bg_threshold: float) -> Tensor:
    """What the auxiliary head's CAMs say of each patch.

    Args:
        fused (FusedCAMs): With ``auxiliary``.
        size (tuple[int, int]): Rows and columns of patches.
        valid (Tensor): Bool (N, H, W), which pixels show the image.
        fg_threshold (float): From this score on a patch has its best class.
        bg_threshold (float): Up to this score it is background.

    Returns:
        Tensor: int64 (N, *size), 255 between the two and outside the image.
    """
    maps = fused.auxiliary
    if maps.shape[1]:
        maps = F.interpolate(
            maps, size=size, mode='bilinear', align_corners=False)
    else:
        maps = maps.new_zeros((*maps.shape[:2], *size))
    labels = threshold_labels(maps, fused.class_ids, fg_threshold,
                              bg_threshold)
    inside = F.interpolate(valid[:, None].float(), size=size, mode='area')
    return labels.masked_fill(inside[:, 0] < 0.5, IGNORE)


@MODELS.register_module()
class PatchTokenContrast(Regularizer):
    """Patch token contrast (ToCo, arXiv 2303.01267).

    Patch tokens of a ViT become alike with depth, and with them its CAMs
    flat. An earlier block still tells patches apart: the CAMs of the
    auxiliary head, with two thresholds, label the patches, and the tokens of
    the last block shall be alike within a label and different between labels
    (:func:`patch_token_contrast`). Useless on frozen backbones.

    Args:
        in_index (int): Which of the backbone's feature maps to contrast.
            Defaults to -1.
        fg_threshold (float): See :func:`patch_labels`. Defaults to 0.7.
        bg_threshold (float): Likewise. Defaults to 0.25.
        start (float): Share of all training steps before the term begins.
            Defaults to 0.
        loss_weight (float): Defaults to 0.2.

    Raises:
        ValueError: If a threshold or ``start`` is out of range.
    """
    needs_auxiliary_head = True

    def __init__(self,
                 in_index: int = -1,
                 fg_threshold: float = 0.7,
                 bg_threshold: float = 0.25,
                 start: float = 0.,
                 loss_weight: float = 0.2) -> None:
        super().__init__()
        check_settings(self, fg_threshold, bg_threshold, start)
        self.in_index = in_index
        self.fg_threshold = fg_threshold
        self.bg_threshold = bg_threshold
        self.start = start
        self.loss_weight = loss_weight

    def forward(self, pair: ViewPair) -> dict[str, Tensor]:
        """``loss_patch`` of the first view.

        Args:
            pair (ViewPair): Its first view with ``feats`` and ``fused_cams``;
                of the samples, ``valid_mask`` where only a part of the input
                shows the image.

        Returns:
            dict[str, Tensor]: Empty before the term begins.
        """
        if not has_reached(self.start):
            return {}
        view = pair.first
        feats = view.feats[self.in_index]
        labels = patch_labels(view.fused_cams, tuple(feats.shape[-2:]),
                              stack_valid(pair.data_samples, view.image),
                              self.fg_threshold, self.bg_threshold)
        return dict(
            loss_patch=self.loss_weight * patch_token_contrast(feats, labels))


def check_settings(regularizer: Regularizer, fg_threshold: float,
                   bg_threshold: float, start: float) -> None:
    """Refuse settings that are out of range.

    Args:
        regularizer (Regularizer): Whose they are, for the message.
        fg_threshold (float): Above ``bg_threshold``.
        bg_threshold (float): Not negative.
        start (float): In [0, 1].

    Raises:
        ValueError: If one is.
    """
    name = type(regularizer).__name__
    if not 0 <= bg_threshold < fg_threshold:
        raise ValueError(
            f'{name}: bg_threshold ({bg_threshold}) must lie in '
            f'[0, fg_threshold), and fg_threshold is {fg_threshold}.')
    if not 0 <= start <= 1:
        raise ValueError(f'{name}: start is a share of the training steps in '
                         f'[0, 1], got {start}.')
