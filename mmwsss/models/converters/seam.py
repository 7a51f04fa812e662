"""SEAM's published networks under our parameter names."""
from collections.abc import Mapping

import torch
from torch import Tensor

from .resnet38 import convert_resnet38

# Layers beside the backbone, and whose parameters they are in our model.
_LAYERS = {
    'fc8.weight': 'cls_head.conv.weight',
    'f8_3.weight': 'refiner.projections.0.weight',
    'f8_4.weight': 'refiner.projections.1.weight',
    'f9.weight': 'refiner.query.weight',
}


def convert_seam(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the parameters of a network trained with SEAM's code.

    The first output of its classifier, that of the background, goes: no loss
    trains it, and nothing reads it. The prefix ``module.`` of distributed
    training is removed.

    Args:
        state_dict (Mapping[str, Tensor]): Of SEAM's network on ResNet-38:
            ``conv1a``, ``b2`` .. ``bn7``, ``fc8`` (K + 1, 4096, 1, 1),
            ``f8_3``, ``f8_4`` and ``f9``.

    Returns:
        dict[str, Tensor]: Of the :class:`~mmwsss.models.CAMSegmentor` of
        ``configs/seam/seam_resnet38_voc.py``, with K classes.

    Raises:
        ValueError: If parameters are missing, foreign or of another shape.
    """
    if state_dict and all(k.startswith('module.') for k in state_dict):
        state_dict = {k[len('module.'):]: v for k, v in state_dict.items()}
    missing = [k for k in _LAYERS if k not in state_dict]
    if missing:
        raise ValueError(
            f'SEAM\'s layer{"s" * (len(missing) > 1)} {", ".join(missing)} '
            'not found. Is this the checkpoint of another network? A '
            'backbone alone is converted by '
            'tools/model_converters/resnet38.py.')
    rest = {k: v for k, v in state_dict.items() if k not in _LAYERS}
    backbone = convert_resnet38(rest)
    foreign = [
        k for k in rest
        if k not in backbone and not k.endswith('num_batches_tracked')
    ]
    if foreign:
        raise ValueError(
            f'SEAM\'s network has no {", ".join(foreign[:5])}'
            f'{" .." * (len(foreign) > 5)}. Is this the checkpoint of '
            'another network?')
    # Published checkpoints may lack these counters, which nothing uses, but
    # the test tool takes complete checkpoints only.
    counters = {
        k.replace('running_var', 'num_batches_tracked'): torch.tensor(0)
        for k in backbone if k.endswith('running_var')
    }
    layers = {k: state_dict[k].float() for k in _LAYERS}
    _check_shapes(layers, base=len(backbone['conv1a.weight']))
    layers['fc8.weight'] = layers['fc8.weight'][1:].clone()
    return {
        **{f'backbone.{k}': v
           for k, v in {**backbone, **counters}.items()},
        **{ours: layers[theirs]
           for theirs, ours in _LAYERS.items()}
    }


def _check_shapes(layers: Mapping[str, Tensor], base: int) -> None:
    """Raise ValueError if layers do not fit a ResNet-38 of that width."""
    num_scores, shallow, deep, query = (len(layers[k]) for k in _LAYERS)
    expected = {
        'fc8.weight': (max(num_scores, 2), 64 * base, 1, 1),
        'f8_3.weight': (shallow, 8 * base, 1, 1),
        'f8_4.weight': (deep, 16 * base, 1, 1),
        # The image has three channels.
        'f9.weight': (query, 3 + shallow + deep, 1, 1),
    }
    for name, shape in expected.items():
        if tuple(layers[name].shape) != shape:
            raise ValueError(
                f'{name} has the shape {tuple(layers[name].shape)}, but '
                f'SEAM\'s network needs {shape}.')
