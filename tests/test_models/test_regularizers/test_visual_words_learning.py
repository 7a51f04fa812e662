import math

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close

from mmwsss.models.regularizers.visual_words_learning import (
    assign_words,
    decorrelation,
    draw_features,
    word_entropy,
    word_labels,
    word_sums,
)
from mmwsss.registry import MODELS
from mmwsss.structures import ViewOutput, ViewPair

from ..builders import NUM_CLASSES, build_segmentor, resnet_cfg, sample

CHANNELS, WORDS = 6, 5


def build(seed=0, **kwargs):
    torch.manual_seed(seed)
    cfg = dict(
        type='mmwsss.VisualWordsLearning',
        in_channels=CHANNELS,
        num_classes=NUM_CLASSES,
        num_words=WORDS)
    return MODELS.build({**cfg, **kwargs})


def features(n=2, size=(3, 4), seed=0):
    """As after a ReLU, one of them all zero."""
    torch.manual_seed(seed)
    x = torch.randn(n, CHANNELS, *size).relu()
    x[0, :, 1, 2] = 0
    return x


def tags(n):
    """The first image has no class at all."""
    labels = torch.zeros(n, NUM_CLASSES)
    for i in range(1, n):
        labels[i, [i % NUM_CLASSES, 2]] = 1
    return labels


def step(regularizer, feats, labels=None, names='abcdefgh'):
    """The terms of a batch whose images are called a, b, ..."""
    labels = tags(len(feats)) if labels is None else labels
    view = ViewOutput(
        torch.zeros(len(feats), 3, 8, 8), labels, fields=dict(feats=(feats, )))
    samples = [sample([], img_id=name) for name, _ in zip(names, feats)]
    return regularizer(ViewPair(view, data_samples=samples))


def cosine(a, b):
    lengths = math.sqrt(float(a @ a)) * math.sqrt(float(b @ b))
    return float(a @ b) / lengths if lengths > 0 else 0.


def looped_words(x, codebook, temperature=1.):
    """Softmax and nearest word, position by position."""
    n, _, h, w = x.shape
    soft = torch.zeros(n, len(codebook), h, w)
    ids = torch.zeros(n, h, w, dtype=torch.int64)
    for i in range(n):
        for y in range(h):
            for z in range(w):
                cosines = [cosine(x[i, :, y, z], c) for c in codebook]
                weights = [math.exp(temperature * c) for c in cosines]
                soft[i, :, y, z] = torch.tensor(weights) / sum(weights)
                ids[i, y, z] = cosines.index(max(cosines))
    return soft, ids


def margin(logits, labels):
    """Multi-label soft margin loss from its definition."""
    p = torch.sigmoid(logits.detach().double())
    y = labels.double()
    return float(-(y * p.log() + (1 - y) * (1 - p).log()).mean())


@pytest.mark.parametrize('temperature', [1., 10.])
def test_assign_words(temperature):
    x = 3 * features()
    codebook = torch.rand(9, CHANNELS)
    codebook[3] = 0  # as near to all as a zero feature
    soft, ids = assign_words(x, codebook, temperature)
    expected_soft, expected_ids = looped_words(x, codebook, temperature)
    assert_close(soft, expected_soft, rtol=1e-5, atol=1e-6)
    assert torch.equal(ids, expected_ids)
    assert len(ids.unique()) > 2


def test_zero_features_and_equal_words():
    codebook = torch.randn(WORDS, CHANNELS)
    soft, ids = assign_words(torch.zeros(1, CHANNELS, 2, 1), codebook)
    assert_close(soft, torch.full((1, WORDS, 2, 1), 1 / WORDS))
    assert (ids == 0).all()
    codebook[4] = codebook[2]  # the first of equals
    assert assign_words(codebook[4].view(1, -1, 1, 1), codebook)[1] == 2


def test_assignment_of_a_constant_gets_a_finite_gradient():
    x = torch.zeros(1, CHANNELS, 2, 2)
    codebook = torch.zeros(WORDS, CHANNELS, requires_grad=True)
    assign_words(x, codebook)[0].square().sum().backward()
    assert codebook.grad.isfinite().all()


def test_word_labels():
    ids = torch.tensor([[[0, 3], [3, 3]], [[1, 1], [1, 1]]])
    assert word_labels(ids, WORDS).tolist() == [[1, 0, 0, 1, 0],
                                                [0, 1, 0, 0, 0]]


def test_word_sums():
    x, ids = features(), torch.randint(WORDS, (2, 3, 4))
    ids[ids == 1] = 0
    expected = torch.zeros(WORDS, CHANNELS)
    for i in range(2):
        for y in range(3):
            for z in range(4):
                expected[ids[i, y, z]] += x[i, :, y, z]
    assert_close(word_sums(x, ids, WORDS), expected)
    assert (expected[1] == 0).all()


def test_decorrelation():
    codebook = torch.randn(WORDS, CHANNELS)
    rows = [[float(v - c.mean()) for v in c] for c in codebook]
    gram = [[sum(a * b for a, b in zip(r, s)) for s in rows] for r in rows]
    every = math.sqrt(sum(g * g for row in gram for g in row))
    own = math.sqrt(sum(gram[i][i]**2 for i in range(WORDS)))
    assert float(decorrelation(codebook)) == pytest.approx(
        (every - own) / 2, rel=1e-5)
    apart = torch.tensor([[1., -1, 0, 0], [0, 0, 1, -1]])
    assert float(decorrelation(apart)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize('codebook', [
    torch.ones(3, 4), torch.zeros(3, 4), torch.randn(1, 4)])
def test_decorrelation_of_nothing(codebook):
    codebook.requires_grad_()
    value = decorrelation(codebook)
    assert float(value) == pytest.approx(0, abs=1e-6)
    value.backward()
    assert codebook.grad.isfinite().all()


def test_word_entropy():
    logits = torch.tensor([[0., 0, 0, 0], [math.log(3), 0, -1e4, -1e4]])
    second = -(.75 * math.log(.75) + .25 * math.log(.25))
    assert float(word_entropy(logits)) == pytest.approx(
        (math.log(4) + second) / 2, rel=1e-5)


def test_learned_terms_and_their_weights():
    regularizer = build(
        temperature=4., word_weight=2., histogram_weight=3.,
        decorrelation_weight=5., entropy_weight=7.)
    x, labels = features(3), tags(3)
    losses = step(regularizer, x, labels)
    soft, ids = looped_words(x, regularizer.codebook.detach(), 4.)
    hist = soft.sum(dim=(2, 3))
    assert float(losses['loss_histogram']) == pytest.approx(
        3 * margin(hist @ regularizer.histogram_head.weight.T, labels),
        rel=1e-5)
    present = torch.zeros(3, WORDS)
    for i in range(3):
        present[i, ids[i].unique()] = 1
    assert 0 < present.mean() < 1
    logits = x.mean(dim=(2, 3)) @ regularizer.word_head.weight.T
    assert float(losses['loss_word']) == pytest.approx(
        2 * margin(logits, present), rel=1e-5)
    assert_close(losses['loss_decorrelation'],
                 5 * decorrelation(regularizer.codebook))
    assert_close(losses['loss_word_entropy'], 7 * word_entropy(logits))
    counts = [int((ids == k).sum()) for k in range(WORDS)]
    shares = [c / sum(counts) for c in counts if c]
    assert float(losses['words_alive']) == len(shares)
    assert float(losses['words_entropy']) == pytest.approx(
        -sum(s * math.log(s) for s in shares), rel=1e-5)
    assert not losses['words_alive'].requires_grad
    assert not losses['words_entropy'].requires_grad


def test_who_gets_gradients_from_what():
    regularizer = build()
    x = features().requires_grad_()
    losses = step(regularizer, x)
    assert list(losses) == [
        'loss_histogram', 'loss_decorrelation', 'loss_word', 'words_alive',
        'words_entropy'
    ]
    wanted = dict(
        features=x, words=regularizer.codebook,
        histogram_head=regularizer.histogram_head.weight,
        word_head=regularizer.word_head.weight)
    expected = dict(
        loss_histogram={'words', 'histogram_head'},
        loss_decorrelation={'words'},
        loss_word={'features', 'word_head'})
    for name, receivers in expected.items():
        grads = torch.autograd.grad(
            losses[name], list(wanted.values()), allow_unused=True,
            retain_graph=True)
        assert {n for n, g in zip(wanted, grads)
                if g is not None and g.abs().max() > 0} == receivers, name


@pytest.mark.parametrize('weight, gone', [
    ('word_weight', 'word_head'), ('histogram_weight', 'histogram_head'),
    ('decorrelation_weight', None)])
def test_terms_of_weight_zero_own_nothing(weight, gone):
    regularizer = build(**{weight: 0})
    losses = step(regularizer, features().requires_grad_())
    assert f'loss_{weight.split("_")[0]}' not in losses
    names = {n.split('.')[0] for n, _ in regularizer.named_parameters()}
    assert names == {'codebook', 'histogram_head', 'word_head'} - {gone}
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    assert all(p.grad is not None for p in regularizer.parameters())


def moved(bank, x, ids, momentum):
    """The bank after a step, word by word."""
    rows = x.movedim(1, -1).flatten(0, 2)
    after = []
    for k, word in enumerate(bank):
        mine = [r for r, i in zip(rows, ids.flatten()) if i == k]
        mean = sum(mine, torch.zeros(CHANNELS)) / (len(mine) + 1e-4)
        after.append(momentum * mean + (1 - momentum) * word)
    return torch.stack(after)


def test_memory_follows_the_mean_of_its_features():
    regularizer = build(codebook='memory', momentum=0.25)
    step(regularizer, features(seed=1))  # starts the bank
    regularizer.codebook[4] = -1  # no feature is near
    for seed in (2, 3):
        before, x = regularizer.codebook.clone(), features(seed=seed)
        _, ids = looped_words(x, before)
        losses = step(regularizer, x)
        assert_close(regularizer.codebook, moved(before, x, ids, 0.25))
        assert_close(regularizer.codebook[4], 0.75 * before[4])
        # The losses are those of the words before the step.
        logits = x.mean(dim=(2, 3)) @ regularizer.word_head.weight.T
        assert float(losses['loss_word']) == pytest.approx(
            margin(logits, word_labels(ids, WORDS)), rel=1e-5)
        assert set(losses) == {'loss_word', 'words_alive', 'words_entropy'}
    assert {n for n, _ in regularizer.named_parameters()} == {
        'word_head.weight'}


def test_memory_starts_from_features_of_the_first_batch():
    regularizer = build(codebook='memory', num_words=40)
    random = regularizer.codebook.clone()
    x = features(3)
    losses = step(regularizer, x)
    rows = x.movedim(1, -1).flatten(0, 2)
    assert bool(regularizer.initialised)
    # 40 draws from 36 positions: with replacement, yet from all images.
    found = (regularizer.codebook[:, None] == rows).all(dim=2)
    assert found.any(dim=1).all()
    assert found.any(dim=0).view(3, 12).any(dim=1).all()
    # The first losses are still those of the random words.
    logits = x.mean(dim=(2, 3)) @ regularizer.word_head.weight.T
    labels = word_labels(assign_words(x, random)[1], 40)
    assert float(losses['loss_word']) == pytest.approx(
        margin(logits, labels), rel=1e-5)


def test_draw_depends_on_seed_and_ids_not_on_the_order():
    x, names = features(4), ['b', 'd', 'a', 'c']
    drawn = draw_features(x, names, 9, seed=5)
    order = torch.tensor([2, 0, 3, 1])
    assert torch.equal(
        draw_features(x[order], [names[i] for i in order], 9, seed=5), drawn)
    assert not torch.equal(draw_features(x, names, 9, seed=6), drawn)
    # Positions count through a, b, c, d.
    rows = x[[2, 0, 3, 1]].movedim(1, -1).flatten(0, 2)
    generator = torch.Generator().manual_seed(5)
    assert torch.equal(
        drawn, rows[torch.randint(48, (9, ), generator=generator)])


def test_random_numbers_of_the_run_are_left_alone():
    regularizer = build(codebook='memory')
    torch.manual_seed(11)
    expected = torch.rand(3)
    x = features()
    torch.manual_seed(11)
    step(regularizer, x)
    assert torch.equal(torch.rand(3), expected)


def test_memory_rests_outside_of_training():
    regularizer = build(codebook='memory', momentum=0.5).eval()
    before = regularizer.codebook.clone()
    step(regularizer, features())
    assert torch.equal(regularizer.codebook, before)
    assert not bool(regularizer.initialised)


@pytest.mark.parametrize('codebook', ['learned', 'memory'])
@pytest.mark.parametrize('labels', [
    torch.zeros(2, NUM_CLASSES), torch.ones(2, NUM_CLASSES)])
@pytest.mark.parametrize('feats', [
    torch.zeros(2, CHANNELS, 3, 3), torch.ones(2, CHANNELS, 1, 1),
    torch.rand(2, CHANNELS, 2, 7)])
def test_corner_cases_stay_finite(codebook, labels, feats):
    regularizer = build(codebook=codebook, entropy_weight=1.)
    for _ in range(3):
        x = feats.clone().requires_grad_()
        regularizer.zero_grad()
        losses = step(regularizer, x, labels)
        sum(v for k, v in losses.items() if 'loss' in k).backward()
        assert all(v.isfinite() for v in losses.values())
        assert x.grad.isfinite().all()
        assert all(p.grad.isfinite().all() for p in regularizer.parameters())
        assert regularizer.codebook.isfinite().all()
    if not feats.any():
        assert losses['words_alive'] == 1
        assert losses['words_entropy'] == 0


@pytest.mark.parametrize('codebook', ['learned', 'memory'])
def test_words_are_float32_under_mixed_precision(codebook):
    x = features(3, (5, 6)).bfloat16()
    plain, mixed = build(codebook=codebook), build(codebook=codebook)
    for _ in range(3):
        expected = step(plain, x.float())
        with torch.autocast('cpu', torch.bfloat16):
            found = step(mixed, x)
        for name, value in found.items():
            assert value.dtype == torch.float32, name
            assert_close(value, expected[name], rtol=1e-6, atol=1e-6)
        assert_close(mixed.codebook, plain.codebook)


def test_initial_values():
    regularizer = build(in_channels=2048, num_words=64)
    assert float(regularizer.codebook.std()) == pytest.approx(
        math.sqrt(1 / 3) / math.sqrt(2048), rel=2e-2)
    for layer in (regularizer.word_head, regularizer.histogram_head):
        assert layer.bias is None
        assert float(layer.weight.abs().max()) == pytest.approx(
            1 / math.sqrt(layer.in_features), rel=2e-2)


@pytest.mark.parametrize('kwargs, match', [
    (dict(codebook='other'), "'learned' or 'memory'"),
    (dict(word_weight=-1), 'weights >= 0'),
    (dict(momentum=2), r'momentum in \[0, 1\]'),
    (dict(histogram_weight=0, decorrelation_weight=0), 'learns its words'),
    (dict(codebook='memory', word_weight=0), 'has only'),
])
def test_refuses_settings(kwargs, match):
    with pytest.raises(ValueError, match=match):
        build(**kwargs)


def test_refuses_other_channels_and_classes():
    with pytest.raises(ValueError, match='in_channels=6.*-1.*has 7'):
        step(build(), torch.rand(1, 7, 3, 3))
    with pytest.raises(ValueError, match='num_classes=5.*3 classes'):
        step(build(), torch.rand(1, CHANNELS, 3, 3), torch.zeros(1, 3))


# ------------------------------------------------------------- whole model
def classifier(codebook):
    cfg = resnet_cfg(regularizers=dict(
        vwl=dict(
            type='mmwsss.VisualWordsLearning',
            in_channels=128,
            num_classes=NUM_CLASSES,
            num_words=12,
            momentum=0.1,
            codebook=codebook)))
    cfg['cls_head'].update(pooling=dict(type='mmwsss.HybridPooling'))
    model = build_segmentor(**cfg)
    return model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)


def train(model, optimizer, steps):
    model.train()
    for t in steps:
        torch.manual_seed(t)
        image = torch.randn(2, 3, 32, 40)
        losses = model.loss(
            image, [sample([t % 5], img_id='x'), sample([], img_id='y')])
        optimizer.zero_grad()
        model.parse_losses(losses)[0].backward()
        optimizer.step()
    return losses


@pytest.mark.parametrize('codebook', ['learned', 'memory'])
def test_a_resumed_run_is_the_unbroken_one(codebook, tmp_path):
    model, optimizer = classifier(codebook)
    train(model, optimizer, range(2))
    torch.save((model.state_dict(), optimizer.state_dict()),
               tmp_path / 'last.pth')
    halfway = model.regularizers.vwl.codebook.clone()
    expected = train(model, optimizer, range(2, 5))
    assert not torch.equal(model.regularizers.vwl.codebook, halfway)

    torch.manual_seed(99)
    resumed, optimizer = classifier(codebook)
    states = torch.load(tmp_path / 'last.pth', weights_only=True)
    resumed.load_state_dict(states[0])
    optimizer.load_state_dict(states[1])
    found = train(resumed, optimizer, range(2, 5))
    assert 'vwl.loss_word' in found and 'vwl.words_alive' in found
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
    for name, value in model.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


# ----------------------------------------------------------- two processes
STEPS = 4
NAMES = ['d', 'b', 'c', 'a']


def steps_of(regularizer, share):
    """Losses, gradients and words of some steps on a share of the images."""
    module = getattr(regularizer, 'module', regularizer)
    history = []
    for t in range(STEPS):
        x = features(len(NAMES), (4, 5), seed=t)[share]
        labels = tags(len(NAMES))[share]
        regularizer.zero_grad()
        losses = step(regularizer, x, labels,
                      [NAMES[i] for i in range(len(NAMES))[share]])
        sum(v for k, v in losses.items() if 'loss' in k).backward()
        history.append(
            dict(
                losses={k: float(v) for k, v in losses.items()},
                words=module.codebook.detach().clone(),
                grads={
                    n: p.grad.clone() for n, p in module.named_parameters()
                }))
    return history


def work(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    for codebook in ('learned', 'memory'):
        # Another seed in each process: what rank 0 has must count.
        history = steps_of(
            DistributedDataParallel(
                build(seed=rank, codebook=codebook, momentum=0.3)),
            slice(rank, None, 2))
        torch.save(history, f'{folder}/{codebook}{rank}.pt')
    dist.destroy_process_group()


def test_one_process_and_two(tmp_path):
    mp.spawn(work, (str(tmp_path), ), nprocs=2)
    for codebook in ('learned', 'memory'):
        parts = [
            torch.load(tmp_path / f'{codebook}{rank}.pt') for rank in (0, 1)
        ]
        whole = steps_of(
            build(codebook=codebook, momentum=0.3), slice(0, None))
        for one, *both in zip(whole, *parts):
            for part in both:
                assert torch.equal(part['words'], both[0]['words'])
                assert_close(part['words'], one['words'])
                for name, grad in one['grads'].items():
                    assert_close(
                        part['grads'][name], grad, rtol=1e-4, atol=1e-6)
            for name, value in one['losses'].items():
                found = [part['losses'][name] for part in both]
                if not name.startswith('loss'):
                    # Of the global batch already.
                    assert found == pytest.approx([value] * 2, rel=1e-5)
                assert sum(found) / 2 == pytest.approx(value, rel=1e-5)
        if codebook == 'memory':
            assert not torch.equal(whole[0]['words'], whole[-1]['words'])
            # The replacement itself is a copy.
            assert torch.equal(parts[0][0]['words'], whole[0]['words'])


@pytest.mark.parametrize('first', [True, False])
def test_infinite_feature_leaves_the_bank(first):
    """Loss scaling skips such a step; the words must skip it as well."""
    regularizer = build(codebook='memory').train()
    x = features(n=2)
    if not first:
        step(regularizer, x)
    before = regularizer.codebook.clone()
    spoilt = x.clone()
    spoilt[0, 1] = float('inf')
    step(regularizer, spoilt)
    if not first:
        assert_close(regularizer.codebook, before, rtol=0, atol=0)
    # It goes on with the next one.
    for _ in range(2):
        step(regularizer, x)
        assert regularizer.codebook.isfinite().all()
    assert not torch.equal(regularizer.codebook, before)
    assert bool(regularizer.initialised)
