"""CAMs spread over pixels that look alike: SEAM's PCM.

Wang et al., "Self-supervised Equivariant Attention Mechanism for Weakly
Supervised Semantic Segmentation", CVPR 2020
(https://arxiv.org/abs/2004.04581), Sec. 3.3: self-attention whose weights are
non-negative cosines of shallow features, normalised by their sum.
"""
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import ViewOutput

# Bytes of correlations at a time. On a CPU 2 to 16 MiB were fastest, 64 MiB
# took a third longer or more. With SEAM's 192 channels such a block is still a
# product of more than 10^9 operations, enough to keep a GPU busy.
BLOCK_BYTES = 16 * 2**20


@torch.no_grad()
def competing_maps(cams: Tensor, eps: float = 1e-5) -> Tensor:
    """CAMs of which only the strongest counts at each pixel.

    Each map r = relu(cams) becomes p = relu(r - eps) / (max(r) + eps), with
    the maximum over its pixels. The background is 1 - m, where m is the
    maximum of p over *all* classes, tagged or not; a class below m is set to
    zero, one that reaches it (ties included) keeps its value.

    Args:
        cams (Tensor): Raw maps (N, K, h, w) of the classes.
        eps (float): As above. Defaults to 1e-5.

    Returns:
        Tensor: float32 (N, K + 1, h, w) in [0, 1], background first, without
        gradient.
    """
    maps = F.relu(cams.float())
    maps = F.relu(maps - eps) / (maps.amax(dim=(2, 3), keepdim=True) + eps)
    best = maps.amax(dim=1, keepdim=True)
    return torch.cat((1 - best, maps.masked_fill(maps < best, 0)), dim=1)


def _without_autocast(tensor: Tensor) -> torch.autocast:
    """Context in which products keep the type of their factors."""
    return torch.autocast(tensor.device.type, enabled=False)


def _blocks(num_pixels: int, block_size: int) -> Iterator[slice]:
    for start in range(0, num_pixels, block_size):
        yield slice(start, min(start + block_size, num_pixels))


class _Correlation(torch.autograd.Function):
    """sum_i maps_i s_ij / (sum_i s_ij + eps), s_ij = relu(e_i . e_j).

    Only some columns j of s exist at a time, in both directions. As s is
    symmetric, the gradients of its two factors join into one product: with g
    the gradient of the sums (of maps and of the weights, hence a plane of
    ones p_C = 1 beside the maps p), de_b = sum_i e_i [s_ib > 0] (p_i . g_b +
    p_b . g_i). So computing s anew costs what autograd spends on that second
    product, and nothing has to be kept.
    """

    @staticmethod
    def forward(ctx, maps: Tensor, unit: Tensor, block_size: int,
                eps: float) -> Tensor:
        planes = torch.cat((maps, torch.ones_like(maps[:, :1])), dim=1)
        sums = torch.empty_like(planes)
        for block in _blocks(unit.shape[2], block_size):
            weights = (unit[..., block].mT @ unit).relu_()
            sums[..., block] = planes @ weights.mT
        total = sums[:, -1:] + eps
        out = sums[:, :-1] / total
        ctx.save_for_backward(planes, unit, out, total)
        ctx.block_size = block_size
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor):
        planes, unit, out, total = ctx.saved_tensors
        for_maps, for_unit = ctx.needs_input_grad[:2]
        grad_maps = torch.empty_like(out) if for_maps else None
        grad_unit = torch.empty_like(unit) if for_unit else None
        with _without_autocast(unit):
            grad = grad / total
            grads = torch.cat(
                (grad, -(grad * out).sum(dim=1, keepdim=True)), dim=1)
            left = torch.cat((planes, grads), dim=1)
            right = torch.cat((grads, planes), dim=1)
            for block in _blocks(unit.shape[2], ctx.block_size):
                weights = (unit[..., block].mT @ unit).relu_()
                if for_maps:
                    grad_maps[..., block] = grad @ weights.mT
                if for_unit:
                    slope = right[..., block].mT @ left
                    slope *= weights.gt_(0)
                    grad_unit[..., block] = unit @ slope.mT
        return grad_maps, grad_unit, None, None


def pixel_correlation(maps: Tensor,
                      features: Tensor,
                      block_size: int | None = None,
                      eps: float = 1e-5) -> Tensor:
    """Replace each pixel of the maps by the mean of pixels like it.

    With e_i = f_i / (|f_i| + eps) the result at pixel j is
    sum_i y_i s_ij / (sum_i s_ij + eps), s_ij = relu(e_i . e_j) (SEAM, Sec.
    3.3). The (hw x hw) matrix s is never whole: blocks of its columns are
    made, used and dropped, in the backward pass once more, so memory grows
    with hw * block_size. The result does not depend on the block size. The
    gradient reaches maps and features.

    Computed in float32 (float64 if either input is), also under autocast.

    Args:
        maps (Tensor): y, (N, C, h, w).
        features (Tensor): f, (N, D, h, w).
        block_size (int, optional): Columns at a time. None takes what fits
            into 16 MiB, at least one. Defaults to None.
        eps (float): As above. Defaults to 1e-5.

    Returns:
        Tensor: float32 or float64 (N, C, h, w). Zero where a pixel is like no
        pixel, i.e. its features vanish.

    Raises:
        ValueError: If the shapes do not fit or ``block_size`` is not
            positive.
    """
    if maps.ndim != 4 or features.ndim != 4 or \
            len(maps) != len(features) or \
            maps.shape[2:] != features.shape[2:]:
        raise ValueError(
            'pixel_correlation needs maps (N, C, h, w) and features '
            f'(N, D, h, w), got {tuple(maps.shape)} and '
            f'{tuple(features.shape)}.')
    if block_size is not None and block_size < 1:
        raise ValueError(f'block_size is {block_size}, not 1 or more.')
    dtype = torch.promote_types(maps.dtype, features.dtype)
    dtype = torch.promote_types(dtype, torch.float32)
    num_pixels = maps.shape[2] * maps.shape[3]
    if block_size is None:
        column = len(maps) * num_pixels * dtype.itemsize
        block_size = max(BLOCK_BYTES // max(column, 1), 1)
    with _without_autocast(features):
        unit = features.to(dtype).flatten(2)
        norm = torch.linalg.vector_norm(unit, dim=1, keepdim=True)
        out = _Correlation.apply(
            maps.to(dtype).flatten(2), unit / (norm + eps), block_size, eps)
    return out.unflatten(2, maps.shape[2:])


@MODELS.register_module()
class PixelCorrelationModule(BaseModule):
    """SEAM's pixel correlation module (Sec. 3.3).

    Shallow feature maps, each reduced by a 1x1 convolution and ReLU, and the
    image are concatenated and embedded by another 1x1 convolution; the cosines
    of these embeddings say how much pixels share of their CAMs. All maps
    are brought to the size of the first feature map (bilinear, corners
    aligned). Gradient reaches these convolutions only: neither the feature
    maps nor the CAMs that are refined. All classes compete
    (:func:`competing_maps`), whatever the tags say.

    Memory is one block of correlations, in training as well, at no cost in
    time (``benchmarks/bench_pcm.py``).

    Args:
        in_channels (Sequence[int]): Of the feature maps read. Defaults to
            (512, 1024), those of ResNet-38 with its default ``out_indices``.
        channels (Sequence[int]): What each is reduced to.
            Defaults to (64, 128).
        in_index (Sequence[int]): Which of the backbone's feature maps to
            read; negative values count from the end. Defaults to (0, 1).
        query_channels (int): Channels of the embedding. Defaults to 192.
        use_image (bool): Whether the image takes part. Defaults to True.
        block_size (int, optional): See :func:`pixel_correlation`. Defaults to
            None.
        init_cfg (dict, optional): Initialisation. None is SEAM's: normal
            Kaiming, and for the embedding uniform Xavier with gain 4.
            Defaults to None.

    Raises:
        ValueError: If the sequences are empty or differ in length.
    """

    def __init__(self,
                 in_channels: Sequence[int] = (512, 1024),
                 channels: Sequence[int] = (64, 128),
                 in_index: Sequence[int] = (0, 1),
                 query_channels: int = 192,
                 use_image: bool = True,
                 block_size: int | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg or dict(
            type='Kaiming',
            layer='Conv2d',
            mode='fan_in',
            override=dict(
                type='Xavier', name='query', gain=4, distribution='uniform')))
        if not in_index or not (len(in_channels) == len(channels) ==
                                len(in_index)):
            raise ValueError(
                'PixelCorrelationModule needs one entry per feature map in '
                f'in_channels, channels and in_index, got '
                f'{tuple(in_channels)}, {tuple(channels)} and '
                f'{tuple(in_index)}.')
        self.in_channels = tuple(in_channels)
        self.in_index = tuple(in_index)
        self.use_image = use_image
        self.block_size = block_size
        self.projections = nn.ModuleList(
            nn.Conv2d(c, d, 1, bias=False)
            for c, d in zip(in_channels, channels))
        self.query = nn.Conv2d(
            sum(channels) + 3 * use_image, query_channels, 1, bias=False)

    def embed(self, view: ViewOutput) -> Tensor:
        """What pixels are compared by.

        Args:
            view (ViewOutput): With ``feats`` and ``image``.

        Returns:
            Tensor: (N, query_channels, h, w) at the first map's size.

        Raises:
            ValueError: If a feature map does not exist or has other channels.
        """
        found = [f.shape[1] for f in view.feats]
        taps = []
        for index, width in zip(self.in_index, self.in_channels):
            if not -len(found) <= index < len(found) or found[index] != width:
                raise ValueError(
                    'PixelCorrelationModule reads feature maps '
                    f'{self.in_index} of {self.in_channels} channels, but the '
                    f'backbone gives {len(found)} with {tuple(found)}. Set '
                    "the backbone's out_indices or the refiner's in_index and "
                    'in_channels.')
            taps.append(view.feats[index].detach())
        size = taps[0].shape[2:]
        maps = [view.image] if self.use_image else []
        maps += [F.relu(conv(x)) for conv, x in zip(self.projections, taps)]
        return self.query(torch.cat([_resized(x, size) for x in maps], dim=1))

    def forward(self,
                view: ViewOutput,
                class_ids: Tensor | None = None) -> Tensor:
        """Refine the view's CAMs.

        Args:
            view (ViewOutput): With ``feats``, ``image`` (N, 3, H, W) and
                ``cams`` (N, K, h', w').
            class_ids (Tensor, optional): int64 (N, K'), the classes of
                interest, -1 where an image has fewer. Only their maps are
                refined, which is cheaper where there are many classes.

        Returns:
            Tensor: float32 at the size of the first feature map:
            (N, K + 1, h, w), background first, or (N, K', h, w), the classes
            asked for and zeros for -1. In [0, 1].

        Raises:
            ValueError: If the backbone's feature maps do not fit.
        """
        query = self.embed(view)
        maps = competing_maps(view.cams)
        if class_ids is not None:
            index = (class_ids + 1)[..., None, None]
            maps = maps.gather(1, index.expand(-1, -1, *maps.shape[2:]))
            # Plane 0, gathered for -1, is the background.
            maps = maps.masked_fill(index == 0, 0)
        maps = _resized(maps, query.shape[2:])
        return pixel_correlation(maps, query, self.block_size)


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (N, C, *size), bilinear with aligned corners."""
    if maps.shape[2:] == size:
        return maps
    return F.interpolate(maps, size=size, mode='bilinear', align_corners=True)
