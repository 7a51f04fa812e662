"""Do ideas help where nothing is trained but linear heads? A table, voc_mini.

Every idea changes one thing of the stages of
configs/frozen/pipeline_voc-mini.py: classifier, CAMs, affinity, labels of sure
pixels, segmentation head, affinity. All heads, poolings, losses and
regularizers are those of the package, built from the configs; features come
from the caches and stay in memory, so an idea takes seconds per seed.

Settings are chosen on the training images alone: two thirds of the list (drawn
once, the same for all) train, the rest is scored. ``--final`` trains on the
whole list and scores the validation images; use it once, for what was chosen.

    python benchmarks/frozen_ideas.py --list
    python benchmarks/frozen_ideas.py --ideas default average hybrid
    # both ideas at once, and after PAMR
    python benchmarks/frozen_ideas.py --ideas default balanced+mirror --pamr
    python benchmarks/frozen_ideas.py --ideas default --final --train train

Ideas of one seed see the same images in the same order, so compare them seed
by seed. Results are kept in ``--out``, and finished runs are not run again.
Against the pipeline two things are simpler: probabilities of the head go to
the affinity's grid without being enlarged to the image between, and heads read
features that are rounded to bfloat16.
"""
import argparse
import json
import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from bench_papers_below import (
    HIGH,
    LOW,
    REPORTED,
    THRESHOLD,
    Score,
    enlarged,
)
from common import machine
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.datasets import PascalVOCDataset
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmwsss.evaluation import (
    ScoreBins,
    curve_from_confusion,
    curve_from_histogram,
    score_histogram,
)
from mmwsss.evaluation.functional import mean_of
from mmwsss.models.backbones.frozen_features import (
    FrozenBackbone,
    FrozenFeatures,
)
from mmwsss.models.localizers.fusion import normalize_maps
from mmwsss.models.losses.multilabel_loss import multilabel_loss
from mmwsss.models.refiners.frozen_affinity import cosine_affinity
from mmwsss.pseudo_labels.pamr import PAMR
from mmwsss.registry import MODELS
from mmwsss.structures.view_output import ViewOutput, ViewPair
from mmwsss.utils.io import atomic_write, make_folder
from mmwsss.utils.read_images import read_image, read_mask

ROOT = Path(__file__).resolve().parents[1]
CLASSIFIER_CONFIG = 'configs/frozen/cam_lite2_voc-mini.py'
HEAD_CONFIG = 'configs/frozen/linear_lite2-vit-tiny_voc-mini.py'
BATCH = 16
CLASSES = list(PascalVOCDataset.METAINFO['classes'])
#: How images are seen: (mirrored, long side for the classifier's network, for
#: the other one; None is that of the config).
VIEWS = dict(
    plain=(False, None, None),
    mirror=(True, None, None),
    finer=(False, None, 480),
    large=(False, 512, 480))
#: Of the split into images that train and images that are scored.
SPLIT_SEED, HELD_OUT = 0, 1 / 3


# ---------------------------------------------------------------- settings
@dataclass
class Classifier:
    """How the classifier is trained.

    Attributes:
        pooling (dict): In place of the config's; empty keeps it.
        all_features (bool): Whether it reads both networks.
        unit (bool): Whether features of a position get unit length.
        projection (int): Channels of a trained 1x1 convolution and ReLU
            before it; 0 is none. Batches then hold images of one grid.
        same_grid (bool): Whether batches hold images of one grid anyway.
        regularizer (dict): An extra loss.
        second (str): View that the regularizer compares with the plain one;
            it is classified as well.
        views (tuple): Of each image one is drawn.
        balanced (bool): Whether rare classes are drawn more often.
        decay (float): Of the weights.
        smoothing (float): Labels 0 and 1 become half of it and 1 - half.
        steps (int): Of 16 images.
    """
    pooling: dict = field(default_factory=dict)
    all_features: bool = False
    unit: bool = False
    projection: int = 0
    same_grid: bool = False
    regularizer: dict = field(default_factory=dict)
    second: str = ''
    views: tuple = ('plain', )
    balanced: bool = False
    decay: float = 0.01
    smoothing: float = 0.
    steps: int = 440


@dataclass
class Labels:
    """How CAMs are read and become labels.

    Attributes:
        views (tuple): Views whose CAMs are added.
        affinity (tuple): Views of the second network, whose results are
            added.
        power (float): Of the cosines.
        high, low (float): Thresholds of sure pixels.
    """
    views: tuple = ('plain', )
    affinity: tuple = ('plain', )
    power: float = 2.
    high: float = HIGH
    low: float = LOW


@dataclass
class Head:
    """How the segmentation head is trained.

    Attributes:
        loss (dict): In place of the config's; empty keeps it.
        views (tuple): Of each image one is drawn.
        unit (bool): As of the classifier.
        balanced (bool): As of the classifier.
        decay (float): Of the weights.
        steps (int): Of 16 images.
        rounds (int): Times it is trained; from the second on with labels
            that it made itself, knowing the image-level labels.
        sure (float): Lowest probability of such a label.
        truth (bool): Whether it is trained on the true masks: the ceiling of
            everything that makes better labels.
    """
    loss: dict = field(default_factory=dict)
    views: tuple = ('plain', )
    unit: bool = False
    balanced: bool = False
    decay: float = 0.01
    steps: int = 440
    rounds: int = 1
    sure: float = 0.
    truth: bool = False


@dataclass
class Test:
    """How the segmentation head is read.

    Attributes:
        views (tuple): Views whose probabilities are added.
        affinity (tuple): As of the labels.
        power (float): Of the cosines.
        prior (float): Without image-level labels, probabilities of a class
            are multiplied with the classifier's for the whole image to this
            power.
        smallest (float): Without image-level labels, classes are left out
            that cover less than this share of all foreground.
        corners (bool): Whether maps are enlarged for PAMR with their corners
            aligned, as it does by itself, or as everywhere else.
    """
    views: tuple = ('plain', )
    affinity: tuple = ('plain', )
    power: float = 2.
    prior: float = 0.
    smallest: float = 0.
    corners: bool = True


@dataclass
class Settings:
    """All stages; the default is what the configs do."""
    classifier: Classifier = field(default_factory=Classifier)
    labels: Labels = field(default_factory=Labels)
    head: Head = field(default_factory=Head)
    test: Test = field(default_factory=Test)

    def changed(self, changes: dict[str, dict]) -> 'Settings':
        """A copy with some fields of some stages replaced."""
        return replace(
            self, **{
                stage: replace(getattr(self, stage), **values)
                for stage, values in changes.items()
            })

    def views(self, training: bool) -> set[str]:
        """Views of the images that are trained on, or of the others."""
        found = {'plain', *self.labels.views, *self.labels.affinity}
        if training:
            found |= {*self.classifier.views, *self.head.views,
                      self.classifier.second or 'plain'}
        if not training or self.head.rounds > 1:
            found |= {*self.test.views, *self.test.affinity}
        return found


def rank(decay: float) -> dict:
    """Rank pooling with another decay on 22 x 22 positions."""
    return dict(
        type='mmwsss.GlobalWeightedRankPooling',
        decay=decay,
        num_positions=484)


def pooled(name: str, **kwargs: Any) -> dict:
    """Changes of an idea that is another pooling."""
    return dict(classifier=dict(pooling=dict(type=f'mmwsss.{name}', **kwargs)))


def projected(**kwargs: Any) -> dict:
    """Changes of an idea that needs features which can be trained."""
    return dict(classifier=dict(projection=128, **kwargs))


def equivariant(second: str, weight: float) -> dict:
    """Changes of SEAM's equivariance, without its refined maps."""
    return dict(
        classifier=dict(
            second=second,
            regularizer=dict(
                type='mmwsss.EquivariantRegularization',
                er_weight=weight,
                ecr_weight=0.,
                rvmin_weight=0.)))


WORDS = dict(
    type='mmwsss.VisualWordsLearning',
    in_channels=128,
    num_classes=20,
    codebook='memory',
    # As published.
    word_weight=1.)
CONTRAST = dict(
    type='mmwsss.FineGrainedBackgroundContrast',
    in_channels=128,
    num_classes=20,
    scores='cams',
    bank_size=10000,
    max_queries=64)

#: Name of an idea -> changes of the default.
IDEAS: dict[str, dict] = {
    'default': {},
    # Pooling of the CAMs.
    'average': pooled('GlobalAveragePooling'),
    'hybrid': pooled('HybridPooling'),
    'thresholded': pooled('ThresholdedAveragePooling'),
    'rank-0.98': dict(classifier=dict(pooling=rank(0.98))),
    'rank-0.995': dict(classifier=dict(pooling=rank(0.995))),
    'top-20': pooled('TopSharePooling', share=0.2),
    'top-40': pooled('TopSharePooling', share=0.4),
    'log-sum-exp-1': pooled('LogSumExpPooling', sharpness=1.),
    'log-sum-exp-4': pooled('LogSumExpPooling', sharpness=4.),
    # Ideas of the papers.
    'same-grid': dict(classifier=dict(same_grid=True)),
    'projection': projected(),
    'hybrid-projection': projected(pooling=dict(type='mmwsss.HybridPooling')),
    'words': projected(regularizer=WORDS),
    'words-hybrid': projected(
        regularizer=WORDS, pooling=dict(type='mmwsss.HybridPooling')),
    'contrast': projected(regularizer=CONTRAST),
    'second-mirror': dict(classifier=dict(second='mirror')),
    'second-large': dict(classifier=dict(second='large')),
    'equivariant-mirror': equivariant('mirror', 10.),
    'equivariant-large': equivariant('large', 10.),
    'equivariant-large-50': equivariant('large', 50.),
    # Others, of the classifier.
    'mirrored': dict(classifier=dict(views=('plain', 'mirror'))),
    'sizes': dict(classifier=dict(views=('plain', 'large'))),
    'balanced': dict(classifier=dict(balanced=True)),
    'both-networks': dict(classifier=dict(all_features=True)),
    'unit-length': dict(classifier=dict(unit=True)),
    'decay-1': dict(classifier=dict(decay=1.)),
    'smoothing': dict(classifier=dict(smoothing=0.1)),
    'half-steps': dict(classifier=dict(steps=220)),
    'double-steps': dict(classifier=dict(steps=880)),
    # Of the CAMs and labels.
    'cams-mirror': dict(labels=dict(views=('plain', 'mirror'))),
    'cams-large': dict(labels=dict(views=('plain', 'large'))),
    'labels-affinity-finer': dict(labels=dict(affinity=('finer', ))),
    'labels-affinity-both': dict(labels=dict(affinity=('plain', 'finer'))),
    'labels-power-3': dict(labels=dict(power=3.)),
    'labels-high': dict(labels=dict(high=0.6, low=0.3)),
    'labels-low': dict(labels=dict(high=0.4, low=0.2)),
    # Of the segmentation head.
    'head-capped': dict(
        head=dict(
            loss=dict(
                type='mmwsss.CappedCrossEntropy', cell=100000, start=1.2))),
    'head-balanced': dict(head=dict(balanced=True)),
    'head-unit-length': dict(head=dict(unit=True)),
    'head-decay-1': dict(head=dict(decay=1.)),
    'head-half-steps': dict(head=dict(steps=220)),
    'head-mirror': dict(head=dict(views=('plain', 'mirror'))),
    'head-sizes': dict(head=dict(views=('plain', 'large'))),
    'head-large': dict(head=dict(views=('large', )),
                       test=dict(views=('large', ))),
    'true-masks': dict(head=dict(truth=True)),
    'second-round': dict(head=dict(rounds=2)),
    'second-round-sure': dict(head=dict(rounds=2, sure=0.6)),
    'third-round': dict(head=dict(rounds=3)),
    # Of the reading of the segmentation head.
    'test-mirror': dict(test=dict(views=('plain', 'mirror'))),
    'test-large': dict(test=dict(views=('plain', 'large'))),
    'test-affinity-finer': dict(test=dict(affinity=('finer', ))),
    'test-affinity-both': dict(test=dict(affinity=('plain', 'finer'))),
    'test-finer': dict(test=dict(views=('plain', 'finer'))),
    'test-power-3': dict(test=dict(power=3.)),
    'prior': dict(test=dict(prior=0.5)),
    'prior-1': dict(test=dict(prior=1.)),
    'smallest-10': dict(test=dict(smallest=0.1)),
    'smallest-20': dict(test=dict(smallest=0.2)),
    'centred-pamr': dict(test=dict(corners=False)),
}


def settings_of(name: str) -> Settings:
    """Settings of an idea, or of several that are joined with "+"."""
    settings = Settings()
    for one in name.split('+'):
        if one not in IDEAS:
            raise SystemExit(f'There is no idea {one!r}, only '
                             f'{", ".join(IDEAS)}.')
        settings = settings.changed(IDEAS[one])
    return settings


# ------------------------------------------------------------------ images
@dataclass
class View:
    """Features of an image.

    Attributes:
        grid (tuple[int, int]): Rows and columns of ``features``.
        features (Tensor): Of both networks, standardised, bfloat16 (C, P).
        alike (Tensor): What the affinity compares, float16 (D, gh, gw).
        mirrored (bool): Whether left is right.
        lengths (dict): Of the positions' first so many channels.
    """
    grid: tuple[int, int]
    features: Tensor
    alike: Tensor
    mirrored: bool
    lengths: dict[int, Tensor] = field(default_factory=dict)


class Images:
    """Features, labels and masks of images, in memory.

    Args:
        ids (Sequence[str]): Their ids.
        views (Sequence[str]): Names of views.
        networks (Networks): Make the features.
        stride (int): Every so many rows and columns of pixels are scored.
    """

    def __init__(self, ids: Sequence[str], views: Sequence[str],
                 networks: 'Networks', stride: int = 1) -> None:
        root = networks.root
        labels = json.loads((root / networks.labels_file).read_text())
        self.ids, self.root = list(ids), root
        self.present = [
            torch.tensor([CLASSES.index(c) - 1 for c in labels[i]],
                         dtype=torch.int64) for i in self.ids
        ]
        self.targets = torch.zeros(len(self.ids), len(CLASSES) - 1)
        for target, present in zip(self.targets, self.present):
            target[present] = 1
        self.masks, self.sizes = [], []
        self.views: list[dict[str, View]] = []
        for n, img_id in enumerate(self.ids):
            if n % 500 == 0:
                print(f'features of image {n + 1} of {len(self.ids)}',
                      flush=True)
            image = self.image(n)
            self.views.append({v: networks.look(image, v) for v in views})
            mask = read_mask(root / 'SegmentationClass' / f'{img_id}.png',
                             img_id)
            self.masks.append(
                torch.from_numpy(mask[::stride, ::stride].copy()))
            self.sizes.append(tuple(self.masks[-1].shape))

    def image(self, n: int) -> Tensor:
        """RGB in grey levels, (1, 3, H, W)."""
        path = self.root / 'JPEGImages' / f'{self.ids[n]}.jpg'
        image = read_image(path, self.ids[n])[..., ::-1].copy()
        return torch.from_numpy(image).permute(2, 0, 1)[None].float()

    def standardize(self, mean: Tensor, std: Tensor) -> None:
        """Shift and scale all channels."""
        for views in self.views:
            for view in views.values():
                values = (view.features.float() - mean[:, None]) / std[:, None]
                # Products in half the time, and rounded like the cache.
                view.features = values.bfloat16()

    def frequency(self) -> Tensor:
        """Weight of each image: its rarest class, (n,)."""
        count = self.targets.sum(dim=0).clamp(min=1)
        return (self.targets / count).amax(dim=1).clamp(min=1 / len(self.ids))


class Networks:
    """The frozen networks of the configs, for every view."""

    def __init__(self) -> None:
        cfg = Config.fromfile(ROOT / HEAD_CONFIG)
        self.root = Path(cfg.data_root)
        self.labels_file = cfg.labels_file
        self.configs = cfg.model.segmentor.backbone.networks
        self.alike_config = cfg.model.refiners[0].network
        self.built: dict[Any, tuple[FrozenFeatures, FrozenBackbone]] = {}

    def of(self, sides: tuple) -> tuple[FrozenFeatures, FrozenBackbone]:
        """Networks at these sizes, each with a cache of its own."""
        if sides not in self.built:
            first, second, alike = (
                dict(cfg) if side is None else dict(
                    cfg, long_side=side,
                    cache_dir=f'{cfg["cache_dir"]}-{side}')
                for cfg, side in ((self.configs[0], sides[0]),
                                  (self.configs[1], sides[1]),
                                  (self.alike_config, sides[1])))
            self.built[sides] = (FrozenFeatures([first, second]),
                                 FrozenBackbone(**alike))
        return self.built[sides]

    @torch.no_grad()
    def look(self, image: Tensor, name: str) -> View:
        """An image as a view shows it, not standardised."""
        mirrored, *sides = VIEWS[name]
        features, alike = self.of(tuple(sides))
        if mirrored:
            image = image.flip(-1)
        maps = features.raw_features(image)[0].half()
        return View(
            tuple(maps.shape[1:]), maps.flatten(1), alike(image)[0].half(),
            mirrored)


def standardize(train: Images, *others: Images) -> None:
    """As FeatureStatisticsHook does it, of the plain view."""
    count, total, squares = 0, 0., 0.
    for views in train.views:
        values = views['plain'].features.float()
        count += values.shape[1]
        total = total + values.sum(dim=1).double()
        squares = squares + values.square().sum(dim=1).double()
    mean = total / count
    # A constant channel stays 0.
    variance = squares / count - mean**2
    std = variance.clamp(min=0).sqrt().masked_fill(
        variance <= 1e-9 * squares / count, torch.inf)
    for images in (train, *others):
        images.standardize(mean.float(), std.float())


def batches(images: Images, steps: int, seed: int, balanced: bool,
            same_grid: bool) -> Iterator[list[int]]:
    """Indices of the images of each step."""
    generator = torch.Generator().manual_seed(seed)
    count = len(images.ids)
    queue: list[list[int]] = []
    left = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if same_grid:
            if not queue:
                groups: dict[tuple, list[int]] = {}
                for i in torch.randperm(count, generator=generator).tolist():
                    grid = images.views[i]['plain'].grid
                    groups.setdefault(grid, []).append(i)
                parts = [
                    group[k:k + BATCH] for group in groups.values()
                    for k in range(0, len(group), BATCH)
                ]
                # A mean over two images would count as much as one of 16.
                parts = [p for p in parts if len(p) >= BATCH // 2] or parts
                order = torch.randperm(len(parts), generator=generator)
                queue = [parts[k] for k in order.tolist()]
            yield queue.pop()
            continue
        if len(left) < BATCH:
            more = torch.multinomial(
                images.frequency(), count, replacement=True,
                generator=generator) if balanced else torch.randperm(
                    count, generator=generator)
            left = torch.cat((left, more))
        yield left[:BATCH].tolist()
        left = left[BATCH:]


def optimize(models: Sequence[nn.Module], decays: Sequence[float], steps: int,
             losses: Iterator[list[Tensor]]) -> None:
    """AdamW with a learning rate that falls linearly, as the configs do."""
    optimizer = torch.optim.AdamW([
        dict(params=[p for p in model.parameters() if p.requires_grad],
             weight_decay=decay) for model, decay in zip(models, decays)
    ], lr=1e-3)
    for step, found in enumerate(losses):
        for group in optimizer.param_groups:
            group['lr'] = 1e-3 * (1 - step / steps)
        optimizer.zero_grad()
        sum(found).backward()
        optimizer.step()


def stacked(values: Sequence[Tensor]) -> Tensor:
    """Positions (C, P) of several images as one map (1, C, sum of P, 1)."""
    return torch.cat(tuple(values), dim=1)[None, :, :, None]


def unit_scale(views: Sequence[View], channels: int) -> Tensor:
    """What gives positions the length of the root of their channels.

    Args:
        views (Sequence[View]): The images.
        channels (int): The first so many count.

    Returns:
        Tensor: (1, 1, P, 1).
    """
    for view in views:
        if channels not in view.lengths:
            view.lengths[channels] = view.features[:channels].float().norm(
                dim=0, keepdim=True).clamp(min=1e-12)
    lengths = torch.cat([v.lengths[channels] for v in views], dim=1)
    return (channels**0.5 / lengths)[None, :, :, None].bfloat16()


def product(feats: Tensor, convs: Sequence[nn.Conv2d]) -> list[Tensor]:
    """1x1 convolutions of the same features, made as one, in bfloat16.

    Args:
        feats (Tensor): (1, C, P, 1).
        convs (Sequence[nn.Conv2d]): From C to K channels each.

    Returns:
        list[Tensor]: float32 (1, K, P, 1) each.
    """
    weight, bias = (torch.cat([getattr(c, name) for c in convs])
                    for name in ('weight', 'bias'))
    with torch.autocast('cpu', torch.bfloat16):
        maps = F.conv2d(feats, weight, bias)
    return list(maps.float().split([c.out_channels for c in convs], dim=1))


# -------------------------------------------------------------- classifier
class ClassifierModel(nn.Module):
    """The config's class head on features in memory."""

    def __init__(self, settings: Classifier, channels: tuple[int, int]
                 ) -> None:
        super().__init__()
        cfg = Config.fromfile(ROOT / CLASSIFIER_CONFIG).model.cls_head
        self.settings = settings
        self.channels = sum(channels) if settings.all_features else channels[0]
        cfg.in_channels = settings.projection or self.channels
        if settings.pooling:
            cfg.pooling = settings.pooling
        self.projection = None
        if settings.projection:
            self.projection = nn.Conv2d(self.channels, settings.projection, 1)
        self.head = MODELS.build(cfg)
        self.head.init_weights()
        self.pooled: dict[int, Tensor] = {}
        self.regularizer = None
        if settings.regularizer:
            self.regularizer = MODELS.build(settings.regularizer)

    def feats(self, views: Sequence[View]) -> Tensor:
        """What the head reads, (1, C, positions of all views, 1)."""
        values = stacked([v.features[:self.channels] for v in views])
        if self.settings.unit:
            values = values * unit_scale(views, self.channels)
        if self.projection is not None:
            values = product(values, [self.projection])[0].relu()
        return values

    def one(self, feats: Tensor, grid: tuple[int, int],
            labels: Tensor | None = None) -> ViewOutput:
        """View of images of one grid.

        Args:
            feats (Tensor): (1, C, N * P, 1).
            grid (tuple[int, int]): Rows and columns.
            labels (Tensor, optional): (N, K).
        """
        positions = grid[0] * grid[1]
        maps = feats.float()[0, :, :, 0].unflatten(1, (-1, positions))
        maps = maps.transpose(0, 1).unflatten(2, grid)
        # Regularizers compare maps at the size of the image: here, the grid.
        return ViewOutput(
            maps.new_zeros(len(maps), 3, *grid), labels,
            fields=dict(feats=(maps, )),
            providers=dict(cams=self.head.cams, logits=self.head))

    def view(self, flat: Tensor, views: Sequence[View]) -> ViewOutput:
        """View of images of several grids, whose CAMs are padded.

        Args:
            flat (Tensor): CAMs (1, K, positions of all views, 1).
            views (Sequence[View]): The images.
        """
        size = [max(v.grid[d] for v in views) for d in (0, 1)]
        cams, valid = [], torch.zeros(len(views), 1, *size, dtype=torch.bool)
        parts = flat[0, :, :, 0].split(
            [v.features.shape[1] for v in views], dim=1)
        for part, view, where in zip(parts, views, valid):
            h, w = view.grid
            cams.append(F.pad(part.unflatten(1, (h, w)),
                              (0, size[1] - w, 0, size[0] - h)))
            where[:, :h, :w] = True
        return ViewOutput(
            flat, fields=dict(cams=torch.stack(cams), valid=valid),
            providers=dict(logits=self.head))

    def logits(self, views: Sequence[View]) -> Tensor:
        """Of images as they are, (N, K)."""
        if not self.head.pools_features or self.projection is not None:
            return torch.cat(
                [self.one(self.feats([v]), v.grid).logits for v in views])
        # Pooled features that nothing trains stay as they are.
        for v in views:
            if id(v) not in self.pooled:
                feats = self.one(self.feats([v]), v.grid).feats[0]
                self.pooled[id(v)] = self.head.pooling(feats)
        pooled = torch.cat([self.pooled[id(v)] for v in views])
        return self.head.conv(pooled[..., None, None]).flatten(1)

    def terms(self, views: Sequence[View], labels: Tensor,
              samples: Sequence[SegDataSample],
              others: Sequence[View] | None = None) -> Tensor:
        """What the regularizer adds, 0 without one.

        Args:
            views (Sequence[View]): Of N images.
            labels (Tensor): (N, K).
            samples (Sequence[SegDataSample]): With ``img_id``.
            others (Sequence[View], optional): Second views. Their images may
                differ in size, so each pair is looked at by itself.
        """
        if self.regularizer is None:
            return labels.new_zeros(())
        if others is None:
            view = self.one(self.feats(views), views[0].grid, labels)
            return sum_losses(
                self.regularizer(ViewPair(view, data_samples=samples)))
        terms = []
        for view, other, label in zip(views, others, labels):
            first, second = (self.one(self.feats([v]), v.grid, label[None])
                             for v in (view, other))
            terms.append(sum_losses(self.regularizer(ViewPair(
                first, second, transform=transform_to(other)))))
        return torch.stack(terms).mean()

    @torch.no_grad()
    def cams(self, views: Sequence[View], present: Tensor,
             size: tuple[int, int]) -> Tensor:
        """Normalised CAMs of present classes at the size of the image.

        Args:
            views (Sequence[View]): Of one image, added up.
            present (Tensor): Classes (k,).
            size (tuple[int, int]): Of the image.

        Returns:
            Tensor: (k, *size) in [0, 1].
        """
        total = 0.
        for view in views:
            maps = self.one(self.feats([view]), view.grid).cams[0, present]
            maps = enlarged(unmirrored(maps.relu(), view), size)
            total = total + maps
        return normalize_maps(total)


def transform_to(view: View) -> Callable[[Tensor], Tensor]:
    """Brings maps of the plain view into another one."""

    def transform(maps: Tensor) -> Tensor:
        maps = maps.flip(-1) if view.mirrored else maps
        return F.interpolate(maps, view.grid, mode='bilinear',
                             antialias=True)

    return transform


def unmirrored(maps: Tensor, view: View) -> Tensor:
    """Maps (..., h, w) of a view in the frame of the image."""
    return maps.flip(-1) if view.mirrored else maps


def sum_losses(terms: dict[str, Tensor]) -> Tensor:
    """What a regularizer adds to the loss."""
    return sum(value for name, value in terms.items() if 'loss' in name)


def classify(models: Sequence[ClassifierModel], views: Sequence[View]
             ) -> list[Tensor]:
    """Logits (N, K) of models that read the same features."""
    if models[0].projection is not None:  # All images are of one grid.
        return [m.one(m.feats(views), views[0].grid).logits for m in models]
    joint = [m for m in models if not m.head.pools_features]
    found = {}
    if joint:
        feats = joint[0].feats(views)
        maps = product(feats, [m.head.conv for m in joint])
        found = {id(m): m.view(flat, views).logits
                 for m, flat in zip(joint, maps)}
    return [found[id(m)] if id(m) in found else m.logits(views)
            for m in models]


def drawn(images: Images, index: Sequence[int], names: Sequence[str],
          generator: torch.Generator) -> list[tuple[int, str]]:
    """One of the views of each image, by chance."""
    return [(i, names[int(torch.randint(len(names), (), generator=generator))])
            for i in index]


def train_classifiers(images: Images, channels: tuple[int, int],
                      settings: Sequence[Classifier], seed: int
                      ) -> list[ClassifierModel]:
    """Classifiers that see the same images in the same order.

    Args:
        images (Images): Training images.
        channels (tuple[int, int]): Of both networks.
        settings (Sequence[Classifier]): Equal but for what
            :func:`same_batches` leaves out.
        seed (int): Of initial weights and order.

    Returns:
        list[ClassifierModel]: One for each of the settings.
    """
    models = []
    for one in settings:
        torch.manual_seed(seed)
        models.append(ClassifierModel(one, channels).train())
    shared = settings[0]
    generator = torch.Generator().manual_seed(seed)

    def losses(index: Sequence[int]) -> list[Tensor]:
        labels = images.targets[list(index)]
        views = [images.views[i][name] for i, name in drawn(
            images, index, shared.views, generator)]
        others = shared.second and [images.views[i][shared.second]
                                    for i in index] or None
        samples = [SegDataSample(metainfo=dict(img_id=images.ids[i]))
                   for i in index]
        found = []
        seconds = classify(models, others) if others else [None] * len(models)
        for m, logits, second in zip(models, classify(models, views),
                                     seconds):
            share = m.settings.smoothing
            target = labels * (1 - share) + share / 2
            loss = multilabel_loss(logits, target)
            if second is not None:
                loss = loss + multilabel_loss(second, target)
            found.append(loss + m.terms(views, labels, samples, others))
        return found

    optimize(
        models, [s.decay for s in settings], shared.steps,
        (losses(index) for index in batches(
            images, shared.steps, seed, shared.balanced,
            shared.same_grid or shared.projection > 0)))
    return [model.eval() for model in models]


# ---------------------------------------------------------------- affinity
@torch.no_grad()
def spread(maps: Tensor, views: Sequence[View], power: float,
           size: tuple[int, int], corners: bool = False) -> Tensor:
    """Maps after one step of affinity, at the size of the image.

    Args:
        maps (Tensor): (k, h, w), in the frame of the image.
        views (Sequence[View]): Each gives a result; they are averaged.
        power (float): Of the cosines.
        size (tuple[int, int]): Of the image.
        corners (bool): How results are enlarged.

    Returns:
        Tensor: (k, *size).
    """
    total = 0.
    for view in views:
        alike = unmirrored(view.alike.float(), view)
        small = F.interpolate(
            maps[None], alike.shape[1:], mode='bilinear', antialias=True)
        found = cosine_affinity(small, alike[None], power)
        total = total + F.interpolate(found, size, mode='bilinear',
                                      align_corners=corners)[0]
    return total / len(views)


def highest(maps: Tensor) -> tuple[Tensor, Tensor]:
    """``maps.max(dim=0)`` of few maps, ten times as fast on a CPU."""
    best, which = maps[0].clone(), torch.zeros(
        maps.shape[1:], dtype=torch.int64)
    for k, one in enumerate(maps[1:], 1):
        which.masked_fill_(one > best, k)
        torch.maximum(best, one, out=best)
    return best, which


def pick(images: Images, n: int, names: Sequence[str]) -> list[View]:
    """Some views of an image."""
    return [images.views[n][name] for name in names]


class Curve:
    """mIoU of CAMs at a fixed threshold and at the best one."""

    def __init__(self) -> None:
        thresholds = np.round(np.arange(0, 1, 0.02), 2)
        self.fixed = int(np.argmin(abs(thresholds - THRESHOLD)))
        self.bins = ScoreBins(thresholds)
        num = len(CLASSES) - 1
        self.total = np.zeros((num + 1) * num * (len(thresholds) + 1),
                              np.int64)
        self.shape = (num + 1, num, len(thresholds) + 1)

    def add(self, maps: Tensor, present: Tensor, mask: Tensor) -> None:
        """Count an image: (k, H, W), (k,), (H, W)."""
        score, best = (x.flatten() for x in highest(maps.clamp(0, 1)))
        index, counts = score_histogram(score, best, present, mask.flatten(),
                                        self.bins, len(CLASSES) - 1)
        self.total[index] += counts

    def values(self) -> tuple[float, float]:
        """mIoU of the reported classes, fixed and best threshold."""
        curve = curve_from_histogram(self.total.reshape(self.shape))
        subset = [CLASSES.index(c) for c in REPORTED]
        found = mean_of(curve.iou[:, subset])
        return float(found[self.fixed]), float(np.nanmax(found))


@torch.no_grad()
def score_cams(model: ClassifierModel, images: Images, settings: Labels
               ) -> dict[str, float]:
    """CAMs and refined CAMs of scored images, with image-level labels."""
    before, after = Curve(), Curve()
    for n, present in enumerate(images.present):
        size, mask = images.sizes[n], images.masks[n]
        cams = model.cams(pick(images, n, settings.views), present, size)
        refined = spread(cams, pick(images, n, settings.affinity),
                         settings.power, size)
        before.add(cams, present, mask)
        after.add(normalize_maps(refined), present, mask)
    (cam, cam_best), (aff, aff_best) = before.values(), after.values()
    return dict(cam=cam, cam_best=cam_best, aff=aff, aff_best=aff_best)


@torch.no_grad()
def make_labels(model: ClassifierModel, images: Images, settings: Labels,
                names: Sequence[str]) -> list[dict[str, Tensor]]:
    """Labels of sure pixels on the grids of some views.

    Args:
        model (ClassifierModel): Its CAMs are read.
        images (Images): Training images.
        settings (Labels): How.
        names (Sequence[str]): Views.

    Returns:
        list[dict[str, Tensor]]: Of each image, of each view uint8 (P,), 255
        where nothing is sure.
    """
    labels = []
    for n, present in enumerate(images.present):
        size = images.sizes[n]
        cams = model.cams(pick(images, n, settings.views), present, size)
        maps = normalize_maps(
            spread(cams, pick(images, n, settings.affinity), settings.power,
                   size)).clamp(0, 1)
        best, which = highest(maps)
        label = torch.where(best > settings.high, present[which] + 1, 0)
        label[(label == 0) & (best > settings.low)] = 255
        labels.append(labels_on(label, images.views[n], names))
    return labels


# ------------------------------------------------------- segmentation head
def labels_on(label: Tensor, views: dict[str, View], names: Sequence[str]
              ) -> dict[str, Tensor]:
    """Label (H, W) of the pixel nearest to each position, uint8 (P,)."""
    found = {}
    for name in names:
        small = F.interpolate(
            label[None, None].float(), views[name].grid,
            mode='nearest-exact')[0, 0]
        found[name] = unmirrored(small, views[name]).flatten().to(torch.uint8)
    return found


def head_feats(views: Sequence[View], settings: Head) -> Tensor:
    """What the segmentation head reads, (1, C, positions, 1)."""
    values = stacked([v.features for v in views])
    if settings.unit:
        values = values * unit_scale(views, values.shape[1])
    return values


def train_heads(images: Images, labels: Sequence[list[dict[str, Tensor]]],
                settings: Sequence[Head], seed: int) -> list[nn.Module]:
    """Segmentation heads that see the same images in the same order.

    Args:
        images (Images): Training images.
        labels (Sequence[list]): Of each head, see :func:`make_labels`.
        settings (Sequence[Head]): Equal but for what :func:`same_batches`
            leaves out.
        seed (int): Of initial weights and order.

    Returns:
        list[nn.Module]: The heads.
    """
    heads = []
    for one in settings:
        torch.manual_seed(seed)
        cfg = Config.fromfile(ROOT / HEAD_CONFIG).model.segmentor.decode_head
        if one.loss:
            cfg.loss_decode = one.loss
        heads.append(MODELS.build(cfg))
        heads[-1].init_weights()
        heads[-1].train()
    shared = settings[0]
    generator = torch.Generator().manual_seed(seed)

    def losses(index: Sequence[int]) -> list[Tensor]:
        which = drawn(images, index, shared.views, generator)
        feats = head_feats([images.views[i][name] for i, name in which],
                           shared)
        found = []
        for head, own, logits in zip(
                heads, labels, product(feats, [h.conv_seg for h in heads])):
            target = torch.cat([own[i][name] for i, name in which]).long()
            sample = SegDataSample(
                gt_sem_seg=PixelData(data=target[None, :, None]))
            found.append(sum_losses(head.loss_by_feat(logits, [sample])))
        return found

    optimize(
        heads, [s.decay for s in settings], shared.steps,
        (losses(index) for index in batches(images, shared.steps, seed,
                                            shared.balanced, False)))
    return [head.eval() for head in heads]


@torch.no_grad()
def segment(head: nn.Module, images: Images, n: int, settings: Settings,
            labels: Tensor | None, prior: Tensor | None = None,
            corners: bool = False) -> tuple[Tensor, Tensor]:
    """Probabilities of an image after the affinity.

    Args:
        head (nn.Module): The segmentation head.
        images (Images): The images.
        n (int): Which.
        settings (Settings): Of the idea.
        labels (Tensor, optional): Classes (k,) of the image, None if nobody
            knows.
        prior (Tensor, optional): Probabilities of all classes (K,).
        corners (bool): See :func:`spread`.

    Returns:
        tuple: Probabilities (k', H, W), and of which labels, (k',).
    """
    test, size = settings.test, images.sizes[n]
    total, grid = 0., images.views[n]['plain'].grid
    for view in pick(images, n, test.views):
        logits = head((head_feats([view], settings.head).float(), ))
        logits = logits[0, :, :, 0]
        logits = unmirrored(logits.unflatten(1, view.grid), view)
        if labels is not None:
            absent = torch.ones(len(logits), dtype=torch.bool)
            absent[0] = absent[labels + 1] = False
            logits = logits.masked_fill(absent[:, None, None], -torch.inf)
        probs = logits.softmax(dim=0)
        if view.grid != grid:
            probs = F.interpolate(probs[None], grid, mode='bilinear',
                                  antialias=True)[0]
        total = total + probs / len(test.views)
    if prior is not None and test.prior:
        total[1:] *= prior[:, None, None]**test.prior
    kept = torch.cat(
        (total.argmax(dim=0).flatten(), torch.zeros(1).long())).unique()
    found = spread(total[kept], pick(images, n, test.affinity), test.power,
                   size, corners)
    if labels is None and test.smallest:
        shares = torch.bincount(
            highest(found)[1].flatten(), minlength=len(kept)).float()
        large = shares >= test.smallest * shares[1:].sum()
        large[0] = True
        found, kept = found[large], kept[large]
    return found, kept


def scores_of(head: nn.Module, model: ClassifierModel, images: Images,
              settings: Settings, pamr: bool) -> dict[str, float]:
    """mIoU without and with image-level labels: seven classes, and all."""
    names = ['free', 'tags'] + ['free_pamr', 'tags_pamr'] * pamr
    scores = {name: Score(CLASSES) for name in names}
    refine = PAMR()
    for n, mask in enumerate(images.masks):
        mask = mask.long()
        prior = None
        if settings.test.prior:
            with torch.no_grad():
                prior = model.logits(
                    pick(images, n, ('plain', )))[0].sigmoid()
        for name, labels in (('free', None), ('tags', images.present[n])):
            probs, kept = segment(head, images, n, settings, labels, prior
                                  if labels is None else None)
            scores[name].add(kept[highest(probs)[1]], mask)
            if pamr:
                if settings.test.corners:
                    probs, kept = segment(
                        head, images, n, settings, labels,
                        None if labels is not None else prior, True)
                wins = highest(probs)[1].unique()
                wins = torch.cat((wins.new_zeros(1), wins)).unique()
                probs = refine(images.image(n), probs[None, wins])[0]
                scores[f'{name}_pamr'].add(
                    kept[wins][highest(probs)[1]], mask)
    found = {name: score.value() for name, score in scores.items()}
    for name, score in scores.items():
        iou = curve_from_confusion(score.total).iou[0]
        found[f'{name}_all'] = float(mean_of(iou))
        found[f'{name}_iou'] = [round(float(x), 2) for x in iou]
    return found


@torch.no_grad()
def own_labels(head: nn.Module, images: Images, settings: Settings,
               names: Sequence[str]) -> list[dict[str, Tensor]]:
    """Labels of the next round, see :func:`make_labels`."""
    labels = []
    for n, present in enumerate(images.present):
        probs, kept = segment(head, images, n, settings, present)
        sure, which = highest(probs)
        label = kept[which]
        label[sure < settings.head.sure] = 255
        labels.append(labels_on(label, images.views[n], names))
    return labels


# --------------------------------------------------------------------- run
def same_batches(settings: Any) -> str:
    """What must be equal of settings that train on the same batches."""
    values = asdict(settings)
    for name in ('pooling', 'regularizer', 'decay', 'smoothing', 'loss',
                 'rounds', 'sure', 'truth'):
        values.pop(name, None)
    return repr(values)


def grouped(keys: Sequence[str]) -> list[list[int]]:
    """Positions of equal keys."""
    groups: dict[str, list[int]] = {}
    for i, key in enumerate(keys):
        groups.setdefault(key, []).append(i)
    return list(groups.values())


def first_of(keys: Sequence[str]) -> list[int]:
    """For each key the position at which it stands first."""
    return [keys.index(key) for key in keys]


def run_ideas(train: Images, scored: Images, channels: tuple[int, int],
              settings: Sequence[Settings], seed: int, pamr: bool
              ) -> Iterator[tuple[int, dict[str, Any]]]:
    """All numbers of several ideas and one seed.

    What two ideas share is made once, and heads that see the same images in
    the same order are trained side by side, each with its own loss.

    Args:
        train (Images): They train.
        scored (Images): They are scored.
        channels (tuple[int, int]): Of both networks.
        settings (Sequence[Settings]): Of the ideas.
        seed (int): Of everything.
        pamr (bool): Whether PAMR is scored too.

    Yields:
        tuple: Position of an idea and its numbers.
    """
    count = range(len(settings))
    spent = [0.] * len(settings)

    def note(start: float, which: Sequence[int]) -> None:
        for i in which:
            spent[i] += (time.perf_counter() - start) / len(which)

    # Classifiers.
    keys = [repr(s.classifier) for s in settings]
    first = first_of(keys)
    models: dict[int, ClassifierModel] = {}
    for group in grouped([same_batches(s.classifier) for s in settings]):
        group = [i for i in group if first[i] == i]
        if group:
            start = time.perf_counter()
            models.update(zip(group, train_classifiers(
                train, channels, [settings[i].classifier for i in group],
                seed)))
            note(start, group)
    model = [models[first[i]] for i in count]
    # CAMs and labels.
    first = first_of([k + repr(s.labels) for k, s in zip(keys, settings)])
    names = sorted({name for s in settings for name in s.head.views})
    cams, labels = {}, {}
    for i in count:
        if first[i] == i:
            start = time.perf_counter()
            cams[i] = score_cams(model[i], scored, settings[i].labels)
            labels[i] = make_labels(model[i], train, settings[i].labels,
                                    names)
            note(start, [i])
    known = [labels[first[i]] for i in count]
    for i in count:
        if settings[i].head.truth:
            known[i] = [labels_on(mask, views, names)
                        for mask, views in zip(train.masks, train.views)]
    # Segmentation heads.
    keys = [f'{first[i]} {settings[i].head}' +
            (repr(settings[i].test) if settings[i].head.rounds > 1 else '')
            for i in count]
    same = first_of(keys)
    heads: dict[int, nn.Module] = {}
    for group in grouped([same_batches(s.head) for s in settings]):
        group = [i for i in group if same[i] == i]
        for turn in range(max([settings[i].head.rounds for i in group],
                              default=0)):
            start = time.perf_counter()
            group = [i for i in group if settings[i].head.rounds > turn]
            if turn:
                for i in group:
                    known[i] = own_labels(heads[i], train, settings[i], names)
            heads.update(zip(group, train_heads(
                train, [known[i] for i in group],
                [settings[i].head for i in group], seed)))
            note(start, group)
    # Scores.
    for i in count:
        start = time.perf_counter()
        found = dict(cams[first[i]])
        found.update(scores_of(heads[same[i]], model[i], scored, settings[i],
                               pamr))
        note(start, [i])
        yield i, dict(found, seconds=spent[i])


COLUMNS = dict(
    cam='CAM', cam_best='best t', aff='+ affinity', aff_best='best t',
    free='without', tags='with labels', free_pamr='without, PAMR',
    tags_pamr='with, PAMR', free_all='all, without', tags_all='all, with',
    free_pamr_all='all, without, PAMR', tags_pamr_all='all, with, PAMR')


def table(results: dict[str, dict], ideas: Sequence[str]) -> str:
    """Mean and deviation over seeds, in Markdown; in brackets, the mean
    difference to the default on the same seeds and its deviation."""
    names = [c for c in COLUMNS
             if all(c in r for found in results.values()
                    for r in found.values())]
    lines = ['| idea | seeds | ' + ' | '.join(COLUMNS[c] for c in names) +
             ' | seconds |', '|---' * (len(names) + 3) + '|']
    base = results.get('default', {})
    for idea in ideas:
        found = results.get(idea)
        if not found:
            continue
        cells = [idea, str(len(found))]
        for c in names:
            values = [r[c] for r in found.values()]
            cell = f'{np.mean(values):.1f}'
            if len(values) > 1:
                cell += f' ± {np.std(values, ddof=1):.1f}'
            both = [found[s][c] - base[s][c] for s in found if s in base]
            if both and idea != 'default' and c in (
                    'free', 'tags', 'free_pamr', 'tags_pamr'):
                cell += f' ({np.mean(both):+.1f})'
            cells.append(cell)
        cells.append(f'{np.mean([r["seconds"] for r in found.values()]):.0f}')
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def lists(args: argparse.Namespace, root: Path) -> tuple[list, list]:
    """Ids of the images that train and of those that are scored."""
    folder = root / 'ImageSets/Segmentation'
    train = (folder / f'{args.train}.txt').read_text().split()
    if args.final:
        return train, (folder / f'{args.val}.txt').read_text().split()
    ids = sorted(train)
    random.Random(SPLIT_SEED).shuffle(ids)
    count = round(len(ids) * HELD_OUT)
    return ids[count:], ids[:count]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--ideas', nargs='+', default=['default'],
                        help='names, several joined with "+"; or "all"')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--train', default='train_bal', help='list of images')
    parser.add_argument('--val', default='val_bal', help='list of images')
    parser.add_argument('--final', action='store_true',
                        help='train on the whole list, score --val')
    parser.add_argument('--pamr', action='store_true', help='score PAMR too')
    parser.add_argument('--stride', type=int, default=1,
                        help='score every so many rows and columns')
    parser.add_argument('--list', action='store_true', help='show all ideas')
    parser.add_argument('--out', type=Path,
                        default=Path('work_dirs/frozen_ideas.json'))
    args = parser.parse_args()
    if args.list:
        for name, changes in IDEAS.items():
            print(f'{name:24}{changes}')
        return
    if args.pamr and args.stride > 1:
        parser.error('PAMR looks at all pixels: leave --stride out.')
    ideas = list(IDEAS) if args.ideas == ['all'] else args.ideas
    settings = {idea: settings_of(idea) for idea in ideas}
    init_default_scope('mmseg')
    logging.disable(logging.WARNING)
    where = f'{args.train} -> {args.val if args.final else "held out"}'
    kept = json.loads(args.out.read_text()) if args.out.exists() else {}
    results = kept.setdefault(where, {})
    todo = [(idea, seed) for seed in args.seeds for idea in ideas
            if ('free_pamr' if args.pamr else 'free') not in
            results.get(idea, {}).get(str(seed), {})]
    print(f'{machine()}\n{where}, {len(todo)} runs', flush=True)
    if todo:
        networks = Networks()
        used = [settings[idea] for idea, _ in todo]
        train_ids, scored_ids = lists(args, networks.root)
        train, scored = (
            Images(ids, sorted(set().union(*(s.views(training)
                                             for s in used))), networks,
                   args.stride)
            for ids, training in ((train_ids, True), (scored_ids, False)))
        channels = tuple(n.channels for n in networks.of((None, None))[0]
                         .networks)
        standardize(train, scored)
        for seed in args.seeds:
            own = [idea for idea, s in todo if s == seed]
            for i, found in run_ideas(train, scored, channels,
                                      [settings[idea] for idea in own], seed,
                                      args.pamr):
                results.setdefault(own[i], {})[str(seed)] = found
                make_folder(args.out.parent)
                with atomic_write(args.out) as temp:
                    temp.write_text(json.dumps(kept, indent=1) + '\n')
                print(f'{own[i]:28} seed {seed}  ' + '  '.join(
                    f'{c} {found[c]:.1f}' for c in COLUMNS if c in found) +
                      f'  {found["seconds"]:.0f} s', flush=True)
    print(table(results, ideas))


if __name__ == '__main__':
    main()
