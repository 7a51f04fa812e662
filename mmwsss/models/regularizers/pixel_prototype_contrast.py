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
from ..utils.unit_vectors import unit_vectors
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
    drop = ~won & (won.flatten(2).any(dim=2) & (ids > 0))[..., None, None]
    return scores.masked_fill(drop, 0.)


def best_pixels(scores: Tensor, count: int) -> Tensor:
    """Weights that pick the best pixels of each class in the global batch.

    Pixels that tie for the last places share them, so the choice depends
    neither on an order nor on how images are spread over processes. For a
    constant map, such as the background's, it is all pixels alike.

    Args:
        scores (Tensor): (..., C, P), of all pixels of this process.
        count (int): Pixels per class, at least 1 and at most P.

    Returns:
        Tensor: (..., C, P) in [0, 1]; each row adds up to ``count`` over all
        processes.
    """
    best = scores.topk(count, dim=-1)[0].contiguous()
    if get_world_size() > 1:
        best = torch.cat(all_gather(best), dim=-1).topk(count, dim=-1)[0]
    last = best[..., -1:]
    kinds = torch.stack((scores > last, scores == last))
    counts = kinds.sum(dim=-1, keepdim=True)
    all_reduce(counts)
    share = (count - counts[0]) / counts[1].clamp(min=1)
    return kinds[0] + kinds[1] * share


@torch.no_grad()
def unit_prototypes(scores: Tensor,
                    feats: Tensor,
                    count: int,
                    indices: Tensor | None = None) -> Tensor:
    """Mean feature of the best pixels of each class, of unit length.

    The direction of sum(N z) / sum(N) over the ``count`` pixels of the global
    batch with the highest score N.

    Args:
        scores (Tensor): N, (..., N, C, h, w).
        feats (Tensor): z, (..., N, D, h, w).
        count (int): Pixels per class.
        indices (Tensor, optional): int64 (..., C, count), which pixels to
            take, counted through images, rows and columns. None takes the
            best.

    Returns:
        Tensor: (..., C, D), without gradient; a zero row where the scores of
        the pixels add up to 0.
    """
    scores = scores.transpose(-4, -3).flatten(-3)
    if indices is None:
        picked = best_pixels(scores, count)
    else:
        picked = torch.zeros_like(scores).scatter_(-1, indices, 1.)
    weights = picked * scores
    sums = weights @ feats.transpose(-4, -3).flatten(-3).mT
    total = weights.sum(dim=-1, keepdim=True)
    all_reduce(sums)
    all_reduce(total)
    # The length is lost anyway; a negative total turns the direction.
    return F.normalize(sums, dim=-1) * total.sign()


def cosines_of(feats: Tensor, prototypes: Tensor) -> Tensor:
    """Cosines of all pixels with all prototypes.

    Args:
        feats (Tensor): Of V views (V, N, D, h, w), of any length.
        prototypes (Tensor): Of W views (W, C, D), of unit length.

    Returns:
        Tensor: (V, N * h * w, W, C).
    """
    unit = unit_vectors(feats, dim=2).movedim(2, -1).flatten(1, 3)
    cosines = unit @ prototypes.flatten(0, 1).t()
    return cosines.unflatten(2, prototypes.shape[:2])


def prototype_contrast(cosines: Tensor,
                       pseudo_labels: Tensor,
                       temperature: float = 0.1,
                       foreground_only: bool = False) -> Tensor:
    """Cross entropy of each pixel's cosines with the prototypes of a view.

    Args:
        cosines (Tensor): Of pixels of V views with the prototypes of W,
            (V, P, W, C).
        pseudo_labels (Tensor): Prototypes that the pixels belong to, int64
            (W, P).
        temperature (float): Divides the cosines. Defaults to 0.1.
        foreground_only (bool): Whether background pixels add nothing; the
            sum is still divided by the number of all pixels.
            Defaults to False.

    Returns:
        Tensor: (V, W), means over pixels.
    """
    labels = pseudo_labels.t().expand(len(cosines), -1, -1)
    losses = F.cross_entropy(
        cosines.flatten(0, 2) / temperature,
        labels.flatten(),
        reduction='none').view_as(labels)
    if foreground_only:
        losses = losses * (labels != 0)
    return losses.mean(dim=1)


def intra_view_weights(
        cosines: Tensor,
        pseudo_labels: Tensor,
        num_planes: int,
        picks: Sequence[Sequence[Tensor] | None] | None = None,
        generator: torch.Generator | None = None) -> Tensor:
    """How much each pixel counts in the intra-view term.

    Of each class a random half of the pixels and a semi-hard half: of the 60 %
    that are least like their prototype, the most similar ones. Both together
    have a mean, and the classes that occur have one; a class of a single
    pixel adds nothing to it.

    Args:
        cosines (Tensor): Of each pixel and its class's prototype, (V, P).
        pseudo_labels (Tensor): Class of each pixel, int64 (V, P).
        num_planes (int): Classes with background, K + 1.
        picks (Sequence, optional): For each view and class the random half,
            positions among the pixels of that class; not read for classes of
            one pixel or none. None, also of a view, draws them.
        generator (Generator, optional): For the draw, on the CPU.

    Returns:
        Tensor: (V, P), not negative.
    """
    num_views, num_pixels = cosines.shape
    first = torch.arange(
        0, num_views * num_planes, num_planes, device=cosines.device)
    groups = (pseudo_labels + first[:, None]).flatten()
    counts = count_labels(groups, num_views * num_planes).tolist()
    # The pixels of one class after those of another; then also by cosine.
    ordered = groups.argsort(stable=True)
    by_cosine = cosines.flatten().argsort()
    ranked = by_cosine[groups[by_cosine].argsort(stable=True)]
    places, shares, start = [], [], 0
    for g, count in enumerate(counts):
        v, c = divmod(g, num_planes)
        half, hard = count // 2, int(HARD_SHARE * count)
        if half:
            if picks is None or picks[v] is None:
                drawn = torch.randperm(count, generator=generator)[:half]
            else:
                drawn = picks[v][c]
            # The hardest ones, too many for a half, are left out.
            rest = torch.arange(max(hard - half, 0), hard) + len(groups)
            places += [drawn + start, rest + start]
            in_view = counts[v * num_planes:(v + 1) * num_planes]
            share = 1 / (2 * half * sum(n > 0 for n in in_view))
            shares.append(torch.full((len(drawn) + len(rest), ), share))
        start += count
    weights = torch.zeros_like(groups, dtype=cosines.dtype)
    if places:
        chosen = torch.cat((ordered, ranked))[send(
            torch.cat(places), groups.device)]
        # A pixel may be in both halves.
        weights.index_put_(
            (chosen, ),
            send(torch.cat(shares), groups.device).to(weights),
            accumulate=True)
    return weights.view(num_views, num_pixels)


def intra_view_contrast(
        cosines: Tensor,
        pseudo_labels: Tensor,
        temperature: float = 0.1,
        picks: Sequence[Sequence[Tensor] | None] | None = None,
        generator: torch.Generator | None = None,
        images: GlobalBatch | None = None) -> Tensor:
    """Pixels against prototypes and labels of their own view.

    A pixel is compared with its class's prototype and with those ranked 4th
    to 13th by similarity, its own perhaps among them; pixels are weighted by
    :func:`intra_view_weights`.

    Args:
        cosines (Tensor): Of the pixels of each view with its prototypes,
            (V, N, P, K + 1).
        pseudo_labels (Tensor): int64 (V, N, P).
        temperature (float): Divides the cosines. Defaults to 0.1.
        picks (Sequence, optional): See :func:`intra_view_weights`.
        generator (Generator, optional): See there.
        images (GlobalBatch, optional): Where the images stand in the global
            batch, whose pixels are weighted then. None takes these for all.

    Returns:
        Tensor: A scalar, the sum over views; its mean over processes is that
        of one process with all images.
    """
    positive = cosines.gather(3, pseudo_labels[..., None])
    ranked = cosines.topk(min(NEGATIVE_RANKS.stop, cosines.shape[3]))[0]
    keys = torch.cat((positive, ranked[..., NEGATIVE_RANKS]), dim=3)
    likenesses = keys.div(temperature).log_softmax(dim=3)[..., 0]

    likeness, owners, world_size = positive[..., 0].detach(), pseudo_labels, 1
    if images is not None:
        likeness, owners = (
            images.gather(x.transpose(0, 1)).transpose(0, 1)
            for x in (likeness, owners))
        world_size = get_world_size()
    weights = intra_view_weights(
        likeness.flatten(1), owners.flatten(1), cosines.shape[3], picks,
        generator).view_as(likeness)
    if images is not None:
        weights = weights[:, images.places]
    return -world_size * (weights * likenesses).sum()


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
            return self.terms(
                torch.stack(projected),
                torch.stack(maps),
                labels,
                images=images)

    def terms(self,
              feats: Tensor,
              maps: Tensor,
              labels: Tensor,
              indices: Tensor | None = None,
              picks: Sequence[Sequence[Tensor] | None] | None = None,
              images: GlobalBatch | None = None) -> dict[str, Tensor]:
        """Losses of two views on one grid.

        Args:
            feats (Tensor): Projected features of both views (2, N, D, h, w),
                float32.
            maps (Tensor): Their CAMs (2, N, K, h, w).
            labels (Tensor): Multi-hot tags (N, K).
            indices (Tensor, optional): See :func:`unit_prototypes`.
            picks (Sequence, optional): See :func:`intra_view_weights`.
            images (GlobalBatch, optional): See :func:`intra_view_contrast`.

        Returns:
            dict[str, Tensor]: See :meth:`forward`.
        """
        targets, prototypes = self.targets(feats, maps, labels, indices)
        cosines = cosines_of(feats, prototypes)
        losses = {}
        if self.cross_weight > 0:
            # Prototypes of a view always meet the labels of the other.
            (own1, other1), (other2, own2) = self.cross_weight / 2 * \
                prototype_contrast(cosines, targets.flatten(1).flip(0),
                                   self.temperature, self.foreground_only)
            losses['loss_cross_prototype'] = other1 + other2
            losses['loss_cross_label'] = own1 + own2
        if self.intra_weight > 0:
            generator = torch.Generator().manual_seed(
                self._seed.read(self.seed) * 1000003 +
                self._step.read(self.step))
            self._step.write(self.step, self._step.read(self.step) + 1)
            own = cosines.diagonal(dim1=0, dim2=2).movedim(-1, 0)
            losses['loss_intra_view'] = self.intra_weight / 2 * \
                intra_view_contrast(
                    own.unflatten(1, (feats.shape[1], -1)),
                    targets.flatten(2), self.temperature, picks, generator,
                    images)
        return losses

    def targets(self,
                feats: Tensor,
                maps: Tensor,
                labels: Tensor,
                indices: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Pseudo labels and prototypes of the views, see :meth:`terms`.

        Returns:
            tuple[Tensor, Tensor]: int64 (2, N, h, w) and (2, K + 1, D).
        """
        _, scores, ids = scores_from_maps(
            maps.flatten(0, 1), labels.repeat(len(maps), 1),
            self.background_score)
        if self.foreground_only:
            scores = keep_assigned(scores, ids)
        count = max(maps[0, 0, 0].numel() // self.area_divisor, 1)
        views = maps.shape[:2]
        return ids.unflatten(0, views), unit_prototypes(
            scores.unflatten(0, views), feats, count, indices)


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (N, C, *size), bilinear with aligned corners."""
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode='bilinear', align_corners=True)
