"""From maps to class scores."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmwsss.registry import MODELS
from mmwsss.utils.transfer import send


@MODELS.register_module()
class GlobalAveragePooling(nn.Module):
    """Mean over all positions (Zhou et al., CAM, CVPR 2016)."""
    #: Whether a CAMHead pools its features, not its CAMs.
    pools_features = False
    #: Whether it can leave out the padding of images of different sizes.
    takes_valid = True

    def forward(self, maps: Tensor, valid: Tensor | None = None) -> Tensor:
        """Pool CAMs.

        Args:
            maps (Tensor): (N, K, h, w).
            valid (Tensor, optional): bool (N, 1, h, w), positions that
                count. None: all. Defaults to None.

        Returns:
            Tensor: (N, K).
        """
        if valid is None:
            return maps.mean(dim=(2, 3))
        return (maps * valid).sum(dim=(2, 3)) / valid.sum(dim=(2, 3))


@MODELS.register_module()
class HybridPooling(nn.Module):
    """Global average and maxima over grids (VWL, arXiv 2202.04812).

    (gamma * mean(x) + sum_i mean(maxpool_i(x))) / (gamma + len(levels)),
    where maxpool_i takes the maxima of windows of floor(h / i) x floor(w / i)
    cells side by side. As published these are not adaptive: rows and columns
    that fill no window are left out, and a side that i does not divide may
    give more than i windows. Where a side has fewer than i cells, each cell
    is a window; the published pooling fails there.

    A maximum of features is not a maximum of CAMs, so a
    :class:`CAMHead` applies this pooling before its classifier.

    Args:
        gamma (float): Weight of the mean, not negative. Defaults to 2.
        levels (Sequence[int]): Windows per side of each grid, at least 1
            each. Defaults to (1, 2, 4).

    Raises:
        ValueError: If ``gamma`` is negative or ``levels`` are not positive
            integers.
    """
    pools_features = True

    def __init__(self,
                 gamma: float = 2.,
                 levels: Sequence[int] = (1, 2, 4)) -> None:
        super().__init__()
        if gamma < 0:
            raise ValueError(f'HybridPooling needs gamma >= 0, got {gamma}.')
        if not levels or any(i != int(i) or i < 1 for i in levels):
            raise ValueError('HybridPooling needs levels that are integers '
                             f'of at least 1, e.g. (1, 2, 4), got {levels}.')
        self.gamma = gamma
        self.levels = tuple(levels)

    def forward(self, maps: Tensor) -> Tensor:
        """Pool feature maps.

        Args:
            maps (Tensor): (N, C, h, w).

        Returns:
            Tensor: (N, C).
        """
        total = self.gamma * maps.mean(dim=(2, 3))
        for level in self.levels:
            window = [max(side // level, 1) for side in maps.shape[-2:]]
            total = total + F.max_pool2d(maps, window).mean(dim=(2, 3))
        return total / (self.gamma + len(self.levels))

    def extra_repr(self) -> str:
        """Shown when a model is printed."""
        return f'gamma={self.gamma}, levels={self.levels}'


@MODELS.register_module()
class ThresholdedAveragePooling(nn.Module):
    """Mean over the positions that are active enough (TAP).

    Of each channel of each image the values above ``threshold`` times the
    channel's maximum are averaged, so a small object does not drown in its
    surroundings. Those kept that are not positive do not count in the number
    of values; a channel without positive ones is 0. No gradient flows through
    the threshold. Bae et al., "Rethinking Class Activation Mapping for Weakly
    Supervised Object Localization", ECCV 2020; as FBR (arXiv 2406.15755) uses
    it: on features, so a :class:`CAMHead` applies it before its classifier.

    Args:
        threshold (float): Share of the maximum, in [0, 1). Defaults to 0.1.

    Raises:
        ValueError: If ``threshold`` is not in [0, 1).
    """
    pools_features = True

    def __init__(self, threshold: float = 0.1) -> None:
        super().__init__()
        if not 0 <= threshold < 1:
            raise ValueError('ThresholdedAveragePooling needs a threshold in '
                             f'[0, 1), got {threshold}.')
        self.threshold = threshold

    def forward(self, maps: Tensor) -> Tensor:
        """Pool feature maps.

        Args:
            maps (Tensor): (N, C, h, w).

        Returns:
            Tensor: (N, C), at least float32.
        """
        # A sum over all positions may not fit into half precision.
        maps = maps.to(torch.promote_types(maps.dtype, torch.float32))
        bound = self.threshold * maps.detach().amax(dim=(2, 3), keepdim=True)
        kept = torch.where(maps > bound, maps, 0)
        count = (kept > 0).sum(dim=(2, 3)).clamp(min=1)
        return kept.sum(dim=(2, 3)) / count

    def extra_repr(self) -> str:
        """Shown when a model is printed."""
        return f'threshold={self.threshold}'


@MODELS.register_module()
class GlobalWeightedRankPooling(nn.Module):
    """Mean in which high values count more, by rank (GWRP).

    The values of a map are sorted, v_0 the largest, and
    s = sum_j d^j v_j / sum_j d^j. A maximum teaches a classifier to find one
    position of an object, an average asks for the whole image; a decay d
    between 0 (the maximum) and 1 (the average) asks for a part. Kolesnikov
    and Lampert, "Seed, Expand and Constrain", ECCV 2016, section 3.2; here
    pooling the class scores of patches as MCTformer+ does
    (https://arxiv.org/abs/2308.03005).

    A rank is a number of positions, so the same decay asks for a larger part
    of a smaller map. ``num_positions`` says for maps of how many positions
    ``decay`` is meant and rescales it to the map at hand, which makes it a
    share: MCTformer+'s 0.996 belongs to 784 positions (448 x 448 pixels,
    patch 16).

    Args:
        decay (float): Weight of a rank relative to the one before, in
            [0, 1]. Defaults to 0.99.
        num_positions (int, optional): Positions the decay is stated for; the
            decay used on a map of h * w positions is
            ``decay ** (num_positions / (h * w))``. None uses ``decay`` as it
            is. Defaults to None.

    Raises:
        ValueError: If ``decay`` is not in [0, 1] or ``num_positions`` is not
            positive.
    """
    pools_features = False
    takes_valid = True

    def __init__(self,
                 decay: float = 0.99,
                 num_positions: int | None = None) -> None:
        super().__init__()
        if not 0 <= decay <= 1:
            raise ValueError('GlobalWeightedRankPooling needs a decay in '
                             f'[0, 1], got {decay}.')
        if num_positions is not None and num_positions < 1:
            raise ValueError('GlobalWeightedRankPooling needs num_positions '
                             f'>= 1 or None, got {num_positions}.')
        self.decay = decay
        self.num_positions = num_positions

    def forward(self, maps: Tensor, valid: Tensor | None = None) -> Tensor:
        """Pool CAMs.

        Args:
            maps (Tensor): (N, K, h, w).
            valid (Tensor, optional): bool (N, 1, h, w), positions that
                count. None: all. Defaults to None.

        Returns:
            Tensor: (N, K), at least float32.
        """
        dtype = torch.promote_types(maps.dtype, torch.float32)
        # Half precision is too coarse for these sums.
        values = maps.to(dtype).flatten(2)
        size = values.shape[-1]
        count = torch.full((1, ), size, dtype=torch.float64)
        if valid is not None:
            values = values.masked_fill(~valid.flatten(2), -torch.inf)
            count = valid.flatten(1).sum(dim=1).double()
        values = values.sort(descending=True).values
        decay = torch.full_like(count, self.decay)
        if self.num_positions is not None:
            decay = decay**(self.num_positions / count)
        # Powers of the rounded decay would be off by its error times j.
        rank = torch.arange(size, device=count.device)
        weight = decay[:, None].pow(rank)[:, None]
        if valid is not None:
            padding = rank >= count[:, None, None]
            weight = weight.masked_fill(padding, 0)
            # Not -inf * 0.
            values = values.masked_fill(padding, 0)
        weight = send(weight.to(values.dtype), values.device)
        return (values * weight).sum(dim=-1) / weight.sum(dim=-1)

    def extra_repr(self) -> str:
        """Shown when a model is printed."""
        return f'decay={self.decay}, num_positions={self.num_positions}'


@MODELS.register_module()
class TopSharePooling(nn.Module):
    """Mean of the highest values of each map.

    The share of the positions is the same for maps of all sizes. Between a
    maximum, which finds one position of an object, and an average. Durand et
    al., "WILDCAT", CVPR 2017, equation 1 with its lowest values left out.

    Args:
        share (float): Share of the positions that count, in (0, 1]; at least
            one position does. Defaults to 0.2.

    Raises:
        ValueError: If ``share`` is not in (0, 1].
    """
    pools_features = False
    takes_valid = True

    def __init__(self, share: float = 0.2) -> None:
        super().__init__()
        if not 0 < share <= 1:
            raise ValueError('TopSharePooling needs a share in (0, 1], got '
                             f'{share}.')
        self.share = share

    def forward(self, maps: Tensor, valid: Tensor | None = None) -> Tensor:
        """Pool CAMs.

        Args:
            maps (Tensor): (N, K, h, w).
            valid (Tensor, optional): bool (N, 1, h, w), positions that
                count. None: all. Defaults to None.

        Returns:
            Tensor: (N, K), at least float32.
        """
        # Half precision is too coarse for these sums.
        dtype = torch.promote_types(maps.dtype, torch.float32)
        values = maps.to(dtype).flatten(2)
        if valid is None:
            valid = torch.ones_like(maps[:, :1], dtype=torch.bool)
        valid = valid.flatten(2)
        count = (valid.sum(dim=-1, keepdim=True) * self.share + 0.5).long()
        count = count.clamp(min=1)
        values = values.masked_fill(~valid, -torch.inf)
        values = values.sort(descending=True).values
        rank = torch.arange(values.shape[-1], device=values.device)
        # Not -inf * 0.
        return values.masked_fill(rank >= count, 0).sum(dim=-1) / count[..., 0]

    def extra_repr(self) -> str:
        """Shown when a model is printed."""
        return f'share={self.share}'


@MODELS.register_module()
class LogSumExpPooling(nn.Module):
    """A smooth maximum: log(mean(exp(r x))) / r.

    Near the average for a small sharpness r, near the maximum for a large
    one. Unlike a mean it depends on the scale of the maps. Pinheiro and
    Collobert, "From Image-level to Pixel-level Labeling with Convolutional
    Networks", CVPR 2015, equation 3.

    Args:
        sharpness (float): r, above 0. Defaults to 5, the paper's.

    Raises:
        ValueError: If ``sharpness`` is not positive.
    """
    pools_features = False
    takes_valid = True

    def __init__(self, sharpness: float = 5.) -> None:
        super().__init__()
        if sharpness <= 0:
            raise ValueError('LogSumExpPooling needs sharpness > 0, got '
                             f'{sharpness}.')
        self.sharpness = sharpness

    def forward(self, maps: Tensor, valid: Tensor | None = None) -> Tensor:
        """Pool CAMs.

        Args:
            maps (Tensor): (N, K, h, w).
            valid (Tensor, optional): bool (N, 1, h, w), positions that
                count. None: all. Defaults to None.

        Returns:
            Tensor: (N, K), at least float32.
        """
        dtype = torch.promote_types(maps.dtype, torch.float32)
        values = maps.to(dtype).flatten(2) * self.sharpness
        count = values.new_tensor(float(values.shape[-1]))
        if valid is not None:
            valid = valid.flatten(2)
            values = values.masked_fill(~valid, -torch.inf)
            count = valid.sum(dim=-1).to(dtype)
        return (values.logsumexp(dim=-1) - count.log()) / self.sharpness

    def extra_repr(self) -> str:
        """Shown when a model is printed."""
        return f'sharpness={self.sharpness}'
