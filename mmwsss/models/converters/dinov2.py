"""DINOv2's checkpoints, the official ones and timm's, for our AttentionViT."""
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmwsss.models.backbones import AttentionViT

from .checkpoint_file import convert_file, shown
from .timm_vit import timm_to_mmwsss_key

# What DINOv2 has beside timm's VisionTransformer; the second is timm's name.
_RULES = tuple((re.compile(pattern), name) for pattern, name in (
    (r'(?:register_tokens|reg_token)', 'register_tokens'),
    (r'blocks\.(\d+)\.ls1\.gamma', r'layers.\1.attn.gamma1.weight'),
    (r'blocks\.(\d+)\.ls2\.gamma', r'layers.\1.ffn.gamma2.weight'),
    # Stands for hidden patches in pretraining.
    (r'mask_token', None),
))
_NAMES = {384: 'dinov2-small', 768: 'dinov2-base', 1024: 'dinov2-large'}


def dinov2_to_mmwsss_key(name: str) -> str | None:
    """Our name of a parameter of DINOv2.

    Args:
        name (str): The official name or timm's, without any prefix.

    Returns:
        str | None: The name inside :class:`~mmwsss.models.AttentionViT`;
        None for what only pretraining uses.

    Raises:
        KeyError: If DINOv2 has no such parameter.
    """
    for pattern, replacement in _RULES:
        match = pattern.fullmatch(name)
        if match:
            return replacement and match.expand(replacement)
    return timm_to_mmwsss_key(name)


def convert_dinov2(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the parameters of a DINOv2 ViT-S, ViT-B or ViT-L.

    Names change, and one value: timm's models with registers have the class
    token's position embedding added to the class token, so here it is zero.

    Args:
        state_dict (Mapping[str, Tensor]): E.g. of
            ``dinov2_vits14_pretrain.pth``, ``dinov2_vits14_reg4_pretrain.pth``
            or timm's ``vit_small_patch14_reg4_dinov2``.

    Returns:
        dict[str, Tensor]: Parameters of :class:`~mmwsss.models.AttentionViT`
        with the arguments that :func:`describe_dinov2` tells.

    Raises:
        ValueError: If parameters are foreign, missing, of another shape or
            already converted, or belong to the ViT-g.
    """
    if any(re.match(r'(backbone\.)?layers\.\d+\.ln1\.', k)
           for k in state_dict):
        raise ValueError('These parameters already have the names of mmwsss '
                         '(e.g. layers.0.ln1.weight); there is nothing to '
                         'convert.')
    if any('.mlp.w12.' in k for k in state_dict):
        raise ValueError('This is the ViT-g, whose blocks have another kind '
                         'of MLP (SwiGLU) that is not supported. Take the '
                         'ViT-S, ViT-B or ViT-L.')
    converted: dict[str, Tensor] = {}
    dropped, foreign = [], []
    for name, value in state_dict.items():
        try:
            key = dinov2_to_mmwsss_key(name)
        except KeyError:
            foreign.append(name)
            continue
        if key is None or key.startswith('cls_head.'):
            dropped.append(name)
        else:
            converted[key] = value
    if foreign:
        raise ValueError(
            f'{len(foreign)} of {len(state_dict)} parameters do not belong '
            f'to a DINOv2 backbone: {shown(foreign)}. Take the file of the '
            'backbone alone, e.g. dinov2_vits14_pretrain.pth, or of timm, '
            'not one of another library or of a training.')
    pos_embed = converted.get('pos_embed')
    if pos_embed is not None and pos_embed.ndim == 3 and _is_square(
            pos_embed.shape[1]):
        converted['pos_embed'] = torch.cat(
            (torch.zeros_like(pos_embed[:, :1]), pos_embed), dim=1)
    _check(converted)
    if dropped:
        print_log(
            f'Dropped what only pretraining uses: {shown(dropped)}.',
            logger='current')
    return converted


def _is_square(number: int) -> bool:
    """Whether a number is that of the cells of a square grid."""
    return math.isqrt(number)**2 == number


def describe_dinov2(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """The config of the backbone that converted parameters belong to.

    Args:
        state_dict (Mapping[str, Tensor]): Result of :func:`convert_dinov2`.

    Returns:
        dict: Arguments of :class:`~mmwsss.models.AttentionViT`. The heads of
        a width that DINOv2 was not published in are taken to have 64
        channels.
    """
    width = state_dict['cls_token'].shape[-1]
    patch = state_dict['patch_embed.projection.weight'].shape[-1]
    side = math.isqrt(state_dict['pos_embed'].shape[1] - 1)
    registers = state_dict.get('register_tokens')
    arch: Any = dict(
        embed_dims=width,
        num_layers=sum(k.endswith('.attn.qkv.weight') for k in state_dict),
        num_heads=max(width // 64, 1),
        feedforward_channels=len(state_dict['layers.0.ffn.layers.0.0.weight']))
    name = _NAMES.get(width)
    if name and AttentionViT.arch_zoo[name] == arch:
        arch = name
    return dict(
        type='mmwsss.AttentionViT',
        arch=arch,
        img_size=side * patch,
        patch_size=patch,
        layer_scale_init_value=1e-5,
        num_registers=0 if registers is None else registers.shape[1],
        final_norm=True,
        interpolate_mode='bicubic',
        interpolate_antialias=True)


def _check(converted: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless these are all parameters, of right shapes."""
    required = [
        'cls_token', 'pos_embed', 'patch_embed.projection.weight',
        'layers.0.ffn.layers.0.0.weight', 'layers.0.attn.gamma1.weight'
    ]
    missing = [k for k in required if k not in converted]
    if missing:
        hint = ''
        if missing == required[-1:]:
            hint = (' Without layer scale this is no DINOv2 but another ViT, '
                    'for tools/model_converters/timm_vit.py or deit.py.')
        raise ValueError('The checkpoint is no complete DINOv2 backbone; it '
                         f'lacks (in our names) {shown(missing)}.{hint}')
    tokens = converted['pos_embed'].shape[1:2]
    if not tokens or not _is_square(tokens[0] - 1):
        raise ValueError(
            'The position embedding has the shape '
            f'{tuple(converted["pos_embed"].shape)}, which is no square grid '
            'of patches with or without a class token.')
    config = describe_dinov2(converted)
    if isinstance(config['arch'], dict):
        # Heads are no matter of shapes, but have to divide the width.
        config['arch'] = dict(config['arch'], num_heads=1)
    del config['type']
    with torch.device('meta'):
        wanted = {k: tuple(v.shape)
                  for k, v in AttentionViT(**config).state_dict().items()}
    missing = [k for k in wanted if k not in converted]
    if missing:
        raise ValueError('The checkpoint is no complete DINOv2 backbone; it '
                         f'lacks (in our names) {shown(missing)}.')
    for name, value in converted.items():
        if wanted.get(name) != tuple(value.shape):
            raise ValueError(
                f'{name} (our name) has the shape {tuple(value.shape)}, but '
                f'this DINOv2 backbone needs {wanted.get(name, "none")}. Is '
                'it a checkpoint of another architecture?')


def convert_dinov2_file(src: str | Path,
                        dst: str | Path,
                        trusted: bool = False) -> dict[str, Any]:
    """Convert a checkpoint file, see :func:`convert_dinov2`.

    The result is ``{'state_dict': ..., 'meta': ...}``; use it in a config as
    ``init_cfg=dict(type='Pretrained', checkpoint=dst)`` of the backbone. It
    appears whole or not at all.

    Args:
        src (str | Path): ``.pth`` of DINOv2 or timm, or ``.safetensors`` of
            timm.
        dst (str | Path): ``.pth`` file to write.
        trusted (bool): See
            :func:`~mmwsss.utils.checkpoint.load_checkpoint_file`.
            Defaults to False.

    Returns:
        dict: The written ``meta``: ``source`` (file name), ``source_sha256``
        and ``backbone``, see :func:`describe_dinov2`.

    Raises:
        FileNotFoundError: If ``src`` does not exist.
        ValueError: If ``src`` is no DINOv2 checkpoint or is ``dst``.
    """
    return convert_file(
        src,
        dst,
        convert_dinov2,
        describe=lambda state: dict(backbone=describe_dinov2(state)),
        trusted=trusted)
