"""PPC: pixels against the prototypes of their classes, across two views."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, all_reduce, get_world_size
from torch import Tensor, nn

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import ViewPair
from mmwsss.utils.transfer import send

from ..utils.global_batch import GlobalBatch
from ..utils.host_value import HostValue
from ..utils.pixel_selection import count_labels, scores_from_maps
from .regularizer import Regularizer

#: Ranks of the prototypes, by similarity, that the intra-view term pushes a
#: pixel away from: the very first are likely its own class or its parts.
NEGATIVE_RANKS = slice(3, 13)
#: Share of a class's pixels, hardest first, the semi-hard half is taken from.
HARD_SHARE = 0.6


def keep_assigned(scores: Tensor, pseudo_labels: Tensor) -> Tensor:
    """Zero a class where other classes won, in images it won anywhere.

    Args:
        scores (Tensor): (N, K + 1, h, w), background first; its plane stays.
        pseudo_labels (Tensor): int64 (N, h, w).

    Returns:
        Tensor: (N, K + 1, h, w), a copy.
    """
    ids = torch.arange(scores.shape[1], device=scores.device)
    won = pseudo_labels[:, None] == ids[:, None, None]
    drop = ~won & won.flatten(2).any(dim=2)[..., None, None]
    drop[:, 0] = False
    return scores.masked_fill(drop, 0.)


def best_pixels(scores: Tensor, count: int) -> Tensor:
    """Weights that pick the best pixels of each class in the global batch.

    Pixels that tie for the last places share them, so the choice depends
    neither on an order nor on how images are spread over processes. For a
    constant map, such as the background's, it is all pixels alike.

    Args:
        scores (Tensor): (C, P), of all pixels of this process.
        count (int): Pixels per class, at least 1 and at most P.

    Returns:
        Tensor: (C, P) in [0, 1]; each row adds up to ``count`` over all
        processes.
    """
    best = torch.cat(
        all_gather(scores.topk(count, dim=1)[0].contiguous()), dim=1)
    last = best.topk(count, dim=1)[0][:, -1:]
    better, tied = scores > last, scores == last
    counts = torch.stack((better.sum(dim=1), tied.sum(dim=1)))
    all_reduce(counts)
    share = (count - counts[0]) / counts[1].clamp(min=1)
    return better + tied * share[:, None]


@torch.no_grad()
def unit_prototypes(scores: Tensor,
                    feats: Tensor,
                    count: int,
                    indices: Tensor | None = None) -> Tensor:
    """Mean feature of the best pixels of each class, of unit length.

    The direction of sum(N z) / sum(N) over the ``count`` pixels of the global
    batch with the highest score N.

    Args:
        scores (Tensor): N, (N, C, h, w).
        feats (Tensor): z, (N, D, h, w).
        count (int): Pixels per class.
        indices (Tensor, optional): int64 (C, count), which pixels to take,
            counted through images, rows and columns. None takes the best.

    Returns:
        Tensor: (C, D), without gradient; a zero row where the scores of the
        pixels add up to 0.
    """
    scores = scores.transpose(0, 1).flatten(1)
    if indices is None:
        picked = best_pixels(scores, count)
    else:
        picked = torch.zeros_like(scores).scatter_(1, indices, 1.)
    weights = picked * scores
    sums = weights @ feats.transpose(0, 1).flatten(1).t()
    total = weights.sum(dim=1)
    all_reduce(sums)
    all_reduce(total)
    # The length is lost anyway; a negative total turns the direction.
    return F.normalize(sums, dim=1) * total.sign()[:, None]


def prototype_contrast(feats: Tensor,
                       pseudo_labels: Tensor,
                       prototypes: Tensor,
                       temperature: float = 0.1,
                       foreground_only: bool = False) -> Tensor:
    """Cross entropy of each pixel's cosines with all prototypes.

    Args:
        feats (Tensor): (N, D, h, w), of any length.
        pseudo_labels (Tensor): int64 (N, h, w), rows of ``prototypes``.
        prototypes (Tensor): (C, D), of unit length.
        temperature (float): Divides the cosines. Defaults to 0.1.
        foreground_only (bool): Whether background pixels add nothing; the
            sum is still divided by the number of all pixels.
            Defaults to False.

    Returns:
        Tensor: A scalar, the mean over pixels.
    """
    cosines = torch.einsum('ndhw,cd->nchw', F.normalize(feats, dim=1),
                           prototypes)
    losses = F.cross_entropy(
        cosines / temperature, pseudo_labels, reduction='none')
    if foreground_only:
        losses = losses * (pseudo_labels != 0)
    return losses.mean()


def intra_view_weights(
        cosines: Tensor,
        pseudo_labels: Tensor,
        num_planes: int,
        picks: Sequence[Tensor] | None = None,
        generator: torch.Generator | None = None) -> Tensor:
    """How much each pixel counts in the intra-view term.

    Of each class a random half of the pixels and a semi-hard half: of the 60 %
    that are least like their prototype, the most similar ones. Both together
    have a mean, and the classes that occur have one; a class of a single
    pixel adds nothing to it.

    Args:
        cosines (Tensor): Of each pixel and its class's prototype, (P,).
        pseudo_labels (Tensor): Class of each pixel, int64 (P,).
        num_planes (int): Classes with background, K + 1.
        picks (Sequence[Tensor], optional): For each class the random half,
            positions among the pixels of that class; not read for classes of
            one pixel or none. None draws them.
        generator (Generator, optional): For the draw, on the CPU.

    Returns:
        Tensor: (P,), not negative.
    """
    weights = torch.zeros_like(cosines)
    counts = count_labels(pseudo_labels, num_planes).tolist()
    num_classes = sum(count > 0 for count in counts)
    # The pixels of one class after those of another.
    ordered, end = pseudo_labels.argsort(stable=True), 0
    for c, count in enumerate(counts):
        half, start = count // 2, end
        end += count
        if not half:
            continue
        members = ordered[start:end]
        if picks is None:
            drawn = torch.randperm(count, generator=generator)[:half]
        else:
            drawn = picks[c]
        hard = cosines[members].topk(
            int(HARD_SHARE * count), largest=False, sorted=True)[1]
        # The hardest ones, too many for a half, are left out.
        chosen = torch.cat((send(drawn, hard.device), hard[-half:]))
        share = cosines.new_full((), 1 / (2 * half * num_classes))
        # A pixel may be in both halves.
        weights.index_put_((members[chosen], ), share, accumulate=True)
    return weights


def intra_view_contrast(
        feats: Tensor,
        pseudo_labels: Tensor,
        prototypes: Tensor,
        temperature: float = 0.1,
        picks: Sequence[Tensor] | None = None,
        generator: torch.Generator | None = None,
        images: GlobalBatch | None = None) -> Tensor:
    """Pixels against prototypes and labels of their own view.

    A pixel is compared with its class's prototype and with those ranked 4th
    to 13th by similarity, its own perhaps among them; pixels are weighted by
    :func:`intra_view_weights`.

    Args:
        feats (Tensor): (N, D, h, w), of any length.
        pseudo_labels (Tensor): int64 (N, h, w), rows of ``prototypes``.
        prototypes (Tensor): (K + 1, D), of unit length.
        temperature (float): Divides the cosines. Defaults to 0.1.
        picks (Sequence[Tensor], optional): See :func:`intra_view_weights`.
        generator (Generator, optional): See there.
        images (GlobalBatch, optional): Where the images stand in the global
            batch, whose pixels are weighted then. None takes these for all.

    Returns:
        Tensor: A scalar; its mean over processes is that of one process with
        all images.
    """
    unit = F.normalize(feats, dim=1).flatten(2).transpose(1, 2)
    owners = pseudo_labels.flatten(1)
    cosines = unit @ prototypes.t()
    positive = cosines.gather(2, owners[..., None])
    ranked = cosines.topk(min(NEGATIVE_RANKS.stop, cosines.shape[2]))[0]
    keys = torch.cat((positive, ranked[..., NEGATIVE_RANKS]), dim=2)
    losses = -(keys / temperature).log_softmax(dim=2)[..., 0]

    likeness, world_size = positive[..., 0].detach(), 1
    if images is not None:
        likeness, owners = images.gather(likeness), images.gather(owners)
        world_size = get_world_size()
    weights = intra_view_weights(likeness.flatten(), owners.flatten(),
                                 len(prototypes), picks, generator)
    weights = weights.view_as(likeness)
    if images is not None:
        weights = weights[images.places]
    return world_size * (weights * losses).sum()


@MODELS.register_module()
class PixelPrototypeContrast(Regularizer):
    """Pixel-to-prototype contrast (PPC, arXiv 2110.07110).

    Features are projected to a few channels, each class gets a prototype in
    each of two views, and every pixel is drawn to a class's prototype and
    pushed from all others:

    - ``loss_cross_prototype``: prototypes of the other view, labels of the
      pixel's own.
    - ``loss_cross_label``: own prototypes, labels of the other view.
    - ``loss_intra_view``: prototypes and labels of its own view, see
      :func:`intra_view_contrast`.

    Labels are the strongest of the refined maps and a constant background
    score (:func:`~mmwsss.models.utils.pixel_selection.scores_from_maps`);
    labels and prototypes have no gradient. The first view's features and maps
    are brought to the second's grid, the small one of SEAM. Prototypes and
    random halves are those of the global batch, however it is spread over
    processes. The halves are drawn from a generator of their own whose seed
    and step are buffers, so a resumed run goes on exactly.

    The published settings:

    ==================  ====  ====  ==========
    base                SEAM  EPS   inside FBR
    ==================  ====  ====  ==========
    background_score    0.2   0.1   0.1
    area_divisor        8     16    16
    foreground_only     no    no    yes
    intra_weight        0.1   0.1   0
    ==================  ====  ====  ==========

    Args:
        in_channels (int): Channels of the feature map read.
        num_classes (int): Classes without background.
        embed_dims (int): Channels D of the projection. Defaults to 128.
        in_index (int): Which of the backbone's feature maps to read.
            Defaults to -1.
        background_score (float): Constant score of the background.
            Defaults to 0.2.
        area_divisor (int): A prototype is made from a whole batch's best
            h * w / area_divisor pixels, rounded down, at least one.
            Defaults to 8.
        foreground_only (bool): Whether background pixels are left out, and
            prototypes made only where the class won, in images where it won
            anywhere. Defaults to False.
        temperature (float): Divides all cosines. Defaults to 0.1.
        cross_weight (float): Weight of ``loss_cross_prototype`` and
            ``loss_cross_label``. Defaults to 0.1.
        intra_weight (float): Weight of ``loss_intra_view``; 0 leaves it out.
            Defaults to 0.1.
        init_cfg (dict, optional): Initialisation. Defaults to uniform Xavier.

    Raises:
        ValueError: If a weight is negative, both are 0, or ``temperature``
            or ``area_divisor`` is not positive.
    """
    needs_second_view = True
    needs_refined_cams = True
    detaches_refined_cams = True

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        embed_dims: int = 128,
        in_index: int = -1,
        background_score: float = 0.2,
        area_divisor: int = 8,
        foreground_only: bool = False,
        temperature: float = 0.1,
        cross_weight: float = 0.1,
        intra_weight: float = 0.1,
        init_cfg: dict | None = dict(
            type='Xavier', layer='Conv2d', distribution='uniform')
    ) -> None:
        super().__init__(init_cfg)
        weights = (cross_weight, intra_weight)
        if min(weights) < 0 or max(weights) == 0:
            raise ValueError(
                'PixelPrototypeContrast needs cross_weight and intra_weight '
                f'>= 0 and one above 0, got {weights}.')
        for name, value in (('temperature', temperature), ('area_divisor',
                                                           area_divisor)):
            if value <= 0:
                raise ValueError(f'PixelPrototypeContrast needs {name} > 0, '
                                 f'got {value}.')
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.in_index = in_index
        self.background_score = background_score
        self.area_divisor = area_divisor
        self.foreground_only = foreground_only
        self.temperature = temperature
        self.cross_weight = cross_weight
        self.intra_weight = intra_weight
        self.projection = nn.Conv2d(in_channels, embed_dims, 1, bias=False)
        if intra_weight > 0:
            self._seed, self._step = HostValue(), HostValue()
            self.register_buffer('step', torch.tensor(0))
            # The run's seed, which a Runner sets before it builds a model. A
            # buffer, so that all processes have that of rank 0.
            self.register_buffer('seed',
                                 torch.tensor(torch.initial_seed() % 2**32))

    # Sizes follow the data: every step would be compiled anew.
    @torch.compiler.disable
    def forward(self, pair: ViewPair) -> dict[str, Tensor]:
        """The terms of positive weight.

        Args:
            pair (ViewPair): Two views, with tags, and ``transform``; their
                ``feats`` and ``refined_cams`` are read. Of the samples,
                ``img_id``, for ``loss_intra_view`` only.

        Returns:
            dict[str, Tensor]: Of ``loss_cross_prototype``,
            ``loss_cross_label`` and ``loss_intra_view``.

        Raises:
            ValueError: If the feature map has another number of channels or
                the tags another number of classes than configured, or batches
                differ in shape between processes.
        """
        labels = pair.first.labels
        feats = [v.feats[self.in_index] for v in pair.views]
        if feats[0].shape[1] != self.in_channels:
            raise ValueError(
                f'PixelPrototypeContrast has in_channels={self.in_channels}, '
                f'but feature map {self.in_index} of the backbone has '
                f'{feats[0].shape[1]} channels. Set in_channels to it.')
        if labels.shape[1] != self.num_classes:
            raise ValueError(
                f'PixelPrototypeContrast has num_classes={self.num_classes}, '
                f'the tags are of {labels.shape[1]} classes. Set '
                'num_classes to it.')
        maps = [v.refined_cams.detach()[:, 1:] for v in pair.views]
        projected = [self.projection(x).relu() for x in feats]
        # Half precision could not tell close neighbours from ties.
        with torch.autocast(feats[0].device.type, enabled=False):
            size = projected[1].shape[-2:]
            projected = [x.float() for x in projected]
            maps = [x.float() for x in maps]
            projected[0], maps[0] = (
                resized(pair.transform(x), size)
                for x in (projected[0], maps[0]))
            maps[1] = resized(maps[1], size)
            images = None
            if self.intra_weight > 0:
                images = GlobalBatch.of(
                    [s.img_id for s in pair.data_samples], maps[1])
            return self.terms(projected, maps, labels, images=images)

    def terms(self,
              feats: Sequence[Tensor],
              maps: Sequence[Tensor],
              labels: Tensor,
              indices: Sequence[Tensor | None] = (None, None),
              picks: Sequence[Sequence[Tensor] | None] = (None, None),
              images: GlobalBatch | None = None) -> dict[str, Tensor]:
        """Losses of two views on one grid.

        Args:
            feats (Sequence[Tensor]): Projected features of both views
                (N, D, h, w), float32.
            maps (Sequence[Tensor]): Their CAMs (N, K, h, w).
            labels (Tensor): Multi-hot tags (N, K).
            indices (Sequence[Tensor]): See :func:`unit_prototypes`.
            picks (Sequence): See :func:`intra_view_weights`. None draws.
            images (GlobalBatch, optional): See :func:`intra_view_contrast`.

        Returns:
            dict[str, Tensor]: See :meth:`forward`.
        """
        targets, prototypes = self.targets(feats, maps, labels, indices)
        losses = {}
        if self.cross_weight > 0:
            # Labels and prototypes that the pixels of the views meet.
            for name, ids, anchors in (('prototype', targets,
                                        prototypes[::-1]),
                                       ('label', targets[::-1], prototypes)):
                losses[f'loss_cross_{name}'] = self.cross_weight / 2 * sum(
                    prototype_contrast(*view, self.temperature,
                                       self.foreground_only)
                    for view in zip(feats, ids, anchors))
        if self.intra_weight > 0:
            generator = torch.Generator().manual_seed(
                self._seed.read(self.seed) * 1000003 +
                self._step.read(self.step))
            self._step.write(self.step, self._step.read(self.step) + 1)
            losses['loss_intra_view'] = self.intra_weight / 2 * sum(
                intra_view_contrast(*view, self.temperature, halves,
                                    generator, images)
                for *view, halves in zip(feats, targets, prototypes, picks))
        return losses

    def targets(
        self, feats: Sequence[Tensor], maps: Sequence[Tensor], labels: Tensor,
        indices: Sequence[Tensor | None]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Pseudo labels and prototypes of the views, see :meth:`terms`.

        Returns:
            tuple: Of int64 (N, h, w) and of (K + 1, D), for each view.
        """
        targets, prototypes = [], []
        for x, planes, chosen in zip(feats, maps, indices):
            _, scores, ids = scores_from_maps(planes, labels,
                                              self.background_score)
            targets.append(ids)
            if self.foreground_only:
                scores = keep_assigned(scores, ids)
            count = max(planes[0, 0].numel() // self.area_divisor, 1)
            prototypes.append(unit_prototypes(scores, x, count, chosen))
        return targets, prototypes


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (N, C, *size), bilinear with aligned corners."""
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode='bilinear', align_corners=True)
