"""Weights of attention heads against plain loops (WeakTr)."""
import math

import pytest
import torch
from torch.testing import assert_close

from mmwsss.models.heads.attention_head_weights import pool_tokens
from mmwsss.registry import MODELS

LAYERS, HEADS, WIDTH = 2, 3, 12


def build(**kwargs):
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            dict(
                type='mmwsss.AttentionHeadWeights',
                in_channels=WIDTH,
                num_layers=LAYERS,
                num_heads=HEADS,
                feature_reduction=2,
                reduction=2), **kwargs))


def outputs(tokens=7, images=2):
    torch.manual_seed(1)
    return [torch.randn(images, tokens, WIDTH) for _ in range(LAYERS)]


def plain_features(blocks, image, pooling):
    """Per head: the pooled values of every HEADS-th channel."""
    features = []
    for block in blocks:
        tokens = block[image].tolist()
        for head in range(HEADS):
            vector = []
            for channel in range(head, WIDTH, HEADS):
                values = [token[channel] for token in tokens]
                vector.append(
                    max(values) if pooling == 'max' else sum(values) /
                    len(values))
            features.append(vector)
    return features


def plain_linear(layer, vector):
    bias = [0.] * layer.out_features if layer.bias is None else (
        layer.bias.tolist())
    return [
        b + sum(w * v for w, v in zip(row, vector))
        for row, b in zip(layer.weight.tolist(), bias)
    ]


def plain_weights(module, blocks, image):
    numbers = []
    for vector in plain_features(blocks, image, module.pooling):
        hidden = plain_linear(module.score[0], vector)
        numbers += plain_linear(module.score[1], hidden)
    hidden = [max(v, 0.) for v in plain_linear(module.excite[0], numbers)]
    return [
        1 / (1 + math.exp(-v))
        for v in plain_linear(module.excite[2], hidden)
    ]


@pytest.mark.parametrize('pooling', ['max', 'mean'])
@pytest.mark.parametrize('tokens', [1, 7])
def test_weights_follow_the_formula(pooling, tokens):
    module, blocks = build(pooling=pooling), outputs(tokens)
    found = module(blocks)
    assert found.shape == (2, LAYERS * HEADS)
    for i in range(2):
        assert_close(found[i], torch.tensor(plain_weights(module, blocks, i)))
        assert_close(
            pool_tokens(blocks, HEADS, pooling)[i],
            torch.tensor(plain_features(blocks, i, pooling)))
    assert found.std(dim=1).min() > 1e-3, 'heads differ'
    assert not torch.equal(found[0], found[1]), 'images differ'


def test_sizes_are_those_of_the_paper():
    module = MODELS.build(
        dict(
            type='mmwsss.AttentionHeadWeights',
            in_channels=384,
            num_layers=12,
            num_heads=6))
    shapes = {n: tuple(p.shape) for n, p in module.named_parameters()}
    assert shapes == {
        'score.0.weight': (8, 64),
        'score.0.bias': (8, ),
        'score.1.weight': (1, 8),
        'score.1.bias': (1, ),
        'excite.0.weight': (9, 72),
        'excite.2.weight': (72, 9)
    }
    # Few heads and features leave one number, not none.
    small = build(feature_reduction=8, reduction=8)
    assert small.score[0].out_features == small.excite[0].out_features == 1


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="'max' or 'mean', got 'sum'"):
        build(pooling='sum')
    with pytest.raises(ValueError, match='5 heads do not divide 12 channels'):
        build(num_heads=5)
    with pytest.raises(ValueError, match='the backbone has 1 of 12. Set num'):
        build()(outputs()[:1])
    with pytest.raises(ValueError, match='2 of 6. Set num_layers'):
        build()([x[..., :6] for x in outputs()])
