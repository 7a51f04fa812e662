"""Training steps with visual words, and the words alone.

First a training step (forward and backward pass) of a ResNet-50 of output
stride 16 with global average pooling against the same with hybrid pooling,
and with hybrid pooling and visual words of either kind; the losses that the
steps share must agree. Then what a step does with the words, on features of
the published size, against the published procedure written out plainly:
normalised features, the softmax over all words, and for the memory bank a
dense one-hot matrix of all positions. Both run in turns in one process.

    OMP_NUM_THREADS=1 python benchmarks/bench_vwl_step.py
"""
import argparse
import logging

import torch
import torch.nn.functional as F
from common import machine, ratio_table, timed
from mmengine.registry import init_default_scope
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample

from mmwsss.models.regularizers.visual_words_learning import (
    assign_words,
    update_bank,
    word_scores,
    word_sums,
)
from mmwsss.registry import MODELS

CHANNELS, CLASSES, WORDS, RHO = 2048, 20, 256, 1e-3


def build(pooling, codebook=None):
    """The classifier, with words of a kind or without any."""
    words = None if codebook is None else dict(
        vwl=dict(
            type='mmwsss.VisualWordsLearning',
            in_channels=CHANNELS,
            num_classes=CLASSES,
            num_words=WORDS,
            codebook=codebook))
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='mmwsss.CAMSegmentor',
            backbone=dict(
                type='ResNet',
                depth=50,
                strides=(1, 2, 2, 1),
                dilations=(1, 1, 1, 1),
                norm_cfg=dict(type='BN'),
                norm_eval=True),
            cls_head=dict(
                type='mmwsss.CAMHead',
                num_classes=CLASSES,
                in_channels=CHANNELS,
                pooling=dict(type=f'mmwsss.{pooling}')),
            localizer=dict(type='mmwsss.CAM'),
            regularizers=words)).train()


def make_batch(batch, size):
    torch.manual_seed(1)
    samples = []
    for i in range(batch):
        sample = SegDataSample(metainfo=dict(img_id=str(i)))
        sample.gt_label = LabelData(
            label=torch.tensor([i % CLASSES]),
            score=torch.eye(CLASSES)[i % CLASSES])
        samples.append(sample)
    return torch.randn(batch, 3, size, size), samples


def step(model, image, samples):
    model.zero_grad()
    losses = model.loss(image, samples)
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    return losses


def make_features(batch, size):
    """Positive features around some directions, and words near these."""
    generator = torch.Generator().manual_seed(0)
    words = torch.randn(WORDS, CHANNELS, generator=generator).relu()
    which = torch.randint(WORDS, (batch * size * size, ), generator=generator)
    x = words[which]
    x += torch.rand(x.shape, generator=generator) / 4
    x = x.view(batch, size, size, CHANNELS).movedim(-1, 1).contiguous()
    return x, 0.01 * words


def published_assignment(x, codebook):
    """Softmax over words and nearest word of normalised features."""
    soft = F.conv2d(
        F.normalize(x), F.normalize(codebook)[..., None, None]).softmax(dim=1)
    return soft, soft.argmax(dim=1)


def published_bank(x, codebook):
    """The bank after a step, by a dense one-hot matrix."""
    _, ids = published_assignment(x, codebook)
    one_hot = F.one_hot(ids.flatten(), WORDS).float()
    rows = x.movedim(1, -1).reshape(-1, CHANNELS)
    means = one_hot.t() @ rows / (one_hot.sum(dim=0)[:, None] + 1e-4)
    return RHO * means + (1 - RHO) * codebook


def bank(x, codebook):
    """The bank after a step, ours."""
    ids = word_scores(x, codebook).argmax(dim=1)
    codebook = codebook.clone()
    update_bank(codebook, word_sums(x, ids, WORDS),
                torch.bincount(ids.flatten(), minlength=WORDS), RHO)
    return codebook


def histogram_gradient(assign, x, codebook):
    """Gradient of the words from the histograms, any weights that differ."""
    codebook = codebook.clone().requires_grad_()
    hist = assign(x, codebook)[0].sum(dim=(2, 3))
    (hist * torch.arange(WORDS)).sum().backward()
    return codebook.grad


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, default=256, help='Crop, pixels.')
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--map-size', type=int, default=32,
                        help='Cells per side of the features of the second '
                        'table; 32 is the published crop of 512.')
    parser.add_argument('--map-batch', type=int, default=16)
    parser.add_argument('--repeats', type=int, default=5)
    args = parser.parse_args()
    init_default_scope('mmseg')
    logging.disable(logging.INFO)
    print(machine())

    print(f'\nTraining steps, ResNet-50, {args.size} px, batch {args.batch}')
    image, samples = make_batch(args.batch, args.size)
    plain = build('GlobalAveragePooling')
    cases = dict(
        pooling=build('HybridPooling'),
        learned=build('HybridPooling', 'learned'),
        memory=build('HybridPooling', 'memory'))
    expected = step(cases['pooling'], image, samples)
    for name, model in cases.items():
        losses, other, (t_plain, t_own, ratio) = timed(
            lambda: step(plain, image, samples),
            lambda model=model: step(model, image, samples), args.repeats)
        torch.testing.assert_close(other['loss_cls'], expected['loss_cls'])
        assert 'loss_cls' in losses and (name == 'pooling'
                                         or 'vwl.loss_word' in other)
        print(f'{name:28}{t_plain * 1e3:>9.0f} ms{t_own * 1e3:>9.0f} ms'
              f'{1 / ratio:>8.3f}x', flush=True)

    x, codebook = make_features(args.map_batch, args.map_size)
    assert torch.equal(
        published_assignment(x, codebook)[1], assign_words(x, codebook)[1])
    rows = []
    for name, published, own in (
        ('memory bank', lambda: published_bank(x, codebook),
         lambda: bank(x, codebook)),
        ('learned, with backward',
         lambda: histogram_gradient(published_assignment, x, codebook),
         lambda: histogram_gradient(assign_words, x, codebook))):
        a, b, times = timed(published, own, args.repeats)
        error = float((a - b).abs().max() / a.abs().max())
        assert error < 1e-5, f'{name}: differs by {error}'
        rows.append((name, *times, error))
    ratio_table(
        f'{args.map_batch} x {CHANNELS} x {args.map_size} x '
        f'{args.map_size} features, {WORDS} words', rows)


if __name__ == '__main__':
    main()
