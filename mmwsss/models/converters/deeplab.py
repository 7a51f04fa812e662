"""Caffe-style ResNets of DeepLab under mmseg's parameter names."""
import re
from collections.abc import Mapping

from mmengine.logging import print_log
from torch import Tensor

_LAYERS = dict(reduce=1, conv3x3=2, increase=3)


def deeplab_to_mmseg_key(name: str) -> str | None:
    """mmseg's name of a parameter of a DeepLab ResNet.

    Args:
        name (str): Such as ``layer2.block1.reduce.conv.weight``, where
            layer1 is the stem and layer2 to layer5 are the four stages.
            Prefixes are ignored.

    Returns:
        str | None: The name in mmseg's ``ResNet(style='caffe')``; None for
        what is no part of the backbone.
    """
    stem = re.search(r'(?:^|\.)layer1\.conv1\.(conv|bn)\.(\w+)$', name)
    if stem:
        return f'{stem[1]}1.{stem[2]}'
    block = re.search(
        r'(?:^|\.)layer([2-5])\.block(\d+)\.(\w+)\.(conv|bn)\.(\w+)$', name)
    if not block:
        return None
    stage, number, layer, kind, rest = block.groups()
    prefix = f'layer{int(stage) - 1}.{int(number) - 1}'
    if layer == 'shortcut':
        return f'{prefix}.downsample.{int(kind == "bn")}.{rest}'
    if layer not in _LAYERS:
        return None
    return f'{prefix}.{kind}{_LAYERS[layer]}.{rest}'


def convert_deeplab_resnet(
        state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the backbone's parameters; classifiers are dropped.

    Args:
        state_dict (Mapping[str, Tensor]): For instance of
            ``deeplabv1_resnet101-coco``.

    Returns:
        dict[str, Tensor]: For mmseg's ``ResNet(style='caffe')``, whose input
        is BGR with mean (104.008, 116.669, 122.675) and no division.

    Raises:
        ValueError: If there is no whole ResNet among the parameters.
    """
    found = {deeplab_to_mmseg_key(k): v for k, v in state_dict.items()}
    dropped = [k for k in state_dict if deeplab_to_mmseg_key(k) is None]
    found.pop(None, None)
    missing = [
        key for key in ('conv1.weight',
                        *(f'layer{i}.0.{part}' for i in (1, 2, 3, 4)
                          for part in ('conv1.weight', 'bn3.running_var',
                                       'downsample.0.weight')))
        if key not in found
    ]
    if missing:
        raise ValueError(
            'This is no ResNet of DeepLab with names such as '
            f'layer2.block1.reduce.conv.weight; it lacks (in mmseg\'s names) '
            f'{", ".join(missing[:3])}.')
    if dropped:
        print_log(
            f'Dropped {len(dropped)} parameters that are no part of the '
            f'backbone, such as {dropped[0]}.',
            logger='current')
    return found
