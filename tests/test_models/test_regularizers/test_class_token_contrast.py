"""MCTformer+'s contrast of class tokens against plain loops."""
import math

import pytest
import torch
from torch.testing import assert_close

from mmwsss.models.regularizers.class_token_contrast import (
    class_token_contrast,
)
from mmwsss.registry import MODELS
from mmwsss.structures import ViewOutput
from mmwsss.structures.view_output import ViewPair

#: Of no, one and three classes, and one that nobody knows about.
LABELS = [[0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 1], [1, math.nan, 0, 0]]


def plain(tokens, labels):
    """Token by token: a softmax over cosines must find the token itself."""
    images = []
    for i, truth in enumerate(labels.tolist()):
        classes = [k for k, t in enumerate(truth) if t == 1]
        blocks = []
        for block in tokens:
            rows = block[i].tolist()
            norms = [math.sqrt(sum(v * v for v in row)) for row in rows]

            def cosine(a, b, rows=rows, norms=norms):
                dot = sum(u * v for u, v in zip(rows[a], rows[b]))
                return dot / (norms[a] * norms[b])

            total = 0.
            for k in classes:
                powers = [
                    math.exp(cosine(k, other)) for other in range(len(rows))
                ]
                total -= math.log(powers[k] / sum(powers))
            blocks.append(total / len(classes) if classes else 0.)
        images.append(sum(blocks) / len(blocks))
    return sum(images) / len(images)


def random_tokens(blocks=3, n=4, k=4, d=6):
    torch.manual_seed(0)
    return [torch.randn(n, k, d) for _ in range(blocks)]


@pytest.mark.parametrize('rows', [[0], [1], [2], [3], [0, 1, 2, 3]])
def test_contrast_follows_the_formula(rows):
    tokens, labels = random_tokens(n=len(rows)), torch.tensor(LABELS)[rows]
    expected = plain(tokens, labels)
    assert (expected == 0) == (rows == [0])
    assert float(class_token_contrast(tokens, labels)) == pytest.approx(
        expected, abs=1e-6)


def test_bounds():
    """Equal tokens give log K, opposite ones the least there is."""
    equal = [torch.ones(1, 4, 6)] * 2
    labels = torch.tensor([[0, 1, 1, 0]])
    assert float(class_token_contrast(equal, labels)) == pytest.approx(
        math.log(4))
    opposite = torch.tensor([[[1., 0.], [-2., 0.]]])
    assert float(
        class_token_contrast([opposite], torch.tensor([[1, 0]]))
    ) == pytest.approx(math.log(1 + math.exp(-2)))
    # One class alone has nobody to be told apart from.
    assert float(class_token_contrast([opposite[:, :1]], labels[:, 1:2])) == 0


def test_only_shown_classes_are_pushed_away():
    """A step against the gradient makes cosines with them smaller."""
    tokens = [t.requires_grad_() for t in random_tokens(blocks=1, n=2)]
    labels = torch.tensor(LABELS)[[0, 1]]
    class_token_contrast(tokens, labels).backward()
    grad = tokens[0].grad
    assert not grad[0].any(), 'of an image without classes'
    assert grad[1].any()

    def mean_cosine(values):
        unit = torch.nn.functional.normalize(values[1], dim=-1)
        return float((unit @ unit[1])[[0, 2, 3]].mean())

    before = tokens[0].detach()
    assert mean_cosine(before - 0.1 * grad) < mean_cosine(before)


def test_half_precision_is_left():
    tokens = random_tokens()
    labels = torch.tensor(LABELS)
    half = [t.bfloat16() for t in tokens]
    with torch.autocast('cpu', torch.bfloat16):
        found = class_token_contrast(half, labels)
    assert found.dtype == torch.float32
    assert_close(
        found, class_token_contrast([t.float() for t in half], labels))


def test_regularizer():
    regularizer = MODELS.build(
        dict(type='mmwsss.ClassTokenContrast', loss_weight=2.))
    tokens, labels = tuple(random_tokens()), torch.tensor(LABELS)
    view = ViewOutput(
        torch.zeros(4, 3, 8, 8), labels, fields=dict(class_tokens=tokens))
    terms = regularizer(ViewPair(view))
    assert set(terms) == {'loss_contrast'}
    assert float(terms['loss_contrast']) == pytest.approx(
        2 * plain(tokens, labels), abs=1e-6)
    view.labels = labels[:, :3]
    with pytest.raises(ValueError, match='4 class tokens and labels of 3'):
        regularizer(ViewPair(view))
