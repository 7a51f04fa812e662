"""FBR: foreground pixels against fine-grained background and each other."""
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.dist import get_world_size
from torch import Tensor, nn

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import ViewOutput, ViewPair
from mmwsss.utils.transfer import send

from ..losses.info_nce import class_weights, contrast, with_positives
from ..utils.feature_bank import FeatureBank
from ..utils.global_batch import GlobalBatch
from ..utils.host_value import HostValue
from ..utils.kmeans import NUM_CANDIDATES, cluster_points
from ..utils.pixel_selection import (
    count_labels,
    hard_pixels,
    own_scores,
    pixel_entropy,
    scores_from_logits,
    scores_from_maps,
    select_queries,
    sure_pixels,
)
from ..utils.prototypes import (
    EPS,
    class_prototypes,
    draw_negatives,
    semantic_graph,
)
from ..utils.unit_vectors import unit_vectors
from .regularizer import Regularizer


def background_target(cams: Tensor,
                      labels: Tensor,
                      threshold: float = 0.05) -> Tensor:
    """Where the tagged classes hardly show (FBR, Eq. 6).

    Args:
        cams (Tensor): Raw CAMs (N, K, h, w).
        labels (Tensor): Multi-hot tags (N, K); nan where nobody knows.
        threshold (float): Of the sum of the present maps' positive parts,
            each divided by its maximum + 1e-5; background is below.
            Defaults to 0.05.

    Returns:
        Tensor: float32 (N, h, w), 1 = background; all of an image without
        classes. Without gradient.
    """
    return _background(cams, (labels > 0)[None], threshold)[0]


def background_weight(cams: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`background_target`, and what leaves out possible objects.

    Args:
        cams (Tensor): Raw CAMs (N, K, h, w).
        labels (Tensor): Multi-hot tags (N, K); nan where nobody knows.

    Returns:
        tuple[Tensor, Tensor]: The target, and a weight: float32 (N, h, w), 0
        for background where a class shows that nobody knows about, else 1.
    """
    target, unlike = _background(
        cams, torch.stack((labels > 0, labels.isnan())))
    return target, 1 - target * (1 - unlike)


def _background(cams: Tensor, chosen: Tensor,
                threshold: float = 0.05) -> Tensor:
    """Where the chosen classes, bool (S, N, K), hardly show: (S, N, h, w)."""
    maps = cams.detach().float().relu()
    maps = maps / (maps.amax(dim=(2, 3), keepdim=True) + 1e-5)
    shown = maps.masked_fill(~chosen[..., None, None], 0).sum(dim=2)
    return (shown < threshold).float()


def finite(x: Tensor) -> Tensor:
    """Constant in float32, with 0 for what is not a finite number.

    A step that overflows in half precision is to be skipped for its loss. It
    must not stop the run where classes are drawn, nor spoil a bank.
    """
    return x.detach().float().nan_to_num(0., 0., 0.)


def count_pixels(
        labels: Tensor, hard: Tensor,
        num: int) -> tuple[list[list[list[int]]], list[list[int]]]:
    """All numbers of pixels that the host needs, in one copy.

    Args:
        labels (Tensor): int64 (N, V, h, w), from 0 to ``num`` - 1.
        hard (Tensor): Bool (N, V, h, w).
        num (int): Classes with background.

    Returns:
        tuple: For each image and view the pixels of each class; for each view
        the hard pixels of each class in all images.
    """
    # Hard ones are counted as classes of their own.
    counts = count_labels((labels + num * hard).flatten(2), 2 * num).tolist()
    pixels = [[[a + b for a, b in zip(c[:num], c[num:])] for c in image]
              for image in counts]
    return pixels, [[sum(c[num + k] for c in view) for k in range(num)]
                    for view in zip(*counts)]


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear with corners aligned, nothing where the size is right."""
    if maps.shape[2:] == tuple(size):
        return maps
    return F.interpolate(
        maps, size=tuple(size), mode='bilinear', align_corners=True)


def stack_views(maps: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Maps of each view, (N, C, .., ..), as (N, V, C, *size)."""
    return torch.stack([resize(x, size) for x in maps], dim=1)


class Pixels(NamedTuple):
    """Positions of the global batch of N' images in V views.

    Attributes:
        own_background (Tensor): Where the N images of this process show
            background, bool (N, V, h, w).
        ids (Tensor): Pseudo label + V's number * (K + 1), int64
            (N', V, h, w): classes of different views are different ones.
        scores (Tensor): Of the pseudo label, (N', V, h, w).
        hard (Tensor): Whether it is a query, bool (N', V, h, w).
        counts (list): For each image and view the pixels of each label.
        hard_counts (list): For each view the hard pixels of each label.
    """
    own_background: Tensor
    ids: Tensor
    scores: Tensor
    hard: Tensor
    counts: list[list[list[int]]]
    hard_counts: list[list[int]]


@MODELS.register_module()
class FineGrainedBackgroundContrast(Regularizer):
    """Fine-grained background representation (FBR, arXiv 2406.15755).

    Two 1x1 convolutions with a ReLU take the features into a foreground space
    Z_fg and a background space Z_bg. Positions get pseudo labels from the
    model's own maps. The hard ones among the foreground, unsure of their
    class, are queries: each is pulled to the prototype of its class in the
    batch and pushed away from

    - ``loss_bg_contrast`` (Eq. 7): negative regions of interest, the k-means
      centroids of the background features of each image. They come from a
      bank that the global batch enters first.
    - ``loss_fg_contrast`` (Eq. 9): features of other classes in the batch, of
      similar classes more often.

    Both train Z_fg alone. Means over the queries of each class are averaged
    over all classes in the pseudo labels; with fewer than one class, for Eq. 9
    fewer than two, and before ``start_iter`` they are 0.

    - ``loss_similarity``: mean cosine of both spaces at a position, which
      keeps them apart.
    - ``loss_background_seg`` (Eq. 6): which positions are background, by a
      BN, ReLU, dropout and a 1x1 convolution on top of that of Z_bg, against
      :func:`background_target`. With this term it is the output of its ReLU
      that ``loss_similarity`` compares with Z_fg, as published.

    With ``both_views`` all terms are means over two views, each with a bank of
    its own; classes of different views never meet. Queries, prototypes, draws
    and banks are those of the images of all processes (:class:`GlobalBatch`),
    all random numbers come from a generator of their own, and banks, seed and
    step are part of a checkpoint.
    All but the convolutions is in float32 under mixed precision.

    In the published code both contrastive terms of setting I, and Eq. 7 of
    setting I+S, receive detached features and hence train nothing, and Eq. 7
    runs over the wrong axis. This follows the equations. It also caps the
    queries of a class, leaves absent classes out of the pseudo labels, and
    makes 10 steps of k-means on the device.

    The settings of the paper are

    ==================  =================  ======================
    argument            I (on AMN)         I+S (on EPS and PPC)
    ==================  =================  ======================
    scores              'pixel_logits'     'refined_cams'
    unsure_ratio        0.4                0.6
    entropy_quantile    0.25               0.10
    top_share           1 / 32             1 / 16
    grid                None               (16, 16)
    both_views          False              True
    bank_size           100 000            50 000
    bg_weight           0.05               0.01
    ==================  =================  ======================

    Args:
        in_channels (int): Channels of the feature map read.
        num_classes (int): Classes without background, K.
        embed_dims (int): Channels D of both spaces. Defaults to 128.
        in_index (int): Which of the backbone's feature maps to read.
            Defaults to -1.
        scores (str): What positions are labelled from:
            ``'pixel_logits'`` of a head that scores the background
            (:func:`scores_from_logits`), ``'refined_cams'`` or, for models
            without a refiner, ``'cams'`` (:func:`scores_from_maps`; the
            entropy of background positions is then 0).
            Defaults to 'pixel_logits'.
        unsure_ratio (float): Share of the pixels of a class that are not
            sure, see :func:`sure_pixels`. In [0, 1). Defaults to 0.4.
        entropy_quantile (float): See :func:`hard_pixels`. Defaults to 0.25.
        top_share (float): Pixels that make a prototype, as a share of the
            pixels of one image. Defaults to 1 / 32.
        grid (tuple[int, int], optional): Rows and columns to which maps of
            another size are brought for the contrastive terms. None takes
            those of the features, of two views the second's. Defaults to
            None.
        both_views (bool): Whether the second view takes part.
            Defaults to False.
        temperature (float): Of both contrastive terms and the choice of
            classes. Defaults to 0.5.
        num_negatives (int): Per query and term. Defaults to 256.
        num_clusters (int): Regions of an image, K of k-means. Defaults to 8.
        bank_size (int): Regions in a bank. Defaults to 100000.
        max_queries (int, optional): Of a class, at random. None takes all.
            Defaults to 256.
        bg_weight (float): Weight of ``loss_bg_contrast``. Defaults to 0.05.
        fg_weight (float): Weight of ``loss_fg_contrast``. Defaults to 0.1.
        sim_weight (float): Weight of ``loss_similarity``. Defaults to 0.1.
        seg_weight (float): Weight of ``loss_background_seg``. Defaults to
            0.1; 0 for setting I as released.
        norm_eval (bool): Whether that BN keeps its initial statistics and
            parameters, with which the published code trains; it is then
            nearly the identity. Defaults to True.
        start_iter (int): First training step with contrastive terms.
            Defaults to 0.
        init_cfg (dict, optional): Initialisation. Defaults to None:
            Xavier-uniform convolutions.

    Raises:
        ValueError: If ``scores`` is no known kind, a weight is negative, no
            term is left, or a number is out of its range.
    """

    detaches_refined_cams = True

    def __init__(self,
                 in_channels: int,
                 num_classes: int,
                 embed_dims: int = 128,
                 in_index: int = -1,
                 scores: str = 'pixel_logits',
                 unsure_ratio: float = 0.4,
                 entropy_quantile: float = 0.25,
                 top_share: float = 1 / 32,
                 grid: tuple[int, int] | None = None,
                 both_views: bool = False,
                 temperature: float = 0.5,
                 num_negatives: int = 256,
                 num_clusters: int = 8,
                 bank_size: int = 100000,
                 max_queries: int | None = 256,
                 bg_weight: float = 0.05,
                 fg_weight: float = 0.1,
                 sim_weight: float = 0.1,
                 seg_weight: float = 0.1,
                 norm_eval: bool = True,
                 start_iter: int = 0,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        name = type(self).__name__
        if scores not in ('pixel_logits', 'refined_cams', 'cams'):
            raise ValueError(f"{name} needs scores='pixel_logits', "
                             f"'refined_cams' or 'cams', got {scores!r}.")
        weights = (bg_weight, fg_weight, sim_weight, seg_weight)
        if min(weights) < 0 or max(weights) == 0:
            raise ValueError(
                f'{name} needs bg_weight, fg_weight, sim_weight and '
                f'seg_weight >= 0 and one above 0, got {weights}.')
        for key, value, right in (
            ('unsure_ratio in [0, 1)', unsure_ratio, 0 <= unsure_ratio < 1),
            ('entropy_quantile in [0, 1]', entropy_quantile,
             0 <= entropy_quantile <= 1),
            ('top_share in (0, 1]', top_share, 0 < top_share <= 1),
            ('temperature > 0', temperature, temperature > 0),
            ('num_negatives >= 1', num_negatives, num_negatives >= 1),
            ('num_clusters >= 1', num_clusters, num_clusters >= 1),
            ('max_queries >= 1 or None', max_queries,
             max_queries is None or max_queries >= 1)):
            if not right:
                raise ValueError(f'{name} needs {key}, got {value}.')
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.in_index = in_index
        self.scores = scores
        self.unsure_ratio = unsure_ratio
        self.entropy_quantile = entropy_quantile
        self.top_share = top_share
        self.grid = grid
        self.both_views = both_views
        self.temperature = temperature
        self.num_negatives = num_negatives
        self.num_clusters = num_clusters
        self.max_queries = max_queries
        self.bg_weight = bg_weight
        self.fg_weight = fg_weight
        self.sim_weight = sim_weight
        self.seg_weight = seg_weight
        self.norm_eval = norm_eval
        self.start_iter = start_iter
        self.needs_second_view = both_views
        self.needs_refined_cams = scores == 'refined_cams'
        self.needs_pixel_logits = scores == 'pixel_logits'

        # Parameters without a loss would stop distributed training.
        self.fg_conv = self.bg_conv = None
        if max(bg_weight, fg_weight, sim_weight) > 0:
            self.fg_conv = nn.Conv2d(in_channels, embed_dims, 1, bias=False)
        if max(bg_weight, sim_weight, seg_weight) > 0:
            self.bg_conv = nn.Conv2d(in_channels, embed_dims, 1, bias=False)
            # Then it stays a random projection.
            self.bg_conv.requires_grad_(max(sim_weight, seg_weight) > 0)
        if seg_weight > 0:
            self.seg_norm = nn.BatchNorm2d(embed_dims).train(not norm_eval)
            nn.init.constant_(self.seg_norm.bias, 1e-4)
            self.seg_norm.requires_grad_(not norm_eval)
            self.seg_dropout = nn.Dropout(0.5)
            self.seg_conv = nn.Conv2d(embed_dims, 1, 1, bias=False)
        for module in self.children():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
        self.banks = nn.ModuleList(
            FeatureBank(bank_size, embed_dims)
            for _ in range((1 + both_views) * (bg_weight > 0)))
        # The run's seed, which a Runner sets before it builds a model. A
        # buffer, so that all processes and a resumed run draw the same.
        self.register_buffer('seed',
                             torch.tensor(torch.initial_seed() % 2**32))
        self.register_buffer('step', torch.tensor(0))
        self._seed, self._step = HostValue(), HostValue()

    def train(self, mode: bool = True) -> 'FineGrainedBackgroundContrast':
        """Switch the mode; a BN that rests stays as it is."""
        super().train(mode)
        if self.norm_eval and self.seg_weight > 0:
            self.seg_norm.eval()
        return self

    # Sizes follow the data: every step would be compiled anew.
    @torch.compiler.disable
    def forward(self, pair: ViewPair) -> dict[str, Tensor]:
        """The terms of positive weight, and what they were made of.

        In training mode this also fills the banks.

        Args:
            pair (ViewPair): One view, or two with ``both_views``, with tags;
                ``feats`` and the maps that ``scores`` names are read, and
                ``cams`` by ``loss_background_seg``. Of the samples,
                ``img_id``.

        Returns:
            dict[str, Tensor]: Of ``loss_bg_contrast``, ``loss_fg_contrast``,
            ``loss_similarity`` and ``loss_background_seg``; and, for the log,
            ``contrast_queries``, the number of queries in the global batch,
            and ``contrast_bank``, the regions in the bank, each the mean over
            the views.

        Raises:
            ValueError: If the feature map has another number of channels or
                the tags another number of classes than configured.
        """
        views = pair.views if self.both_views else [pair.first]
        active = self._step.read(self.step) >= self.start_iter
        generator = self.generator(pair.first.image.device)
        for each in views:
            self.check(each)
        layout = None
        if active and self.contrasts:
            layout = GlobalBatch.of(
                [s.img_id for s in pair.data_samples],
                pair.first.feats[self.in_index])
        losses, spaces = {}, []
        for each in views:
            terms, maps = self.view_terms(each, 1 / len(views))
            spaces.append(maps)
            for name, value in terms.items():
                losses[name] = losses[name] + value if name in losses \
                    else value
        if self.contrasts:
            with torch.autocast(pair.first.image.device.type, enabled=False):
                losses.update(
                    self.contrast(*zip(*spaces), pair.first.labels.float(),
                                  layout, generator))
        if self.training:
            self._step.write(self.step, self._step.read(self.step) + 1)
        return losses

    @property
    def contrasts(self) -> bool:
        """Whether a contrastive term has a weight."""
        return self.bg_weight > 0 or self.fg_weight > 0

    def generator(self, device: torch.device) -> torch.Generator:
        """Random numbers of this step, the same in all processes."""
        seed = self._seed.read(self.seed) * 1000003 + \
            self._step.read(self.step)
        return torch.Generator(device).manual_seed(seed % 2**63)

    def check(self, view: ViewOutput) -> None:
        """Raise if the view does not fit the configuration."""
        channels = view.feats[self.in_index].shape[1]
        if channels != self.in_channels:
            raise ValueError(
                f'FineGrainedBackgroundContrast has in_channels='
                f'{self.in_channels}, but feature map {self.in_index} of the '
                f'backbone has {channels} channels. Set in_channels to it.')
        if view.labels.shape[1] != self.num_classes:
            raise ValueError(
                'FineGrainedBackgroundContrast has num_classes='
                f'{self.num_classes}, the tags are of {view.labels.shape[1]} '
                'classes. Set num_classes to it.')

    def view_terms(
        self, view: ViewOutput, share: float
    ) -> tuple[dict[str, Tensor], tuple[Tensor | None, ...]]:
        """What is computed of each view by itself.

        Args:
            view (ViewOutput): The view.
            share (float): What its terms are multiplied by.

        Returns:
            tuple: The weighted terms ``loss_similarity`` and
            ``loss_background_seg``; foreground space, background space (each
            (N, D, h, w) or None) and maps for :meth:`contrast`.
        """
        feats = view.feats[self.in_index]
        z_fg = z_bg = maps = cams = None
        if self.fg_conv is not None:
            z_fg = self.fg_conv(feats).relu().float()
        if self.bg_conv is not None:
            raw_bg = self.bg_conv(feats)
            z_bg = raw_bg.relu().float()
        # Not without gradient: who reads these maps next gets the same.
        if self.contrasts:
            maps = getattr(view, self.scores)
        if self.seg_weight > 0:
            cams = view.cams
        losses = {}
        with torch.autocast(feats.device.type, enabled=False):
            apart = z_bg
            if self.seg_weight > 0:
                apart = self.seg_norm(raw_bg.float()).relu()
                logits = self.seg_conv(self.seg_dropout(apart))
                cams = resize(cams.detach().float(), logits.shape[2:])
                losses['loss_background_seg'] = share * self.seg_weight * \
                    F.binary_cross_entropy_with_logits(
                        logits[:, 0],
                        *background_weight(cams, view.labels.float()))
            if self.sim_weight > 0:
                one, other = (
                    unit_vectors(z, dim=1, eps=EPS) for z in (z_fg, apart))
                positions = one[:, 0].numel()
                losses['loss_similarity'] = \
                    share * self.sim_weight / positions * (one * other).sum()
        return losses, (z_fg, z_bg, maps)

    @torch.no_grad()
    def label_positions(self, maps: Tensor,
                        tags: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What each position belongs to, how strongly, and if it is hard.

        Args:
            maps (Tensor): What ``scores`` names, with the background's plane
                (N, K + 1, h, w) or, for ``'cams'``, without.
            tags (Tensor): Multi-hot tags (N, K).

        Returns:
            tuple[Tensor, Tensor, Tensor]: Pseudo labels int64, their scores,
            and bool; each (N, h, w).
        """
        if self.scores == 'pixel_logits':
            pixels = scores_from_logits(maps, tags)
        else:
            pixels = scores_from_maps(maps[:, -self.num_classes:], tags)
        labels = pixels.labels
        entropy = pixel_entropy(pixels.prob)
        if self.scores != 'pixel_logits':
            entropy = entropy.masked_fill(labels == 0, 0)
        sure, _ = sure_pixels(pixels.scores, labels, self.unsure_ratio)
        hard, _ = hard_pixels(entropy, sure, self.entropy_quantile)
        return labels, own_scores(pixels.scores, labels), hard

    def contrast(self, z_fg: Sequence[Tensor], z_bg: Sequence[Tensor | None],
                 maps: Sequence[Tensor], tags: Tensor,
                 layout: GlobalBatch | None,
                 generator: torch.Generator) -> dict[str, Tensor]:
        """Both contrastive terms of all views, weighted.

        Of a mean over all processes, as their gradients get one.

        Args:
            z_fg (Sequence[Tensor]): Foreground space (N, D, h, w) of each
                view.
            z_bg (Sequence[Tensor | None]): Background space (N, D, h, w);
                needed with a bank.
            maps (Sequence[Tensor]): See :meth:`label_positions`.
            tags (Tensor): Multi-hot tags (N, K).
            layout (GlobalBatch, optional): None leaves the terms at 0.
            generator (Generator): For all draws.

        Returns:
            dict[str, Tensor]: The terms, and what :meth:`forward` logs.
        """
        size = self.grid or tuple(z_fg[-1].shape[2:])
        spaces = stack_views(z_fg, size)
        losses, num_queries = {}, 0
        if layout is not None:
            with torch.no_grad():
                pixels = self.label_pixels(
                    finite(stack_views(maps, size)), tags, layout)
                if len(self.banks):
                    self.extend_banks(
                        finite(stack_views(z_bg, size)), pixels, layout,
                        generator)
            losses, num_queries = self.contrast_queries(
                spaces, pixels, layout, generator)
        for name, weight in (('loss_bg_contrast', self.bg_weight),
                             ('loss_fg_contrast', self.fg_weight)):
            if weight > 0 and name not in losses:
                # In the graph, as distributed training expects.
                losses[name] = spaces.sum() * 0
        losses['contrast_queries'] = spaces.new_full(
            (), num_queries / len(z_fg))
        if len(self.banks):
            losses['contrast_bank'] = spaces.new_full(
                (), sum(map(len, self.banks)) / len(z_fg))
        return losses

    def label_pixels(self, maps: Tensor, tags: Tensor,
                     layout: GlobalBatch) -> Pixels:
        """What is known about the positions of the global batch.

        Args:
            maps (Tensor): Of :meth:`label_positions`, (N, V, ...).
            tags (Tensor): Multi-hot tags (N, K).
            layout (GlobalBatch): Of the N images.

        Returns:
            Pixels: See there.
        """
        n, num_views = maps.shape[:2]
        num = self.num_classes + 1
        own_labels, scores, hard = (
            x.unflatten(0, (n, num_views)) for x in self.label_positions(
                maps.flatten(0, 1), tags.repeat_interleave(num_views, dim=0)))
        labels, scores, hard = (
            layout.gather(x)
            for x in (own_labels, scores, hard.to(torch.uint8)))
        counts, hard_counts = count_pixels(labels, hard, num)
        first = torch.arange(0, num_views * num, num, device=maps.device)
        return Pixels(own_labels == 0, labels + first[:, None, None], scores,
                      (hard > 0) & (labels > 0), counts, hard_counts)

    def contrast_queries(
            self, spaces: Tensor, pixels: Pixels, layout: GlobalBatch,
            generator: torch.Generator) -> tuple[dict[str, Tensor], int]:
        """The contrastive terms that have something to contrast.

        Args:
            spaces (Tensor): Foreground space (N, V, D, h, w).
            pixels (Pixels): Of the global batch.
            layout (GlobalBatch): Of the N images.
            generator (Generator): For all draws.

        Returns:
            tuple[dict[str, Tensor], int]: Of ``loss_bg_contrast`` and
            ``loss_fg_contrast``, and the number of queries of all views.
        """
        num_views, num = spaces.shape[1], self.num_classes + 1
        positions = spaces.shape[3] * spaces.shape[4]
        # One row per position, view after view of an image.
        rows = spaces.movedim(2, -1)
        features = layout.gather(finite(rows)).flatten(0, -2)
        rows = rows.flatten(0, -2)
        ids, scores, hard = (
            x.flatten() for x in (pixels.ids, pixels.scores, pixels.hard))

        # What the host knows of each view.
        present = [[c for c in range(1, num) if sum(i[c] for i in images)]
                   for images in zip(*pixels.counts)]
        hard_counts = [[0, *c[1:]] for c in pixels.hard_counts]
        limit = self.max_queries or len(ids)
        asked = [[min(count, limit) for count in c] for c in hard_counts]
        weights = [
            class_weights(c, num_views * len(classes))
            for c, classes in zip(asked, present)
        ]
        has_bank = [len(bank) > 0 for bank in self.banks]
        has_other = [len(classes) > 1 for classes in present]

        def device_list(values: Sequence, dtype: torch.dtype) -> Tensor:
            return send(torch.tensor(values, dtype=dtype), ids.device)

        classes = device_list(
            [v * num + c for v, p in enumerate(present) for c in p],
            torch.int64)
        weights_bg, weights_fg = get_world_size() * device_list(
            [[w * there for c, there in zip(weights, has) for w in c]
             for has in (has_bank or [False] * num_views, has_other)],
            torch.float32)
        queries = select_queries(ids, hard, self.max_queries, generator,
                                 sum(hard_counts, []))
        query_ids = ids[queries]
        planes = scores.new_zeros(num_views * num, len(scores))
        prototypes = class_prototypes(
            features, planes.scatter_(0, ids[None], scores[None]),
            max(int(positions * self.top_share), 1))
        # Which queries lie in this process's images, and where.
        mine, local = layout.locate(queries, num_views * positions)
        own_ids = query_ids[mine]
        pulled = with_positives(rows[local], prototypes[own_ids],
                                self.temperature)
        totals, losses = [sum(c) for c in asked], {}
        if any(has_bank):
            keys, index = self.draw_regions(totals, generator)
            losses['loss_bg_contrast'] = self.bg_weight * (
                weights_bg[own_ids] *
                contrast(*pulled, keys, index[mine])).sum()
        if self.fg_weight > 0 and any(has_other):
            graph = semantic_graph(
                prototypes[classes], self.temperature,
                classes // num if num_views > 1 else None)
            # A view of one class has no negatives.
            start = 0 if has_other[0] else totals[0]
            end = len(queries) - (0 if has_other[-1] else totals[-1])
            index = draw_negatives(ids, classes, graph, query_ids[start:end],
                                   self.num_negatives, generator)
            if len(index) < len(queries):
                index = F.pad(index, (0, 0, start, len(queries) - end))
            losses['loss_fg_contrast'] = self.fg_weight * (
                weights_fg[own_ids] *
                contrast(*pulled, features, index[mine])).sum()
        return losses, len(queries)

    def draw_regions(self, totals: Sequence[int],
                     generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Negatives of the queries of each view from its bank.

        Args:
            totals (Sequence[int]): Queries of each view.
            generator (Generator): For the draws.

        Returns:
            tuple[Tensor, Tensor]: The banks (B, D), and rows of it, int64
            (sum(totals), num_negatives); row 0 where a bank is empty.
        """
        drawn, first = [], 0
        for bank, total in zip(self.banks, totals):
            shape = (total, self.num_negatives)
            if len(bank):
                index = bank.draw(shape, generator)
                drawn.append(index + first if first else index)
            else:
                drawn.append(
                    torch.zeros(
                        shape, dtype=torch.int64, device=bank.rows.device))
            first += len(bank)
        if len(drawn) == 1:
            return self.banks[0].rows[:first], drawn[0]
        keys = torch.cat([bank.rows[:len(bank)] for bank in self.banks])
        return keys, torch.cat(drawn)

    def extend_banks(self, z_bg: Tensor, pixels: Pixels,
                     layout: GlobalBatch, generator: torch.Generator) -> None:
        """Add the background regions of the global batch to the banks.

        Args:
            z_bg (Tensor): Background space (N, V, D, h, w).
            pixels (Pixels): Of the global batch.
            layout (GlobalBatch): Of the N images.
            generator (Generator): For the first centroids.
        """
        n, num_views = z_bg.shape[:2]
        uniforms = torch.rand(
            num_views,
            len(layout.order),
            self.num_clusters,
            NUM_CANDIDATES,
            generator=generator,
            device=z_bg.device)
        regions, _ = cluster_points(
            z_bg.flatten(0, 1).flatten(2).mT.contiguous(),
            pixels.own_background.flatten(0, 1).flatten(1), self.num_clusters,
            uniforms[:, layout.places].transpose(0, 1).flatten(0, 1))
        regions = layout.gather(regions.unflatten(0, (n, num_views)))
        if not self.training:
            return
        # The first ones of each image are there, as many as it has pixels.
        places = [[(i * num_views + v) * self.num_clusters + k
                   for i, image in enumerate(pixels.counts)
                   for k in range(min(image[v][0], self.num_clusters))]
                  for v in range(num_views)]
        chosen = send(
            torch.tensor(sum(places, []), dtype=torch.int64), z_bg.device)
        parts = regions.flatten(0, 2)[chosen].split([len(p) for p in places])
        for bank, part in zip(self.banks, parts):
            bank.enqueue(part)
