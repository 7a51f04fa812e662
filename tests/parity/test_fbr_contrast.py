"""FBR's contrastive terms, alone and as a whole step of the regularizer."""
from functools import partial

import torch

from mmwsss.models.losses.info_nce import class_weights, info_nce
from mmwsss.models.regularizers import fine_grained_background_contrast as fbr
from mmwsss.models.utils.feature_bank import FeatureBank
from mmwsss.models.utils.global_batch import GlobalBatch
from mmwsss.models.utils.pixel_selection import select_queries
from mmwsss.models.utils.prototypes import semantic_graph
from mmwsss.registry import MODELS

from .fbr_helpers import (
    background_last,
    check,
    ids,
    meta,
    planes,
    recipe,
    tensor,
)

FAMILIES = ('fbr_contrast_amn', 'fbr_contrast_is', 'fbr_chain_amn',
            'fbr_chain_is')


def check_term(vector, keys, index, name):
    """One term: its value, its parts and its gradient."""
    temperature = meta(vector)['tau']
    prototypes = planes(vector, 'prototypes', dim=0)
    num = len(prototypes)
    queries = tensor(vector['query_index'], torch.int64)
    labels = ids(vector, 'query_class', num)
    classes = ids(vector, 'classes', num)
    features = tensor(vector['features']).requires_grad_()
    losses = info_nce(features[queries], prototypes[labels], keys, index,
                      temperature)
    counts = labels.bincount(minlength=num).tolist()
    weights = torch.tensor(class_weights(counts, len(classes)))[labels]
    total = (weights * losses).sum()
    prefix = 'ref_' if name == 'bg' else ''
    check(total, vector[f'{prefix}L_{name}'])
    for c, part in zip(classes, vector[f'{prefix}L_{name}_per_class']):
        mine = labels == c
        found = losses[mine].mean() if mine.any() else losses.sum() * 0
        check(found, part)
    (total + features.sum() * 0).backward()
    features.grad[tensor(vector['zero_feature_rows'], torch.int64)] = 0
    check(features.grad, vector['ref_grad_bg' if name == 'bg' else 'grad_fg'])


def check_contrast(vector):
    prototypes = planes(vector, 'prototypes', dim=0)
    labels = ids(vector, 'labels', len(prototypes))
    classes = ids(vector, 'classes', len(prototypes))
    assert torch.equal(labels[labels > 0].unique(), classes)
    queries = select_queries(labels, tensor(vector['hard'], torch.bool))
    assert torch.equal(queries, tensor(vector['query_index'], torch.int64))
    graph = semantic_graph(prototypes[classes], meta(vector)['tau'])
    check(graph, vector['sampler_prob'])
    check_term(vector, tensor(vector['bank']),
               tensor(vector['neg_bg_index'], torch.int64), 'bg')
    if len(classes) < 2:
        assert not vector['L_fg'] and not vector['grad_fg'].any()
    else:
        check_term(vector, tensor(vector['features']),
                   tensor(vector['neg_fg_index'], torch.int64), 'fg')


def check_chain(vector, monkeypatch):
    facts = recipe(vector)
    last = background_last(vector)
    maps = planes(vector, 'cam' if last else 'logits')
    tags = tensor(vector['label'])
    z_fg = tensor(vector['z_fg']).requires_grad_()
    z_bg = tensor(vector['z_bg']).requires_grad_()
    n = len(z_fg)
    regularizer = MODELS.build(
        dict(
            type='mmwsss.FineGrainedBackgroundContrast',
            in_channels=4,
            num_classes=tags.shape[1],
            embed_dims=z_fg.shape[1],
            scores='refined_cams' if last else 'pixel_logits',
            unsure_ratio=facts['r'],
            entropy_quantile=facts['quantile'],
            top_share=1 / facts['div'],
            temperature=facts['tau'],
            num_negatives=facts['M'],
            num_clusters=facts['K'],
            bank_size=max(1000, n * facts['K']),
            max_queries=None,
            bg_weight=1.,
            fg_weight=1.))
    labels, _, hard = regularizer.label_positions(maps, tags)
    assert torch.equal(labels, ids(vector, 'pseudo_label', maps.shape[1]))
    assert torch.equal(hard, tensor(vector['hard'], torch.bool))
    classes = ids(vector, 'classes', maps.shape[1])
    assert torch.equal(labels[labels > 0].unique(), classes)

    # What is random there is given here.
    points = tensor(vector['z_bg']).flatten(2).mT
    first = points.new_zeros(n, facts['K'], points.shape[2])
    for out, p, y, i in zip(first, points, labels.flatten(1),
                            vector['kmeans_init_index']):
        if (y == 0).sum() > facts['K']:  # else the points themselves
            out.copy_(p[y == 0][tensor(i, torch.int64)])
    monkeypatch.setattr(
        fbr, 'cluster_points',
        partial(fbr.cluster_points, init=first, tol=0))
    monkeypatch.setattr(
        FeatureBank, 'draw',
        lambda *_: tensor(vector['neg_bg_index'], torch.int64))
    monkeypatch.setattr(
        fbr, 'draw_negatives',
        lambda *_: tensor(vector['neg_fg_index'], torch.int64))
    seen = {}

    def prototypes(*args):
        seen['prototypes'] = class_prototypes(*args)
        return seen['prototypes']

    class_prototypes = fbr.class_prototypes
    monkeypatch.setattr(fbr, 'class_prototypes', prototypes)
    bank = regularizer.banks[0]
    losses = regularizer.contrast(
        [z_fg], [z_bg], [maps], tags,
        GlobalBatch.of([f'{i:03}' for i in range(n)], z_fg),
        torch.Generator())
    check(bank.ordered(), vector['bank'])
    check(seen['prototypes'][classes],
          planes(vector, 'prototypes', dim=0)[classes])
    assert losses['contrast_queries'] == len(vector['query_index'])
    for name in ('bg', 'fg'):
        loss = losses[f'loss_{name}_contrast']
        check(loss, vector[f'L_{name}'])
        grad, other = torch.autograd.grad(
            loss, (z_fg, z_bg), retain_graph=True, allow_unused=True)
        check(grad, vector[f'grad_{name}_z_fg'])
        assert other is None


def test_fbr_contrast(vector, monkeypatch):
    if vector.name.startswith('fbr_chain'):
        check_chain(vector, monkeypatch)
    else:
        check_contrast(vector)
