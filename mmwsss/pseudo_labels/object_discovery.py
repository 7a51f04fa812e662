"""Objects found without any label, from what a frozen ViT says of patches.

Saliency maps and mask proposals usually come from networks that learned from
masks. The rules here need none: FOUND (Simeoni et al., "Unsupervised Object
Localization: Observing the Background to Discover Objects", CVPR 2023,
https://arxiv.org/abs/2212.07834, section 3.1) looks for what is surely
background; TokenCut (Wang et al., CVPR 2022,
https://arxiv.org/abs/2202.11539, section 3) and MaskCut (Wang et al., "Cut
and Learn for Unsupervised Object Detection and Instance Segmentation", CVPR
2023, https://arxiv.org/abs/2301.11320, section 3.2) cut the graph of patches
in two. Written from the papers and from what the published programs compute.
"""
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh
from scipy.ndimage import label
from torch import Tensor, nn

from mmwsss.registry import MODELS

#: Weight of an edge between patches that are not alike, so that the graph is
#: connected (TokenCut, section 3.2).
WEAK = 1e-5
#: Overlap with the mask before, and share of the patches, beyond which
#: MaskCut takes a mask for no other object.
MAX_OVERLAP, MIN_SHARE = 0.5, 0.01


class PatchTokens(NamedTuple):
    """What a network says of the patches of one image.

    Attributes:
        keys (Tensor): (heads, gh, gw, d), keys of the last attention; of
            networks without attention their features, as a single head.
        class_row (Tensor, optional): (heads, gh, gw), how much the class
            token attends to each patch in the last attention. None without
            a class token.
    """
    keys: Tensor
    class_row: Tensor | None


def _unit(features: np.ndarray) -> np.ndarray:
    """Rows of unit length; rows of zeros stay zeros."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.maximum(length, 1e-12)


def head_weights(class_row: np.ndarray) -> np.ndarray:
    """How much each attention head counts: those that look at little, more.

    log(sum_h Q_h / Q_h), where Q_h is the share of patches to which head h
    attends more than all heads do on average (FOUND, equation 2).

    Args:
        class_row (ndarray): (heads, P).

    Returns:
        ndarray: float64 (heads,); ones for a single head, which the formula
        would switch off.
    """
    if len(class_row) == 1:
        return np.ones(1)
    shares = (class_row > class_row.mean()).mean(axis=1) + 1e-10
    return np.log(shares.sum() / shares)


def find_background(class_row: np.ndarray,
                    keys: np.ndarray,
                    threshold: float = 0.3,
                    weigh_heads: bool = True) -> np.ndarray:
    """Patches that look like the one that gets the least attention.

    Args:
        class_row (ndarray): (heads, P), see :class:`PatchTokens`.
        keys (ndarray): (heads, P, d).
        threshold (float): Cosine above which a patch is background.
            Defaults to 0.3, as published for DINO.
        weigh_heads (bool): See :func:`head_weights`. Defaults to True.

    Returns:
        ndarray: bool (P,). At least the patch itself.
    """
    weights = head_weights(class_row) if weigh_heads else np.ones(
        len(class_row))
    seed = (weights[:, None] * class_row).sum(axis=0).argmin()
    keys = (weights[:, None, None] * keys).swapaxes(0, 1)
    unit = _unit(keys.reshape(len(keys), -1))
    background = unit @ unit[seed] > threshold
    background[seed] = True  # Also if its key is zero.
    return background


def cut_in_two(features: np.ndarray, threshold: float) -> np.ndarray | None:
    """The second smallest eigenvector of a graph of patches.

    An edge weighs 1 where the cosine of two patches exceeds the threshold,
    else :data:`WEAK`; the vector solves (D - A) v = lambda D v with the
    degrees D (normalised cut, TokenCut, equation 3).

    Args:
        features (ndarray): (P, d). A patch of zeros is like no other, nor
            like itself.
        threshold (float): The paper's tau.

    Returns:
        ndarray | None: float64 (P,), its sign is chance. None where nothing
        says where to cut: all pairs are alike, or none is.
    """
    count = len(features)
    unit = _unit(features.astype(np.float64))
    alike = unit @ unit.T > threshold
    # Then every vector solves the problem, and chance would choose.
    if alike.sum() - alike.trace() in (0, count * (count - 1)):
        return None
    weights = np.where(alike, 1., WEAK)
    root = np.sqrt(weights.sum(axis=1))
    # A symmetric problem with the same solution, largest instead of smallest
    # values.
    _, vectors = eigh(
        weights / np.outer(root, root), subset_by_index=[count - 2] * 2)
    return vectors[:, 0] / root


def pick_side(vector: np.ndarray, grid: tuple[int, int],
              check_corners: bool) -> np.ndarray:
    """The side of a cut that is the object, and of it the part that matters.

    The vector is cut at its mean. The object is on the side of the entry of
    largest size, and is what is connected with it (TokenCut, section 3.3).

    Args:
        vector (ndarray): (gh * gw,), see :func:`cut_in_two`.
        grid (tuple[int, int]): (gh, gw).
        check_corners (bool): Whether to change sides if that one holds three
            or four corners of the image, which objects rarely do (MaskCut).
            The seed then is the entry that is furthest on the other side.

    Returns:
        ndarray: bool (gh, gw).
    """
    seed = int(np.abs(vector).argmax())
    mean = vector.mean()
    if vector[seed] < mean:
        vector, mean = -vector, -mean
    side = (vector > mean).reshape(grid)
    if check_corners and side[[0, 0, -1, -1], [0, -1, 0, -1]].sum() >= 3:
        side = ~side
        seed = int(vector.argmin())
    parts, _ = label(side)
    return parts == parts.flat[seed]


def cut_objects(features: np.ndarray,
                grid: tuple[int, int],
                threshold: float = 0.2,
                num_objects: int = 1,
                check_corners: bool = False) -> np.ndarray:
    """Objects by normalised cuts, one after the other.

    Patches of an object are blanked before the next cut (MaskCut). It ends
    where the next mask overlaps the one before by more than
    :data:`MAX_OVERLAP` or holds at most :data:`MIN_SHARE` of the patches;
    the published program goes on there with the same graph, and takes the
    same mask at its next turn.

    Args:
        features (ndarray): (P, d), P = gh * gw, row by row.
        grid (tuple[int, int]): (gh, gw).
        threshold (float): See :func:`cut_in_two`. Defaults to 0.2,
            TokenCut's; MaskCut takes 0.15.
        num_objects (int): How many at most. Defaults to 1, TokenCut.
        check_corners (bool): See :func:`pick_side`. Defaults to False.

    Returns:
        ndarray: bool (n, gh, gw), without overlap; n may be 0.
    """
    features = features.copy()
    taken = np.zeros(grid, bool)
    found: list[np.ndarray] = []
    mask = None
    for _ in range(num_objects):
        vector = cut_in_two(features, threshold)
        if vector is None:
            break
        before, mask = mask, pick_side(vector, grid, check_corners)
        if before is not None and (mask.mean() <= MIN_SHARE or
                                   (mask & before).sum() > MAX_OVERLAP *
                                   (mask | before).sum()):
            break
        if (mask & ~taken).any():
            found.append(mask & ~taken)
        taken |= mask
        features[taken.ravel()] = 0
    return np.array(found, bool).reshape(-1, *grid)


@MODELS.register_module()
class BackgroundDiscovery(nn.Module):
    """FOUND's first step: the object is what is not background.

    Of FOUND's two steps this is the one without training; the second learns
    a 1 x 1 convolution on many photographs.

    Args:
        threshold (float): See :func:`find_background`. Defaults to 0.3.
        weigh_heads (bool): See :func:`head_weights`. Defaults to True.
    """

    def __init__(self,
                 threshold: float = 0.3,
                 weigh_heads: bool = True) -> None:
        super().__init__()
        self.threshold = threshold
        self.weigh_heads = weigh_heads

    def forward(self, tokens: PatchTokens) -> np.ndarray:
        """Find what is not background.

        Args:
            tokens (PatchTokens): Of one image.

        Returns:
            ndarray: bool (n, gh, gw), n is 1, or 0 if all is background.

        Raises:
            ValueError: If the network has no class token.
        """
        if tokens.class_row is None:
            raise ValueError(
                'BackgroundDiscovery reads the attention of a class token, '
                'which this network does not have. Take a vision transformer '
                'with one, or mmwsss.NormalizedCut as finder.')
        keys = _array(tokens.keys)
        grid = keys.shape[1:3]
        background = find_background(
            _array(tokens.class_row).reshape(len(keys), -1),
            keys.reshape(len(keys), -1, keys.shape[-1]), self.threshold,
            self.weigh_heads)
        masks = ~background.reshape(1, *grid)
        return masks[masks.any(axis=(1, 2))]


@MODELS.register_module()
class NormalizedCut(nn.Module):
    """TokenCut, and MaskCut for several objects of an image.

    MaskCut is ``threshold=0.15, num_objects=3, check_corners=True``.

    Args:
        threshold (float): See :func:`cut_objects`. Defaults to 0.2.
        num_objects (int): See :func:`cut_objects`. Defaults to 1.
        check_corners (bool): See :func:`cut_objects`. Defaults to False.

    Raises:
        ValueError: If ``num_objects`` is not positive.
    """

    def __init__(self,
                 threshold: float = 0.2,
                 num_objects: int = 1,
                 check_corners: bool = False) -> None:
        super().__init__()
        if num_objects < 1:
            raise ValueError('NormalizedCut needs num_objects of 1 or more, '
                             f'got {num_objects}.')
        self.threshold = threshold
        self.num_objects = num_objects
        self.check_corners = check_corners

    def forward(self, tokens: PatchTokens) -> np.ndarray:
        """Cut objects out.

        Args:
            tokens (PatchTokens): Of one image.

        Returns:
            ndarray: bool (n, gh, gw); n may be 0.
        """
        keys = _array(tokens.keys)
        grid = keys.shape[1:3]
        features = keys.transpose(1, 2, 0, 3).reshape(grid[0] * grid[1], -1)
        return cut_objects(features, grid, self.threshold, self.num_objects,
                           self.check_corners)


def _array(values: Tensor) -> np.ndarray:
    return values.detach().cpu().double().numpy()
