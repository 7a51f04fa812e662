"""The tiny vision transformers of the acr_tiny_* vectors as our models."""

import numpy as np
import torch

from mmwsss.models.converters.timm_vit import convert_timm_vit
from mmwsss.registry import MODELS


def tensor(array: np.ndarray) -> torch.Tensor:
    """A float32 tensor of an array of any type."""
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


def weights_of(vector) -> dict[str, torch.Tensor]:
    """The vector's weights under our model's names."""
    timm = {k[2:]: tensor(vector[k]) for k in vector if k.startswith('w:')}
    head = {
        k.replace('cls_head.', 'cls_head.fc.'): timm.pop(k)
        for k in list(timm) if k.startswith('cls_head.')
    }
    backbone = convert_timm_vit(timm)
    return {**{f'backbone.{k}': v for k, v in backbone.items()}, **head}


def norm_of(vector) -> dict:
    """The backbone's layer norm, where the vector names its epsilon."""
    if 'ln_eps' not in vector:
        return {}
    return dict(norm_cfg=dict(type='LN', eps=float(vector['ln_eps'])))


def build_tiny(vector, localizer: dict | None = None, **model):
    """A CAMSegmentor with the vector's architecture and weights."""
    weights = weights_of(vector)
    width = weights['backbone.pos_embed'].shape[-1]
    hidden = weights['backbone.layers.0.ffn.layers.0.0.weight'].shape[0]
    patch = weights['backbone.patch_embed.projection.weight'].shape[-1]
    grid = [int(g) for g in vector['pretrain_grid']]
    segmentor = MODELS.build(
        dict(
            type='mmwsss.CAMSegmentor',
            backbone=dict(
                type='mmwsss.AttentionViT',
                arch=dict(
                    embed_dims=width,
                    num_layers=int(vector['depth']),
                    num_heads=int(vector['num_heads']),
                    feedforward_channels=hidden),
                img_size=tuple(g * patch for g in grid),
                patch_size=patch,
                distilled='backbone.dist_token' in weights,
                **norm_of(vector)),
            cls_head=dict(
                type='mmwsss.ClassTokenHead',
                num_classes=len(weights['cls_head.fc.bias']),
                in_channels=width),
            localizer=localizer or dict(type='mmwsss.GETAM', start_layer=0),
            **model))
    segmentor.load_state_dict(weights, strict=True)
    return segmentor


def mirror_attention(attention, grid, num_prefix_tokens):
    """A mirrored image's attention in the plain image's order of tokens.

    Rows and columns of the patch tokens are permuted by
    i * gw + j -> i * gw + (gw - 1 - j), as in the published code.
    """
    gh, gw = grid
    index = torch.arange(num_prefix_tokens + gh * gw)
    patches = index[num_prefix_tokens:].reshape(gh, gw).flip(1).flatten()
    index[num_prefix_tokens:] = patches.clone()
    return attention.index_select(-2, index).index_select(-1, index)
