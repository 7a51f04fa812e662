"""GETAM's published networks under our parameter names."""
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from mmwsss.models.heads import CAMHead, DPTDecoderHead
from mmwsss.models.necks import DPTReassemble

from .checkpoint_file import shown
from .timm_vit import convert_timm_vit

_ENCODER = 'pretrained.model.'
_UNIT = r'scratch\.refinenet([1-4])\.resConfUnit([12])\.'

# GETAM's name -> ours. The four levels count from 1 there. None: parameters
# that are not used, as nothing is added to the coarsest map.
_RULES = (
    (r'pretrained\.act_postprocess([1-4])\.0\.project\.0\.(weight|bias)',
     'neck.taps.{}.readout.{}'),
    (r'pretrained\.act_postprocess([1-4])\.3\.(weight|bias)',
     'neck.taps.{}.project.{}'),
    (r'pretrained\.act_postprocess([124])\.4\.(weight|bias)',
     'neck.taps.{}.resize.{}'),
    (r'scratch\.layer([1-4])_rn\.(weight)', 'decode_head.convs.{}.{}'),
    (r'scratch\.refinenet4\.resConfUnit1\..+', None),
    (rf'{_UNIT}conv([12])\.(weight)',
     'decode_head.fusions.{}.res_conv_unit{}.conv{}.conv.{}'),
    (rf'{_UNIT}bn([12])\.(\w+)',
     'decode_head.fusions.{}.res_conv_unit{}.conv{}.bn.{}'),
    (r'scratch\.refinenet([1-4])\.out_conv\.(weight|bias)',
     'decode_head.fusions.{}.project.conv.{}'),
    (r'cam_module\.fc\.([02])\.(weight)',
     'decode_head.recalibration.gate.{}.{}'),
    (r'cam_module\.body\.([02])\.(weight|bias)',
     'decode_head.recalibration.body.{}.{}'),
    (r'scratch\.output_conv\.0\.(weight)', 'decode_head.project.conv.{}'),
    (r'scratch\.output_conv\.1\.(\w+)', 'decode_head.project.bn.{}'),
    (r'scratch\.output_conv\.4\.(weight|bias)', 'decode_head.conv_seg.{}'),
    (r'cls_head\.(weight|bias)', 'cls_head.conv.{}'),
)
_RULES = tuple((re.compile(pattern), name) for pattern, name in _RULES)
_LEVELLED = ('pretrained.act_postprocess', 'scratch.layer',
             'scratch.refinenet')


def getam_to_mmwsss_key(name: str) -> str | None:
    """Our name of a parameter of GETAM's decoder and heads.

    Args:
        name (str): GETAM's name of a parameter outside its encoder.

    Returns:
        str | None: The name inside :class:`~mmwsss.models.EndToEndSegmentor`;
        None for a parameter that is not used.

    Raises:
        KeyError: If GETAM's network has no such parameter.
    """
    for pattern, replacement in _RULES:
        match = pattern.fullmatch(name)
        if match and replacement:
            groups = list(match.groups())
            if name.startswith(_LEVELLED):
                groups[0] = int(groups[0]) - 1
            return replacement.format(*groups)
        if match:
            return None
    raise KeyError(f'{name!r} is no parameter of GETAM\'s network that this '
                   'converter knows.')


def convert_getam(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the parameters of a network trained with GETAM's code.

    The class head, a linear layer there, becomes the 1 x 1 convolution of a
    :class:`~mmwsss.models.CAMHead`. The encoder's final norm, classifiers of
    its pretraining and the residual unit that GETAM's coarsest fusion has but
    never runs are left out. The prefix ``module.`` of distributed training is
    removed.

    Args:
        state_dict (Mapping[str, Tensor]): Of GETAM's network on a ViT, a DeiT
            or the hybrid ViT: ``pretrained.*``, ``scratch.*``,
            ``cam_module.*`` and ``cls_head.*``.

    Returns:
        dict[str, Tensor]: Of an :class:`~mmwsss.models.EndToEndSegmentor`
        with ``AttentionViT`` or ``HybridViT``, ``DPTReassemble``, ``CAMHead``
        with a bias, and ``DPTDecoderHead``.

    Raises:
        ValueError: If parameters are missing or foreign.
    """
    if state_dict and all(k.startswith('module.') for k in state_dict):
        state_dict = {k[len('module.'):]: v for k, v in state_dict.items()}
    encoder = {
        k[len(_ENCODER):]: v
        for k, v in state_dict.items() if k.startswith(_ENCODER)
    }
    if not encoder:
        raise ValueError(
            f'GETAM\'s encoder ({_ENCODER}*) not found. Is this the '
            'checkpoint of another network? An encoder alone is converted by '
            'tools/model_converters/timm_vit.py or deit.py.')
    converted = {
        f'backbone.{k}': v
        for k, v in convert_timm_vit(encoder).items()
        if not k.startswith('ln1.')
    }
    foreign = []
    for name, value in state_dict.items():
        if name.startswith(_ENCODER):
            continue
        try:
            key = getam_to_mmwsss_key(name)
        except KeyError:
            foreign.append(name)
            continue
        if key is not None:
            converted[key] = value
    if foreign:
        raise ValueError(
            f'GETAM\'s network has no {shown(foreign)}. Is this the '
            'checkpoint of another network?')
    hybrid = any(
        k.startswith('backbone.patch_embed.backbone.') for k in converted)
    missing = [k for k in _expected(hybrid) if k not in converted]
    if missing:
        raise ValueError('The checkpoint is no complete network of GETAM; it '
                         f'lacks (in our names) {shown(missing)}.')
    head = 'cls_head.conv.weight'
    converted[head] = converted[head].flatten(1)[..., None, None]
    # Checkpoints may lack these counters, which nothing uses, but the test
    # tool takes complete checkpoints only.
    for name in [k for k in converted if k.endswith('.running_var')]:
        counter = name.replace('running_var', 'num_batches_tracked')
        converted.setdefault(counter, torch.tensor(0))
    return converted


def _expected(hybrid: bool) -> list[str]:
    """Our names of all parameters outside the encoder, counters left out."""
    parts = dict(
        neck=DPTReassemble(2, (2, ) * 4, num_stem_maps=2 if hybrid else 0),
        cls_head=CAMHead(1, 2, bias=True),
        decode_head=DPTDecoderHead((2, ) * 4, 2, reduction=1, num_classes=3))
    return [
        f'{part}.{name}' for part, module in parts.items()
        for name in module.state_dict()
        if not name.endswith('num_batches_tracked')
    ]
