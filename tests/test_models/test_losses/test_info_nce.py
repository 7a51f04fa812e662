import importlib
import math

import pytest
import torch
from torch.testing import assert_close

from mmwsss.models.losses.info_nce import class_weights, info_nce

# Not an attribute of its package, which shows the function of this name.
module = importlib.import_module('mmwsss.models.losses.info_nce')


def cosine(a, b):
    lengths = [max(math.sqrt(float(v @ v)), 1e-8) for v in (a, b)]
    return float(a @ b) / lengths[0] / lengths[1]


def looped(query, positive, negatives, temperature):
    own = math.exp(cosine(query, positive) / temperature)
    rest = [math.exp(cosine(query, n) / temperature) for n in negatives]
    return -math.log(own / (own + sum(rest)))


def plain(queries, positives, keys, index, temperature):
    """All keys at once, the axis of the keys being the second."""
    vectors = torch.cat((positives[:, None], keys[index]), dim=1)
    cosines = torch.cosine_similarity(queries[:, None], vectors, dim=2)
    return -(cosines / temperature).log_softmax(dim=1)[:, 0]


def draws(num=7, keys=20, negatives=6, dims=5):
    torch.manual_seed(0)
    return (torch.randn(num, dims).relu(), torch.randn(num, dims).relu(),
            torch.randn(keys, dims).relu(),
            torch.randint(keys, (num, negatives)))


@pytest.mark.parametrize('dense', [0, 32])
@pytest.mark.parametrize('temperature', [0.5, 0.1])
def test_closed_form(temperature, dense, monkeypatch):
    monkeypatch.setattr(module, 'DENSE', dense)
    queries, positives, keys, index = draws()
    queries[3] = positives[4] = keys[index[5, 0]] = 0
    found = info_nce(queries, positives, keys, index, temperature)
    assert found.shape == (7, )
    for loss, q, p, rows in zip(found, queries, positives, index):
        assert float(loss) == pytest.approx(
            looped(q, p, keys[rows], temperature), rel=1e-5)
    assert float(found[3]) == pytest.approx(math.log(7), rel=1e-6)


def test_a_toy():
    # cos 1 with the positive, 0 with one negative and 1/sqrt 2 with another.
    queries = torch.tensor([[2., 0]])
    keys = torch.tensor([[0., 3], [1, 1], [9, 9]])
    found = info_nce(queries, torch.tensor([[5., 0]]), keys,
                     torch.tensor([[0, 1]]), 0.5)
    a, b = math.exp(2), math.exp(math.sqrt(2))
    assert float(found) == pytest.approx(-math.log(a / (a + 1 + b)), rel=1e-6)


@pytest.mark.parametrize('dense', [0, 32])
@pytest.mark.parametrize('block', [1, 60, 2**22])
def test_gradient_in_blocks(block, dense, monkeypatch):
    monkeypatch.setattr(module, 'BLOCK', block)
    # 0 gathers drawn keys, 32 takes the products with all of them.
    monkeypatch.setattr(module, 'DENSE', dense)
    queries, positives, keys, index = draws()
    grads = []
    for function in (info_nce, plain):
        leaves = [x.clone().requires_grad_()
                  for x in (queries + 0.1, positives, keys)]
        losses = function(*leaves, index, 0.5)
        (losses * torch.arange(7)).sum().backward()
        grads.append([leaf.grad for leaf in leaves])
    assert_close(grads[0][0], grads[1][0], rtol=1e-4, atol=1e-6)
    assert grads[0][1] is None and grads[0][2] is None


def test_numerical_gradient():
    queries, positives, keys, index = (
        x.double() if x.is_floating_point() else x for x in draws())
    queries = (queries + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda q: info_nce(q, positives, keys, index, 0.5), queries)


def test_no_queries():
    queries = torch.zeros(0, 5, requires_grad=True)
    losses = info_nce(queries, torch.zeros(0, 5), torch.rand(3, 5),
                      torch.zeros(0, 4, dtype=torch.int64), 0.5)
    assert losses.shape == (0, )
    losses.sum().backward()
    assert queries.grad.shape == (0, 5)


def test_class_weights():
    labels = torch.tensor([2, 0, 2, 2])
    table = class_weights([1, 0, 3], 3)
    assert table == pytest.approx([1 / 3, 0, 1 / 9])
    losses = torch.tensor([1., 5, 2, 3])
    # A mean of 2 and one of 5, and a class without queries.
    weights = torch.tensor(table)[labels]
    assert float((losses * weights).sum()) == pytest.approx(7 / 3)
    assert class_weights([0, 0], 0) == [0, 0]
