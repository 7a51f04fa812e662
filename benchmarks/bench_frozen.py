"""Frozen features: the affinity in blocks, the cache, steps, a photograph.

1. ``FrozenAffinity``'s cosines in blocks against the whole matrix, written out
   plainly, in turns in one process; results must agree. Memory: the most a
   case adds to a fresh process (Linux).
2. A training step of a linear classifier on 16 images of 240 x 320 pixels: on
   a MobileNetV2 that is fine-tuned, on the same network frozen, and on its
   cached features. An epoch is that many steps.
3. What one photograph of 240 x 320 pixels costs in each stage.

Random weights, which changes no time.

    OMP_NUM_THREADS=1 python benchmarks/bench_frozen.py
"""
import argparse
import logging
import multiprocessing
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from bench_random_walk import resident
from common import machine, timed
from mmengine.registry import init_default_scope

from mmwsss.models.backbones.frozen_features import FrozenBackbone
from mmwsss.models.heads.pooling import GlobalWeightedRankPooling
from mmwsss.models.refiners.frozen_affinity import cosine_affinity
from mmwsss.pseudo_labels.pamr import PAMR
from mmwsss.registry import MODELS

SIZES = (24, 36, 64, 128)
CHANNELS, PLANES = 192, 3
CNN = dict(
    backbone=dict(type='mmwsss.DilatedMobileNetV2', out_indices=(7, )),
    channels=1280,
    long_side=336)
VIT = dict(
    backbone=dict(
        type='mmwsss.AttentionViT', arch='deit-tiny', out_indices=(9, )),
    channels=192,
    long_side=336)


def whole_matrix(maps, features):
    """Centred cosines, squared, rows divided by their sums."""
    flat = features.flatten(2)
    unit = F.normalize(flat - flat.mean(dim=2, keepdim=True), dim=1)
    weights = F.relu(unit.mT @ unit).square()
    weights = weights / weights.sum(dim=2, keepdim=True)
    return (maps.flatten(2) @ weights.mT).view(maps.shape)


FUNCTIONS = dict(whole=whole_matrix, ours=cosine_affinity)


def make(size):
    """Maps and blurred features."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, CHANNELS, 6, 6, generator=generator)
    features = F.interpolate(features, (size, size), mode='bilinear')
    return torch.rand(1, PLANES, size, size, generator=generator), features


def added_memory(name, size):
    """MiB that one run adds at most to this fresh process."""
    FUNCTIONS[name](*make(8))  # loads the libraries
    maps, features = make(size)
    Path('/proc/self/clear_refs').write_text('5')  # forgets the peak
    before = resident('VmRSS')
    FUNCTIONS[name](maps, features)
    return resident('VmHWM') - before


def affinity(repeats):
    """First part."""
    context = multiprocessing.get_context('spawn')
    print(f'\naffinity, {CHANNELS} channels, {PLANES} maps')
    print(f'{"positions":12}{"matrix":>12}{"blocks":>12}{"ratio":>8}'
          f'{"error":>10}{"matrix MiB":>12}{"blocks MiB":>12}')
    for size in SIZES:
        maps, features = make(size)
        expected, found, (other, own, ratio) = timed(
            lambda: whole_matrix(maps, features),
            lambda: cosine_affinity(maps, features), repeats)
        error = float((expected - found).abs().max())
        assert error < 1e-5, error
        memory = []
        for name in FUNCTIONS:
            with context.Pool(1) as pool:
                memory.append(pool.apply(added_memory, (name, size)))
        print(f'{f"{size} x {size}":12}{other * 1e3:>9.1f} ms'
              f'{own * 1e3:>9.1f} ms{ratio:>7.2f}x{error:>10.1e}'
              f'{memory[0]:>12.0f}{memory[1]:>12.0f}', flush=True)


def seconds(function, repeats):
    """Median seconds after one warm-up."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def steps(batch, repeats):
    """Second part."""
    torch.manual_seed(0)
    images = torch.rand(batch, 3, 240, 320) * 255
    labels = (torch.rand(batch, 20) < 0.1).float()
    pooling = GlobalWeightedRankPooling(0.99, 484)
    head = torch.nn.Conv2d(1280, 20, 1)
    network = MODELS.build(CNN['backbone'])
    network.train()

    def step(features):
        scores = pooling(head(features))
        F.multilabel_soft_margin_loss(scores, labels).backward()

    def fine_tuned():
        resized = F.interpolate(images, (256, 336), mode='bilinear')
        step(network(resized)[0])

    found = [('fine-tuned, all layers', seconds(fine_tuned, repeats))]
    with tempfile.TemporaryDirectory() as folder:
        for name, cache in (('frozen', None), ('frozen, cached', folder)):
            frozen = FrozenBackbone(**CNN, cache_dir=cache)
            found.append((name, seconds(
                lambda: step(frozen(images)), repeats)))
    print(f'\ntraining step, {batch} images')
    for name, spent in found:
        print(f'{name:28}{spent:>8.3f} s{found[0][1] / spent:>9.1f}x')


def photograph(repeats):
    """Third part."""
    image = torch.rand(1, 3, 240, 320) * 255
    cnn, vit = FrozenBackbone(**CNN), FrozenBackbone(**VIT)
    networks = [('features, MobileNetV2', lambda: cnn(image)),
                ('features, ViT-Ti up to block 9', lambda: vit(image))]
    try:
        lite = FrozenBackbone(
            dict(type='mmwsss.TimmBackbone',
                 model_name='tf_efficientnet_lite2', output_stride=16),
            1280, long_side=352)
        networks.insert(0, ('features, EfficientNet-Lite2',
                            lambda: lite(image)))
        lite(image)
    except ImportError:
        networks.pop(0)
    features, maps = vit(image), torch.rand(1, 3, 16, 21)
    head = torch.nn.Conv2d(1664, 21, 1)
    stacked = torch.rand(1, 1664, 17, 22)
    pamr, probs = PAMR(), torch.rand(1, 3, 240, 320)
    print('\none photograph')
    for name, run in (*networks,
                      ('affinity', lambda: cosine_affinity(maps, features)),
                      ('linear head', lambda: head(stacked)),
                      ('PAMR, background and 2 classes',
                       lambda: pamr(image, probs))):
        with torch.no_grad():
            print(f'{name:34}{seconds(run, repeats) * 1e3:>8.1f} ms')


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--batch', type=int, default=16)
    args = parser.parse_args()
    init_default_scope('mmseg')
    logging.disable(logging.WARNING)
    print(machine())
    affinity(args.repeats)
    steps(args.batch, args.repeats)
    photograph(args.repeats)


if __name__ == '__main__':
    main()
