"""VWL's pooling, word assignment and whole training steps of both kinds."""
import json

import torch
import torch.nn.functional as F
from mmengine.structures import BaseDataElement
from torch.testing import assert_close

from mmwsss.models.heads.pooling import HybridPooling
from mmwsss.models.regularizers.visual_words_learning import (
    assign_words,
    decorrelation,
    update_bank,
    word_entropy,
    word_labels,
    word_sums,
)
from mmwsss.registry import MODELS
from mmwsss.structures import ViewOutput, ViewPair

from .acr_helpers import tensor

FAMILIES = ('vwl_hybrid_pool', 'vwl_words', 'vwl_decov', 'vwl_l_step',
            'vwl_m_step')


def check(found, expected):
    """Equal to 1e-5 of the largest entry."""
    expected = tensor(expected)
    scale = float(expected.abs().max())
    assert_close(
        found.view(expected.shape), expected, rtol=0,
        atol=1e-5 * scale + 1e-12)


def check_pooling(vector):
    meta = json.loads(str(vector['meta']))
    gamma, full = meta.get('gamma', 2), meta.get('levels', (1, 2, 4))
    count = sum(name.startswith('x_') for name in vector)
    assert count > 0
    for i in range(count):
        x = tensor(vector[f'x_{i}']).requires_grad_()
        y = HybridPooling(gamma, full)(x)
        check(y, vector[f'y_{i}'])
        (y * tensor(vector[f'R_{i}']).view_as(y)).sum().backward()
        check(x.grad, vector[f'grad_x_{i}'])
        for name, levels in (('levels1', (1, )), ('levels12', (1, 2))):
            check(HybridPooling(gamma, levels)(x), vector[f'y_{name}_{i}'])


def check_words(vector):
    x = tensor(vector['x'])
    codebook = tensor(vector['codebook']).flatten(1).requires_grad_()
    soft, ids = assign_words(x, codebook)
    check(soft, vector['soft'])
    assert torch.equal(ids, tensor(vector['word_id']))
    labels = word_labels(ids, len(codebook))
    assert torch.equal(labels.bool(), tensor(vector['word_label']).bool())
    hist = soft.sum(dim=(2, 3), keepdim=True)
    check(hist, vector['hist'])
    (hist * tensor(vector['R_hist'])).sum().backward()
    check(codebook.grad, vector['grad_codebook'])
    check(assign_words(x, codebook, 10.)[0], vector['soft_tau10'])


def check_decorrelation(vector):
    codebook = tensor(vector['codebook']).flatten(1).requires_grad_()
    value = decorrelation(codebook)
    check(value, vector['decov'])
    value.backward()
    check(codebook.grad, vector['grad_codebook'])
    check(word_entropy(tensor(vector['logits'])), vector['entropy'])


def build(vector, codebook, words):
    """The head and the words of a step, with its weights."""
    num_words, channels = words.flatten(1).shape
    classes = vector['label20'].shape[1]
    head = MODELS.build(
        dict(
            type='mmwsss.CAMHead',
            num_classes=classes,
            in_channels=channels,
            pooling=dict(type='mmwsss.HybridPooling')))
    regularizer = MODELS.build(
        dict(
            type='mmwsss.VisualWordsLearning',
            in_channels=channels,
            num_classes=classes,
            num_words=num_words,
            momentum=json.loads(str(vector['meta'])).get('rho', 0),
            codebook=codebook))
    state = {
        'codebook': words.flatten(1),
        'word_head.weight': tensor(vector['w_fc_b']).flatten(1)
    }
    if codebook == 'learned':
        state['histogram_head.weight'] = tensor(vector['w_fc_a']).flatten(1)
    else:
        # The vectors' steps do not start a bank.
        state['initialised'] = torch.tensor(True)
    regularizer.load_state_dict(state)
    head.conv.weight.data = tensor(vector['w_classifier'])
    return head, regularizer


def run(head, regularizer, x4, labels):
    """Logits, CAMs and losses of a step."""
    view = ViewOutput(
        torch.zeros(len(x4), 3, 8, 8),
        labels,
        fields=dict(feats=(x4, )),
        providers=dict(logits=head, cams=head.cams))
    samples = [
        BaseDataElement(metainfo=dict(img_id=str(i))) for i in range(len(x4))
    ]
    losses = dict(loss_cls=head.loss(view))
    losses.update(regularizer(ViewPair(view, data_samples=samples)))
    return view, losses


def total(losses):
    return sum(v for k, v in losses.items() if k.startswith('loss'))


def stages(vector, x, first=0):
    """The stand-in backbone on from a stage, and its weights."""
    weights = []
    for i in range(first, 4):
        weights.append(tensor(vector[f'w_stage{i + 1}_0']).requires_grad_())
        x = F.relu(F.conv2d(x, weights[-1]))
    return x, weights


def check_learned_step(vector):
    labels = tensor(vector['label20'])
    with torch.no_grad():
        x2 = tensor(vector['x'])
        for i in (1, 2):  # detached there
            x2 = F.relu(F.conv2d(x2, tensor(vector[f'w_stage{i}_0'])))
    x4, weights = stages(vector, x2, 2)
    x4.retain_grad()
    check(x4, vector['x4'])
    words = tensor(vector['w_VWE_centroid'])
    head, regularizer = build(vector, 'learned', words)
    view, losses = run(head, regularizer, x4, labels)
    check(view.logits, vector['outputs'])
    check(view.cams.relu(), vector['cam'])
    for name, number in (('cls', 1), ('histogram', 2), ('word', 3),
                         ('decorrelation', 4)):
        check(losses[f'loss_{name}'], vector[f'loss{number}'])
    check(losses['loss_decorrelation'], vector['loss_decov'])
    soft, ids = assign_words(x4.detach(), regularizer.codebook)
    check(
        regularizer.histogram_head(soft.sum(dim=(2, 3))), vector['x_hist'])
    assert torch.equal(
        word_labels(ids, len(words)),
        tensor(vector['y_word']).float())
    logits = regularizer.word_head(x4.mean(dim=(2, 3)))
    check(logits, vector['x_word'])
    check(word_entropy(logits), vector['loss5'])
    check(total(losses), vector['loss'])
    total(losses).backward()
    for found, name in ((x4, 'x4'), (weights[0], 'stage3_0'),
                        (weights[1], 'stage4_0'),
                        (head.conv.weight, 'classifier'),
                        (regularizer.codebook, 'VWE_centroid'),
                        (regularizer.histogram_head.weight, 'fc_a'),
                        (regularizer.word_head.weight, 'fc_b')):
        check(found.grad, vector[f'grad_{name}'])


def check_memory_step(vector):
    labels = tensor(vector['label20'])
    head, regularizer = build(vector, 'memory', tensor(vector['codebook_0']))
    steps = sum(name.startswith('word_id_') for name in vector)
    assert steps > 0
    for t in range(steps):
        x4, weights = stages(vector, tensor(vector[f'x_{t}']))
        x4.retain_grad()
        check(x4, vector[f'x4_{t}'])
        before = regularizer.codebook.clone()
        check(before, vector[f'codebook_{t}'])
        soft, ids = assign_words(x4.detach(), before)
        hist_logits = F.linear(
            soft.sum(dim=(2, 3)), tensor(vector['w_fc_a']).flatten(1))
        check(hist_logits, vector[f'x_hist_logits_{t}'])
        assert torch.equal(ids, tensor(vector[f'word_id_{t}']))
        assert torch.equal(
            word_labels(ids, len(before)),
            tensor(vector[f'word_label_{t}']).float())
        means = torch.zeros_like(before)
        update_bank(
            means, word_sums(x4.detach(), ids, len(before)),
            torch.bincount(ids.flatten(), minlength=len(before)), 1.)
        check(means, vector[f'word_mean_{t}'])
        check(
            regularizer.word_head(x4.mean(dim=(2, 3))), vector[f'x_word_{t}'])

        head.zero_grad()
        regularizer.zero_grad()
        view, losses = run(head, regularizer, x4, labels)
        check(view.logits, vector[f'outputs_{t}'])
        check(losses['loss_cls'], vector[f'loss1_{t}'])
        check(losses['loss_word'], vector[f'loss3_{t}'])
        check(total(losses), vector[f'loss_{t}'])
        assert 'loss_histogram' not in losses
        check(regularizer.codebook, vector[f'codebook_{t + 1}'])
        total(losses).backward()
        check(x4.grad, vector[f'grad_x4_{t}'])
        if t == 0:
            for i, weight in enumerate(weights):
                check(weight.grad, vector[f'grad_stage{i + 1}_0'])
            check(head.conv.weight.grad, vector['grad_classifier'])
            check(regularizer.word_head.weight.grad, vector['grad_fc_b'])
    # Of the last step.
    check(view.cams.relu(), vector['cam'])


CHECKS = dict(
    vwl_hybrid_pool=check_pooling,
    vwl_words=check_words,
    vwl_decov=check_decorrelation,
    vwl_l_step=check_learned_step,
    vwl_m_step=check_memory_step)


def test_vwl_words(vector):
    family = next(f for f in FAMILIES if vector.name.startswith(f))
    CHECKS[family](vector)
