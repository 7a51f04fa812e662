"""EPS: CAMs must make up a saliency map."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import ViewPair

from .regularizer import Regularizer

LOAD_SALIENCY = (
    'Set data_prefix=dict(saliency_path=FOLDER) of the dataset and put '
    "dict(type='mmwsss.LoadSaliency', threshold=None) into the pipeline, "
    "after dict(type='mmwsss.LoadImage').")


def class_overlap(prob: Tensor, saliency: Tensor) -> Tensor:
    """Share of each class's area that is salient.

    Probability and saliency are rounded, so a pixel belongs to a class, or is
    salient, above one half.

    Args:
        prob (Tensor): Probabilities of the classes (N, K, h, w).
        saliency (Tensor): (N, 1, h, w) in [0, 1].

    Returns:
        Tensor: (N, K) in [0, 1), without gradient; 0 for a class without
        area.
    """
    area = prob.detach().round()
    salient = area.flatten(2) @ saliency.round().flatten(2).mT
    # A little per pixel, as published, so that tiny areas overlap less.
    return salient[..., 0] / (area + 1e-4).sum(dim=(2, 3))


def saliency_parts(prob: Tensor, present: Tensor,
                   overlaps: Tensor) -> tuple[Tensor, Tensor]:
    """Two estimates of saliency, from objects and from the rest.

    Args:
        prob (Tensor): Probabilities (N, K + 1, h, w), background first.
        present (Tensor): Which classes the image is tagged with (N, K).
        overlaps (Tensor): Bool (N, K), which classes are salient enough.

    Returns:
        tuple[Tensor, Tensor]: (N, 1, h, w) each: the sum of the tagged
        classes that overlap, and one minus the background with the tagged
        classes that do not.
    """
    present = present.to(prob)
    inside = present * overlaps
    # What each plane adds to either; the background is first.
    shares = F.pad(torch.stack((inside, inside - present), dim=1), (1, 0))
    shares[:, 1, 0] = -1
    salient, rest = (shares @ prob.flatten(2)).unflatten(
        2, prob.shape[2:]).split(1, dim=1)
    return salient, 1 + rest


def pseudo_pixel_loss(logits: Tensor,
                      saliency: Tensor,
                      labels: Tensor,
                      overlap_threshold: float = 0.4,
                      foreground_share: float = 0.5) -> Tensor:
    """Mean squared error between estimated and given saliency.

    Args:
        logits (Tensor): Class scores of the pixels (N, K + 1, h, w),
            background first.
        saliency (Tensor): (N, 1, H, W) in [0, 1]; the nearest pixel counts.
        labels (Tensor): Multi-hot tags (N, K).
        overlap_threshold (float): Classes whose :func:`class_overlap` is
            above it count as salient. Defaults to 0.4.
        foreground_share (float): Weight of the estimate from objects, the
            rest that of the one from the background. Defaults to 0.5.

    Returns:
        Tensor: A scalar, differentiable through the probabilities alone.
    """
    logits = logits.float()
    # Sums of probabilities would be products in half precision.
    with torch.autocast(logits.device.type, enabled=False):
        saliency = F.interpolate(
            saliency, size=logits.shape[-2:], mode='nearest')
        prob = logits.softmax(dim=1)
        overlaps = class_overlap(prob[:, 1:], saliency) > overlap_threshold
        salient, rest = saliency_parts(prob, labels > 0.5, overlaps)
        return F.mse_loss(
            torch.lerp(rest, salient, foreground_share), saliency)


def stack_saliency(data_samples: Sequence, image: Tensor) -> Tensor:
    """Saliency maps of a batch.

    Args:
        data_samples (Sequence[SegDataSample]): With ``gt_saliency``
            (1, H, W) in [0, 1].
        image (Tensor): Their batch (N, 3, H, W).

    Returns:
        Tensor: float32 (N, 1, H, W).

    Raises:
        KeyError: If a sample has none.
        ValueError: If one has another size than the batch.
    """
    maps = []
    for sample in data_samples:
        img_id = sample.get('img_id', '?')
        if 'gt_saliency' not in sample:
            raise KeyError(f'Image {img_id} comes without a saliency map '
                           f'(gt_saliency). {LOAD_SALIENCY}')
        saliency = sample.gt_saliency.data
        if saliency.shape[-2:] != image.shape[-2:]:
            raise ValueError(
                f'Image {img_id} comes with {tuple(image.shape[-2:])} pixels '
                '(height, width), but its saliency map with '
                f'{tuple(saliency.shape[-2:])}. Put mmwsss.LoadSaliency '
                'before all transforms that resize or crop the image.')
        maps.append(saliency)
    return torch.stack(maps).to(image.device).float()


@MODELS.register_module()
class ExplicitPseudoPixelSupervision(Regularizer):
    """Explicit pseudo-pixel supervision (EPS, arXiv 2105.08965).

    Saliency tells objects from background without naming them, tags name
    objects without showing them. The probabilities of the tagged classes
    shall add up to the saliency map, as far as their areas are salient, and
    the background, with the classes that are not, to its inverse
    (:func:`pseudo_pixel_loss`).

    - ``loss_eps``: of the head's ``pixel_logits``, mean of the views.
    - ``loss_eps_refined``: of ``refined_cams``, likewise; needs a refiner.

    The head needs a map of its own for the background
    (``CAMHead(with_background=True)``), the samples need ``gt_saliency``. A
    second view is used where the model has one, as on SEAM's two views;
    saliency is transformed like the image. A term of weight 0 is not
    computed.

    Args:
        overlap_threshold (float): See :func:`pseudo_pixel_loss`.
            Defaults to 0.4, as in the published script.
        foreground_share (float): See :func:`pseudo_pixel_loss`.
            Defaults to 0.5.
        weight (float): Weight of ``loss_eps``. Defaults to 1.
        refined_weight (float): Weight of ``loss_eps_refined``. Defaults to
            0; the published combination with SEAM takes 1.

    Raises:
        ValueError: If a weight is negative, both are 0, or
            ``foreground_share`` is not in [0, 1].
    """

    def __init__(self,
                 overlap_threshold: float = 0.4,
                 foreground_share: float = 0.5,
                 weight: float = 1.,
                 refined_weight: float = 0.) -> None:
        super().__init__()
        if min(weight, refined_weight) < 0 or weight == refined_weight == 0:
            raise ValueError(
                'ExplicitPseudoPixelSupervision needs weight and '
                'refined_weight >= 0 and one above 0, got '
                f'{weight} and {refined_weight}.')
        if not 0 <= foreground_share <= 1:
            raise ValueError('ExplicitPseudoPixelSupervision needs '
                             'foreground_share in [0, 1], got '
                             f'{foreground_share}.')
        self.overlap_threshold = overlap_threshold
        self.foreground_share = foreground_share
        self.weight = weight
        self.refined_weight = refined_weight

    @property
    def needs_pixel_logits(self) -> bool:
        """Whether the model's head must score the background."""
        return self.weight > 0

    @property
    def needs_refined_cams(self) -> bool:
        """Whether the model must be configured with a refiner."""
        return self.refined_weight > 0

    def forward(self, pair: ViewPair) -> dict[str, Tensor]:
        """The terms of positive weight.

        Args:
            pair (ViewPair): One or two views, with tags; their
                ``pixel_logits`` and, if needed, ``refined_cams`` are read.
                Of the samples, ``gt_saliency`` (1, H, W).

        Returns:
            dict[str, Tensor]: Of ``loss_eps`` and ``loss_eps_refined``.

        Raises:
            KeyError: If a sample has no saliency map.
            ValueError: If one has another size than the image.
        """
        saliency = stack_saliency(pair.data_samples, pair.first.image)
        views = [(pair.first, saliency)]
        if pair.second is not None:
            views.append((pair.second, pair.transform(saliency)))

        def mean_loss(field: str) -> Tensor:
            return torch.stack([
                pseudo_pixel_loss(
                    getattr(v, field), s, v.labels, self.overlap_threshold,
                    self.foreground_share) for v, s in views
            ]).mean()

        losses = {}
        if self.weight > 0:
            losses['loss_eps'] = self.weight * mean_loss('pixel_logits')
        if self.refined_weight > 0:
            losses['loss_eps_refined'] = \
                self.refined_weight * mean_loss('refined_cams')
        return losses
