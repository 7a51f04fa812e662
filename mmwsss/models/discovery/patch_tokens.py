"""Keys and class attention of the last block of any vision transformer."""
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from mmwsss.pseudo_labels.object_discovery import PatchTokens
from mmwsss.utils.feature_cache import image_key

from ..backbones.attention_vit import attention_matrix
from ..backbones.frozen_features import FrozenBackbone


def attention_modules(network: nn.Module) -> list[nn.Module]:
    """Attention modules of a transformer, first block first.

    Args:
        network (nn.Module): Of mmpretrain or timm, or one with modules like
            theirs: ``qkv`` is a linear layer to queries, keys and values.

    Returns:
        list[nn.Module]: Empty for networks of another kind.
    """
    return [
        m for m in network.modules()
        if isinstance(getattr(m, 'qkv', None), nn.Linear)
        and hasattr(m, 'num_heads')
    ]


def read_patch_tokens(network: FrozenBackbone, image: Tensor) -> PatchTokens:
    """What a frozen network says of the patches of an image.

    Of a transformer the last block that runs is read, so ``out_indices`` of
    the backbone must end with the last one. Always in float32.

    Args:
        network (FrozenBackbone): Any. Its cache is for networks without
            attention alone.
        image (Tensor): (1, 3, H, W), RGB, grey levels 0..255.

    Returns:
        PatchTokens: On the grid of the network.

    Raises:
        FileNotFoundError: If its weights are missing.
        ValueError: If the image is too long, or the tokens do not fit the
            maps of the network.
    """
    return _read(network, image)[0]


def cached_patch_tokens(network: FrozenBackbone,
                        images: Tensor) -> list[PatchTokens]:
    """The same for a batch, of the cache of the network if it has one.

    For images that come again and again, in a training. Keys and attention
    are then in half precision, whether they were read or computed. Notes or
    checks the digest of the network.

    Args:
        network (FrozenBackbone): Any.
        images (Tensor): (N, 3, H, W), RGB, grey levels 0..255.

    Returns:
        list[PatchTokens]: Of each image.

    Raises:
        FileNotFoundError: If its weights are missing.
        ValueError: See :func:`read_patch_tokens`; or if a checkpoint or the
            cache is of another network.
    """
    network.prepare()
    cache = network.cache
    if cache is None:
        return _read(network, images)
    names = [f'{image_key(image)}-tokens' for image in images]
    found = [cache.get(name) for name in names]
    left = [n for n, entry in enumerate(found) if entry is None]
    if left:
        for n, (keys, row) in zip(left, _read(network, images[left])):
            row = torch.full_like(keys[..., 0], -1) if row is None else row
            # (heads, gh, gw, d + 1); attention is never negative.
            found[n] = cache.put(names[n],
                                 torch.cat((keys, row[..., None]), dim=-1))
    tokens = []
    for entry in found:
        entry = entry.to(images.device)
        row = entry[..., -1]
        tokens.append(
            PatchTokens(entry[..., :-1], None if (row < 0).any() else row))
    return tokens


@torch.no_grad()
def _read(network: FrozenBackbone, images: Tensor) -> list[PatchTokens]:
    """Tokens of images of one size (N, 3, H, W)."""
    backbone = network.get_network().to(images.device)
    modules = attention_modules(backbone)
    if not modules:
        return [
            PatchTokens(features.permute(1, 2, 0)[None], None)
            for features in network(images)
        ]
    seen: list[tuple[nn.Module, Tensor]] = []

    def note(attn: nn.Module) -> Callable[..., None]:

        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            seen[:] = [(attn, output)]  # The one before is not needed.

        return hook

    with ExitStack() as stack:
        for attn in modules:
            handle = attn.qkv.register_forward_hook(note(attn))
            stack.callback(handle.remove)
        with torch.autocast(images.device.type, enabled=False):
            maps = backbone(network.normalized(images))
    maps = maps if isinstance(maps, Tensor) else maps[-1]
    if not seen or maps.ndim != 4:
        raise ValueError(
            f'{network.name} shows no attention, or no map of its patches. '
            'Choose an mmwsss.AttentionViT, or an mmwsss.TimmBackbone whose '
            'attention has a qkv layer.')
    attn, qkv = seen[0]
    grid = tuple(maps.shape[2:])
    return [_split(network.name, attn, one[None], grid) for one in qkv]


def _split(name: str, attn: nn.Module, qkv: Tensor,
           grid: tuple[int, int]) -> PatchTokens:
    """Tokens (1, T, 3D) as keys and the class token's attention."""
    count = grid[0] * grid[1]
    prefix = qkv.shape[1] - count
    if qkv.ndim != 3 or prefix < 0:
        raise ValueError(
            f'The last attention of {name} has tokens {tuple(qkv.shape)}, '
            f'which are no {grid[0]} x {grid[1]} patches. Windowed and pooled '
            'attention is not read; choose a plain vision transformer.')
    q, k, _ = qkv[0].float().unflatten(
        1, (3, attn.num_heads, -1)).permute(1, 2, 0, 3)
    # Some networks of timm normalise them.
    q, k = (getattr(attn, n, nn.Identity())(x)
            for n, x in (('q_norm', q), ('k_norm', k)))
    row = None
    if prefix:
        row = attention_matrix(q[:, :1], k)[:, 0, prefix:].unflatten(1, grid)
    return PatchTokens(k[:, prefix:].unflatten(1, grid), row)
