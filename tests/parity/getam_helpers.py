"""The tiny networks of the getam_tiny_* vectors as our models."""

import torch

from mmwsss.models.converters.getam import convert_getam
from mmwsss.registry import MODELS

from .acr_helpers import norm_of, tensor


def weights_of(vector) -> dict[str, torch.Tensor]:
    """The vector's weights under our model's names."""
    return convert_getam(
        {k[2:]: tensor(vector[k]) for k in vector if k.startswith('w:')})


def build_tiny(vector, start_layer: int = 0, **model):
    """An EndToEndSegmentor with the vector's architecture and weights."""
    weights = weights_of(vector)
    width = weights['backbone.pos_embed'].shape[-1]
    hidden = weights['backbone.layers.0.ffn.layers.0.0.weight'].shape[0]
    patch = weights['backbone.patch_embed.projection.weight'].shape[-1]
    # Not every vector names the grid of its position embedding.
    distilled = 'backbone.dist_token' in weights
    tokens = weights['backbone.pos_embed'].shape[1] - 1 - distilled
    grid = [int(g) for g in vector['pretrain_grid']] \
        if 'pretrain_grid' in vector else [round(tokens**0.5)] * 2
    features = [int(f) for f in vector['features']]
    gate = weights['decode_head.recalibration.gate.0.weight']
    num_classes = len(weights['cls_head.conv.bias'])
    segmentor = MODELS.build(
        dict(
            type='mmwsss.EndToEndSegmentor',
            backbone=dict(
                type='mmwsss.AttentionViT',
                arch=dict(
                    embed_dims=width,
                    num_layers=int(vector['depth']),
                    num_heads=int(vector['num_heads']),
                    feedforward_channels=hidden),
                img_size=tuple(g * patch for g in grid),
                patch_size=patch,
                distilled=distilled,
                out_indices=[int(i) for i in vector['hooks']],
                **norm_of(vector)),
            neck=dict(
                type='mmwsss.DPTReassemble',
                in_channels=width,
                out_channels=features),
            cls_head=dict(
                type='mmwsss.CAMHead',
                num_classes=num_classes,
                in_channels=features[-1],
                bias=True),
            localizer=dict(
                type='mmwsss.GETAM',
                func='cam_grad_s',
                start_layer=start_layer,
                affinity=False),
            decode_head=dict(
                type='mmwsss.DPTDecoderHead',
                in_channels=features,
                channels=int(vector['dec_channels']),
                reduction=gate.shape[1] // gate.shape[0],
                num_classes=num_classes + 1),
            **dict(
                dict(
                    label_maker=dict(type='mmwsss.LabelCompletion'),
                    seg_losses={}), **model)))
    segmentor.load_state_dict(weights, strict=True)
    return segmentor
