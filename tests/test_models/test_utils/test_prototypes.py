import math

import pytest
import torch
from torch.testing import assert_close

from mmwsss.models.utils.prototypes import (
    class_prototypes,
    draw_negatives,
    semantic_graph,
)


def test_prototypes():
    torch.manual_seed(0)
    features, scores = torch.randn(12, 3), torch.rand(4, 12)
    scores[1, 3:] = 0  # fewer than k
    scores[2] = 0  # absent
    found = class_prototypes(features, scores, 5)
    for c in range(4):
        rows = sorted(range(12), key=lambda p: -float(scores[c, p]))[:5]
        total = sum(float(scores[c, p]) for p in rows)
        expected = sum(float(scores[c, p]) * features[p] for p in rows)
        assert_close(found[c], expected / total if total else expected)
    assert (found[2] == 0).all()


def test_graph():
    prototypes = torch.tensor([[2., 0], [3, 3], [0, 5], [0, 0]])
    s = math.sqrt(.5)
    cosines = [[1, s, 0, 0], [s, 1, s, 0], [0, s, 1, 0], [0, 0, 0, 1]]
    graph = semantic_graph(prototypes, 0.5)
    for i in range(4):
        weights = [math.exp(2 * c) * (i != j)
                   for j, c in enumerate(cosines[i])]
        expected = [w / sum(weights) for w in weights]
        assert_close(graph[i], torch.tensor(expected))


def test_graph_of_one_class_and_of_none():
    assert semantic_graph(torch.ones(1, 3), 0.5).tolist() == [[0]]
    assert semantic_graph(torch.ones(0, 3), 0.5).shape == (0, 0)


def test_how_often_what_is_drawn():
    labels = torch.tensor([4, 0, 2, 7, 2, 0, 7, 7, 7])
    classes = torch.tensor([2, 4, 7])
    prototypes = torch.tensor([[1., 0], [1, 1], [-1, .5]])
    graph = semantic_graph(prototypes, 0.5)
    queries = torch.tensor([2, 7, 4, 7])
    drawn = draw_negatives(labels, classes, graph, queries, 20000,
                           torch.Generator().manual_seed(0))
    assert drawn.shape == (4, 20000)
    for row, query in zip(drawn, queries):
        mine = classes.tolist().index(query)
        for other, c in enumerate(classes):
            of_class = labels[row] == c
            assert float(of_class.float().mean()) == pytest.approx(
                float(graph[mine, other]), abs=0.015)
            pixels = (labels == c).nonzero()[:, 0].tolist()
            for pixel in pixels if other != mine else ():
                assert float((row[of_class] == pixel).float().mean()) == \
                    pytest.approx(1 / len(pixels), abs=0.03)
    assert (labels[drawn] > 0).all()
    assert not torch.equal(drawn[1], drawn[3])  # independent


def test_draw_for_no_query():
    labels, classes = torch.tensor([1, 2]), torch.tensor([1, 2])
    drawn = draw_negatives(labels, classes,
                           semantic_graph(torch.eye(2), 0.5),
                           torch.zeros(0, dtype=torch.int64), 5)
    assert drawn.shape == (0, 5) and drawn.dtype == torch.int64


def test_classes_of_two_views_never_meet():
    torch.manual_seed(0)
    prototypes = torch.rand(5, 4)
    views = torch.tensor([0, 0, 0, 1, 1])
    graph = semantic_graph(prototypes, 0.5, views)
    assert_close(graph[:3, :3], semantic_graph(prototypes[:3], 0.5))
    assert_close(graph[3:, 3:], semantic_graph(prototypes[3:], 0.5))
    assert not graph[:3, 3:].any() and not graph[3:, :3].any()
