"""Checkpoints of other code bases under our parameter names."""
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from torch import Tensor

from .checkpoint_file import convert_file, shown

_BLOCK = r'patch_embed\.backbone\.stages\.\d+\.blocks\.\d+\.'

# timm name -> our name (which is mmpretrain's), first match counts. None:
# a classifier of the pretraining task, which no model of ours has.
_RULES = (
    (r'(cls_token|dist_token|pos_embed)', r'\1'),
    (r'patch_embed\.proj\.(weight|bias)', r'patch_embed.projection.\1'),
    (r'(patch_embed\.backbone\.stem\.conv\.weight)', r'\1'),
    (r'(patch_embed\.backbone\.stem\.norm\.(?:weight|bias))', r'\1'),
    (rf'({_BLOCK}conv[123]\.weight)', r'\1'),
    (rf'({_BLOCK}norm[123]\.(?:weight|bias))', r'\1'),
    (rf'({_BLOCK}downsample\.(?:conv\.weight|norm\.(?:weight|bias)))', r'\1'),
    (r'blocks\.(\d+)\.norm([12])\.(weight|bias)', r'layers.\1.ln\2.\3'),
    (r'blocks\.(\d+)\.attn\.(qkv|proj)\.(weight|bias)',
     r'layers.\1.attn.\2.\3'),
    (r'blocks\.(\d+)\.mlp\.fc1\.(weight|bias)',
     r'layers.\1.ffn.layers.0.0.\2'),
    (r'blocks\.(\d+)\.mlp\.fc2\.(weight|bias)', r'layers.\1.ffn.layers.1.\2'),
    (r'norm\.(weight|bias)', r'ln1.\1'),
    (r'cls_head\.(weight|bias)', r'cls_head.fc.\1'),
    (r'(?:head|head_dist|pre_logits\.fc)\.(?:weight|bias)', None),
)
_RULES = tuple((re.compile(pattern), name) for pattern, name in _RULES)



def timm_to_mmwsss_key(name: str) -> str | None:
    """Our name of a parameter of timm's VisionTransformer.

    Args:
        name (str): timm's name, without any prefix. ``cls_head.*``, the class
            head ACR and GETAM add, becomes ``cls_head.fc.*``.

    Returns:
        str | None: The name inside :class:`~mmwsss.models.AttentionViT` or
        :class:`~mmwsss.models.HybridViT`; None for a classifier of the
        pretraining task.

    Raises:
        KeyError: If timm's VisionTransformer has no such parameter.
    """
    for pattern, replacement in _RULES:
        match = pattern.fullmatch(name)
        if match:
            return replacement and match.expand(replacement)
    raise KeyError(f'{name!r} is no parameter of a timm VisionTransformer '
                   'that this converter knows.')


def convert_timm_vit(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the parameters of a timm ViT, hybrid ViT or DeiT.

    Only names change, no values. Classifier heads are dropped, and the log
    says so. The prefix ``module.`` of distributed training is removed.

    Args:
        state_dict (Mapping[str, Tensor]): timm's parameters, e.g. of
            ``vit_base_r50_s16_384``, ``vit_base_patch16_384``,
            ``deit_base_distilled_patch16_384``.

    Returns:
        dict[str, Tensor]: Parameters of a backbone
        :class:`~mmwsss.models.AttentionViT` or, with a stem,
        :class:`~mmwsss.models.HybridViT`.

    Raises:
        ValueError: If parameters are foreign, missing or already converted.
    """
    if state_dict and all(k.startswith('module.') for k in state_dict):
        state_dict = {k[len('module.'):]: v for k, v in state_dict.items()}
    if any(re.match(r'(backbone\.)?layers\.\d+\.ln1\.', k)
           for k in state_dict):
        raise ValueError('These parameters already have the names of mmwsss '
                         '(e.g. layers.0.ln1.weight); there is nothing to '
                         'convert.')
    converted: dict[str, Tensor] = {}
    dropped, foreign = [], []
    for name, value in state_dict.items():
        try:
            key = timm_to_mmwsss_key(name)
        except KeyError:
            foreign.append(name)
            continue
        if key is None or key.startswith('cls_head.'):
            dropped.append(name)
        else:
            converted[key] = value
    if foreign:
        hint = 'Is this a checkpoint of another architecture?'
        if any('.ls1.gamma' in name for name in foreign):
            hint = ('With layer scale this is DINOv2 or alike, for '
                    'tools/model_converters/dinov2.py.')
        raise ValueError(
            f'{len(foreign)} of {len(state_dict)} parameters do not belong '
            f'to a timm ViT, hybrid ViT or DeiT: {shown(foreign)}. {hint}')
    _check_complete(converted)
    if dropped:
        print_log(
            f'Dropped {len(dropped)} parameters of classifier heads: '
            f'{shown(dropped)}.',
            logger='current')
    return converted


def _check_complete(converted: Mapping[str, Tensor]) -> None:
    """Raise ValueError if parts of a vision transformer are missing."""
    required = [
        'cls_token', 'pos_embed', 'patch_embed.projection.weight',
        'layers.0.attn.qkv.weight'
    ]
    if any(k.startswith('patch_embed.backbone.') for k in converted):
        required.append('patch_embed.backbone.stem.conv.weight')
    missing = [k for k in required if k not in converted]
    # A truncated or merged file would show in blocks unlike the first.
    depth = 1 + max((int(k.split('.')[1])
                     for k in converted if k.startswith('layers.')),
                    default=-1)
    first = [k for k in converted if k.startswith('layers.0.')]
    for i in range(1, depth):
        names = (k.replace('layers.0.', f'layers.{i}.', 1) for k in first)
        missing += [k for k in names if k not in converted]
    if missing:
        raise ValueError('The checkpoint is no complete vision transformer; '
                         f'it lacks (in our names) {shown(missing)}.')


def describe_vit(state_dict: Mapping[str, Tensor]) -> dict[str, Any]:
    """Architecture facts that the shapes of converted parameters tell.

    Args:
        state_dict (Mapping[str, Tensor]): Result of
            :func:`convert_timm_vit`.

    Returns:
        dict: ``type`` (our backbone class), ``embed_dims``, ``num_layers``,
        ``feedforward_channels``, ``distilled`` (bool), ``grid`` (side of the
        square grid of position embeddings), and ``patch_size`` (pixels) or,
        for a hybrid, ``stem`` (arguments of ``WeightStdResNet``).
    """
    width = state_dict['pos_embed'].shape[-1]
    distilled = 'dist_token' in state_dict
    tokens = state_dict['pos_embed'].shape[1] - (2 if distilled else 1)
    facts: dict[str, Any] = dict(
        type='AttentionViT',
        embed_dims=width,
        num_layers=sum(
            k.endswith('.attn.qkv.weight') for k in state_dict),
        feedforward_channels=state_dict['layers.0.ffn.layers.0.0.weight'].
        shape[0],
        distilled=distilled,
        grid=round(tokens**0.5))
    stem = 'patch_embed.backbone.stem.conv.weight'
    if stem not in state_dict:
        facts['patch_size'] = state_dict[
            'patch_embed.projection.weight'].shape[-1]
        return facts
    facts['type'] = 'HybridViT'
    layers: list[int] = []
    channels: list[int] = []
    prefix = 'patch_embed.backbone.stages'
    while f'{prefix}.{len(layers)}.blocks.0.conv3.weight' in state_dict:
        stage = f'{prefix}.{len(layers)}.blocks.'
        layers.append(
            sum(k.startswith(stage) and k.endswith('.conv3.weight')
                for k in state_dict))
        channels.append(state_dict[f'{stage}0.conv3.weight'].shape[0])
    facts['stem'] = dict(
        layers=layers,
        channels=channels,
        stem_channels=state_dict[stem].shape[0])
    return facts


def convert_checkpoint(src: str | Path,
                       dst: str | Path,
                       trusted: bool = False) -> dict[str, Any]:
    """Convert a timm or DeiT checkpoint file, see :func:`convert_file`.

    Args:
        src (str | Path): Checkpoint to read.
        dst (str | Path): ``.pth`` file to write.
        trusted (bool): See :func:`load_state_dict_file`.
            Defaults to False.

    Returns:
        dict: The written ``meta``, also with ``architecture``, see
        :func:`describe_vit`.
    """
    return convert_file(
        src,
        dst,
        convert_timm_vit,
        describe=lambda state: dict(architecture=describe_vit(state)),
        trusted=trusted)
