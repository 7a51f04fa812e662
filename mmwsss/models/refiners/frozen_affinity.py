"""CAMs averaged over positions that look alike to a frozen network.

One network knows *what* is in an image, another one *what belongs together*:
each position's class scores become a mean over all positions, weighted by
how alike a frozen network finds them. Nothing is trained. CLIP-ES (CVPR 2023),
CLIP-DINOiser and ProxyCLIP (ECCV 2024) do this with text-trained networks and
ACR with the attention of its own; the centred cosine is ours.
"""
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import AttentionRequest, ViewOutput

from ..backbones.frozen_features import FrozenBackbone

KERNELS = ('cosine', 'sinkhorn', 'attention')
# Bytes of affinities at a time, see pixel_correlation_module.py.
BLOCK_BYTES = 16 * 2**20

#: Multiplies maps (N, K, P) with an affinity from the right: entry j of the
#: result is the sum over i of maps[i] * A[j, i] (or A[i, j], transposed).
Product = Callable[[Tensor], Tensor]


def _unit(features: Tensor) -> Tensor:
    """Centred features (N, D, h, w) as unit vectors (N, D, P), float32.

    Where a picture shows nothing, features differ by rounding alone, which
    has no direction: such positions get zeros.
    """
    flat = features.float().flatten(2)
    centred = flat - flat.mean(dim=2, keepdim=True)
    length = centred.norm(dim=1, keepdim=True)
    tells = length > 1e-5 * flat.norm(dim=1, keepdim=True)
    return centred / length.clamp(min=1e-12) * tells


def _blocks(unit: Tensor, block_size: int | None) -> Iterator[slice]:
    n, _, positions = unit.shape
    if block_size is None:
        block_size = max(BLOCK_BYTES // (4 * n * positions), 1)
    elif block_size < 1:
        raise ValueError(f'block_size is {block_size}, not 1 or more.')
    for start in range(0, positions, block_size):
        yield slice(start, min(start + block_size, positions))


def cosine_product(maps: Tensor,
                   unit: Tensor,
                   power: float,
                   block_size: int | None = None) -> Tensor:
    """maps A with A_ij = relu(u_i . u_j)^power, without the whole matrix.

    Args:
        maps (Tensor): (N, K, P).
        unit (Tensor): Unit vectors u, (N, D, P).
        power (float): Exponent.
        block_size (int, optional): Columns of A at a time. None takes what
            fits into 16 MiB, at least one. Defaults to None.

    Returns:
        Tensor: (N, K, P).
    """
    out = torch.empty_like(maps)
    for block in _blocks(unit, block_size):
        weights = (unit[..., block].mT @ unit).relu_()
        if power == 2:
            weights.square_()
        elif power != 1:
            weights.pow_(power)
        out[..., block] = maps @ weights.mT
    return out


def cosine_affinity(maps: Tensor,
                    features: Tensor,
                    power: float = 2.,
                    steps: int = 1,
                    block_size: int | None = None) -> Tensor:
    """Means over positions whose centred features point the same way.

    x_p = (f_p - mean f) / |f_p - mean f|, A = relu(x^T x)^power, and
    M'_j = sum_i M_i A_ij / sum_i A_ij. The (P x P) matrix never exists as a
    whole, so memory grows with P, not with its square.

    Args:
        maps (Tensor): M, (N, K, h, w).
        features (Tensor): f, (N, D, h, w).
        power (float): Exponent. Defaults to 2.
        steps (int): How often. Defaults to 1.
        block_size (int, optional): See :func:`cosine_product`.

    Returns:
        Tensor: float32 (N, K, h, w).

    Raises:
        ValueError: If the shapes do not fit.
    """
    _check_shapes(maps, features)
    unit = _unit(features)
    flat = maps.float().flatten(2)
    planes = torch.cat((flat, torch.ones_like(flat[:, :1])), dim=1)
    for _ in range(steps):
        sums = cosine_product(planes, unit, power, block_size)
        # A position like no other, itself included, keeps what it has.
        alone = sums[:, -1:] <= 0
        means = sums[:, :-1] / sums[:, -1:].clamp(min=1e-12)
        planes[:, :-1] = torch.where(alone, planes[:, :-1], means)
    return planes[:, :-1].unflatten(2, maps.shape[2:])


def _check_shapes(maps: Tensor, features: Tensor) -> None:
    if maps.ndim != 4 or features.ndim != 4 or \
            len(maps) != len(features) or \
            maps.shape[2:] != features.shape[2:]:
        raise ValueError(
            'An affinity needs maps (N, K, h, w) and features (N, D, h, w), '
            f'got {tuple(maps.shape)} and {tuple(features.shape)}.')


def sinkhorn_scales(product: Product, transposed: Product, like: Tensor,
                    num_iters: int) -> tuple[Tensor, Tensor]:
    """Factors that make the columns and rows of a matrix sum to one.

    Dividing by column sums, then by row sums, ``num_iters`` times, is the
    same as diag(row) A diag(column).

    Args:
        product (Callable): x to x A^T, (N, 1, P) to (N, 1, P).
        transposed (Callable): x to x A.
        like (Tensor): (N, 1, P), gives device and type.
        num_iters (int): How often.

    Returns:
        tuple[Tensor, Tensor]: ``row`` and ``column``, (N, 1, P).
    """
    row = column = torch.ones_like(like)
    for _ in range(num_iters):
        column = 1 / transposed(row).clamp(min=1e-12)
        row = 1 / product(column).clamp(min=1e-12)
    return row, column


def spread_doubly_stochastic(maps: Tensor,
                             product: Product,
                             transposed: Product,
                             num_iters: int = 3) -> Tensor:
    """CLIP-ES' refinement with any non-negative affinity.

    (Lin et al., "CLIP is Also an Efficient Segmenter", CVPR 2023, section
    3.3, without the boxes.) Three normalisations by columns and rows, made
    symmetric, applied twice: T = ((D + D^T) / 2)^2. The last division is by
    rows, so T's own rows sum to one only nearly.

    Args:
        maps (Tensor): (N, K, P).
        product (Callable): x to x A^T for (N, K, P), where row j of A says
            what position j takes.
        transposed (Callable): x to x A.
        num_iters (int): Normalisations. Defaults to 3.

    Returns:
        Tensor: (N, K, P).
    """
    row, column = sinkhorn_scales(product, transposed, maps[:, :1], num_iters)
    for _ in range(2):
        maps = (row * product(column * maps) +
                column * transposed(row * maps)) / 2
    return maps


def sinkhorn_affinity(maps: Tensor,
                      affinity: Tensor,
                      num_iters: int = 3) -> Tensor:
    """:func:`spread_doubly_stochastic` with a matrix that exists.

    Args:
        maps (Tensor): (N, K, h, w).
        affinity (Tensor): Not negative, (N, P, P).
        num_iters (int): Normalisations. Defaults to 3.

    Returns:
        Tensor: (N, K, h, w).
    """
    return spread_doubly_stochastic(
        maps.flatten(2), lambda x: x @ affinity.mT, lambda x: x @ affinity,
        num_iters).unflatten(2, maps.shape[2:])


def attention_affinity(maps: Tensor, affinity: Tensor,
                       steps: int = 1) -> Tensor:
    """Means over positions that a transformer's patches attend to.

    ACR's and GETAM's affinity, here of a frozen network: rows of the
    attention of all blocks and heads added up, patches only, then divided by
    their sums.

    Args:
        maps (Tensor): (N, K, h, w).
        affinity (Tensor): (N, P, P), row j says what position j takes.
        steps (int): How often. Defaults to 1.

    Returns:
        Tensor: (N, K, h, w).
    """
    flat = maps.flatten(2)
    weights = affinity / affinity.sum(dim=2, keepdim=True).clamp(min=1e-12)
    for _ in range(steps):
        flat = flat @ weights.mT
    return flat.unflatten(2, maps.shape[2:])


@MODELS.register_module()
class FrozenAffinity(BaseModule):
    """Maps averaged over what looks alike to a frozen network.

    One module for three places: as ``refiner`` of a ``CAMSegmentor`` (with
    ``mmwsss.RefinedCAM`` as localizer); in an :class:`AffinityRefiner`, on
    CAM files of any method or program; in a :class:`RefinedSegmentor`, on
    the probabilities of a segmentation model.

    Args:
        network (dict): Arguments of :class:`FrozenBackbone`. A vision
            transformer, block 3/4 of its depth, is a good choice.
        kernel (str): ``'cosine'`` (:func:`cosine_affinity`); ``'sinkhorn'``,
            the same cosines made doubly stochastic
            (:func:`spread_doubly_stochastic`); ``'attention'``, the
            attention of an ``mmwsss.AttentionViT``
            (:func:`attention_affinity`). Defaults to 'cosine'.
        power (float): Exponent of the cosines. Defaults to 2.
        steps (int): How often, of ``cosine`` and ``attention``.
            Defaults to 1.
        block_size (int, optional): See :func:`cosine_product`.
            Defaults to None.
        init_cfg (dict, optional): Unused. Defaults to None.

    Raises:
        ValueError: If ``kernel`` is unknown or ``power`` not positive.
    """

    def __init__(self,
                 network: dict,
                 kernel: str = 'cosine',
                 power: float = 2.,
                 steps: int = 1,
                 block_size: int | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if kernel not in KERNELS:
            raise ValueError(f'kernel is {kernel!r}, not one of {KERNELS}.')
        if power <= 0 or steps < 1:
            raise ValueError('FrozenAffinity needs power > 0 and steps >= 1, '
                             f'got {power} and {steps}.')
        self.network = FrozenBackbone(**network)
        # It was not trained on, so checkpoints need not know it: refiners
        # may be added, changed and taken away at test time.
        self.network.register_buffer(
            'digest', self.network.digest, persistent=False)
        self.kernel = kernel
        self.power = power
        self.steps = steps
        self.block_size = block_size
        # Of the images that a CAMSegmentor sees, to undo its normalisation.
        self.input_mean: list[float] | None = None
        self.input_std: list[float] | None = None

    @torch.no_grad()
    def refine_maps(self, image: Tensor, maps: Tensor) -> Tensor:
        """Spread maps over each image.

        Args:
            image (Tensor): (N, 3, H, W), RGB, grey levels 0..255.
            maps (Tensor): (N, K, h, w) over the same area, of any size; not
                negative.

        Returns:
            Tensor: float32 (N, K, gh, gw) on the grid of the network.
        """
        # Sums over thousands of positions in half precision would be coarse.
        with torch.autocast(image.device.type, enabled=False):
            return self._refine(image, maps)

    def _refine(self, image: Tensor, maps: Tensor) -> Tensor:
        if self.kernel == 'attention':
            affinity, grid = self._attention(image)
            return attention_affinity(
                _resized(maps, grid), affinity, self.steps)
        features = self.network(image)
        maps = _resized(maps, features.shape[2:])
        if self.kernel == 'cosine':
            return cosine_affinity(maps, features, self.power, self.steps,
                                   self.block_size)
        unit = _unit(features)
        # A position like no other, itself included, keeps what it has.
        alone = (unit == 0).all(dim=1, keepdim=True)

        def product(x: Tensor) -> Tensor:  # The matrix is symmetric.
            return cosine_product(x, unit, self.power,
                                  self.block_size) + x * alone

        flat = spread_doubly_stochastic(maps.flatten(2), product, product)
        return flat.unflatten(2, maps.shape[2:])

    def _attention(self, image: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Patch attention (N, P, P) and its grid."""
        net = self.network
        net.prepare()
        vit = net.get_network().to(image.device)
        if not hasattr(vit, 'forward_view'):
            raise ValueError(f"kernel='attention' needs a mmwsss.AttentionViT "
                             f'as network, not {net.name}.')
        view = vit.forward_view(
            net.normalized(image), AttentionRequest(affinity=True))
        return view['affinity'].float(), tuple(view['grid'])

    def forward(self,
                view: ViewOutput,
                class_ids: Tensor | None = None) -> Tensor:
        """Refine the CAMs of a view, as the refiner of a CAMSegmentor.

        Args:
            view (ViewOutput): With ``image`` and ``cams`` (N, K, h, w).
            class_ids (Tensor, optional): int64 (N, K'), -1 where an image
                has fewer classes. Only these are refined.

        Returns:
            Tensor: float32 (N, K', gh, gw), zeros for -1; without
            ``class_ids`` (N, K + 1, gh, gw), the maps divided by their
            maxima, and 1 - the highest of them as background before them.

        Raises:
            ValueError: If the maps are padded: the network would see the
                padding of the images.
        """
        if view.fields.get('valid') is not None:
            raise ValueError(
                'The images of this batch differ in size, and FrozenAffinity '
                'would see their padding. Bring images to one size in the '
                'training pipeline, or train with batch_size=1.')
        cams = view.cams.detach().float().relu()
        if class_ids is not None:
            index = class_ids.clamp(min=0)[..., None, None]
            cams = cams.gather(1, index.expand(-1, -1, *cams.shape[2:]))
            cams = cams * (class_ids >= 0)[..., None, None]
        image = view.image.detach().float()
        if self.input_mean is not None:
            mean, std = (
                image.new_tensor(v).reshape(-1, 1, 1)
                for v in (self.input_mean, self.input_std))
            image = image * std + mean
        maps = self.refine_maps(image, cams)
        if class_ids is not None:
            return maps
        maps = maps / maps.amax(dim=(2, 3), keepdim=True).clamp(min=1e-6)
        background = 1 - maps.amax(dim=1, keepdim=True)
        return torch.cat((background, maps), dim=1)


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (N, K, *size); pixels that a coarser cell covers are averaged."""
    maps = maps.float()
    if tuple(maps.shape[2:]) == tuple(size) or not maps.shape[1]:
        return maps if maps.shape[1] else maps.new_zeros(
            *maps.shape[:2], *size)
    return F.interpolate(maps, tuple(size), mode='bilinear', antialias=True)
