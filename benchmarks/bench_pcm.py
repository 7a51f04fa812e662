"""SEAM's pixel correlation in blocks against the full matrix.

The reference is the published procedure, written out plainly: normalise the
features, multiply them into a (pixels x pixels) matrix, cut off negatives,
divide by the sums of the columns, multiply the maps by it. Training rows add
the backward pass to the features, and blocks under torch's activation
checkpointing, the usual way to the same memory. The last rows refine three
classes of eighty instead of all. Both run in turns in one process and results
and gradients must agree. Memory: the most a case adds to a fresh process
(Linux). Sizes are those of maps of stride 8: SEAM's crop of 448 x 448, VOC's
375 x 500 at scale 2, COCO's 640 x 640 at scale 2.

    OMP_NUM_THREADS=1 python benchmarks/bench_pcm.py
"""
import argparse
import multiprocessing
from pathlib import Path

import torch
import torch.nn.functional as F
from bench_random_walk import resident
from common import machine, timed
from torch.utils.checkpoint import checkpoint

from mmwsss.models.refiners.pixel_correlation_module import (
    BLOCK_BYTES,
    pixel_correlation,
)

CHANNELS = 192
EPS = 1e-5
SIZES = ((56, 56), (94, 125), (160, 160))


def unit_features(features):
    flat = features.flatten(2)
    return flat / (flat.norm(dim=1, keepdim=True) + EPS)


def published(maps, features):
    """The full matrix."""
    unit = unit_features(features)
    weights = F.relu(unit.transpose(1, 2) @ unit)
    weights = weights / (weights.sum(dim=1, keepdim=True) + EPS)
    return (maps.flatten(2) @ weights).view(maps.shape)


def checkpointed(maps, features):
    """Blocks of columns, each computed anew by autograd."""
    unit, flat = unit_features(features), maps.flatten(2)

    def columns(part):
        weights = F.relu(unit.transpose(1, 2) @ part)
        return flat @ (weights / (weights.sum(dim=1, keepdim=True) + EPS))

    block = BLOCK_BYTES // (4 * len(maps) * flat.shape[2])
    return torch.cat([
        checkpoint(columns, part, use_reentrant=False)
        for part in unit.split(block, dim=2)
    ], dim=2).view(maps.shape)


FUNCTIONS = dict(
    full=published, checkpoint=checkpointed, ours=pixel_correlation)


def make(batch, planes, size):
    """Maps and blurred features, about half of whose cosines are negative."""
    generator = torch.Generator().manual_seed(0)
    small = [max(s // 4, 1) for s in size]
    features = torch.randn(batch, CHANNELS, *small, generator=generator)
    features = F.interpolate(
        features, size, mode='bilinear', align_corners=True)
    return torch.rand(batch, planes, *size, generator=generator), features


def run(function, maps, features, train):
    """The result, or the gradient of the features."""
    if not train:
        with torch.no_grad():
            return function(maps, features)
    features = features.detach().requires_grad_()
    # Any weights that differ: the maps themselves.
    (function(maps, features) * maps).sum().backward()
    return features.grad


def added_memory(name, batch, planes, size, train):
    """MiB that one run adds at most to this fresh process."""
    run(FUNCTIONS[name], *make(1, 2, (8, 8)), train)  # loads the libraries
    maps, features = make(batch, planes, size)
    Path('/proc/self/clear_refs').write_text('5')  # forgets the peak
    before = resident('VmRSS')
    run(FUNCTIONS[name], maps, features, train)
    return resident('VmHWM') - before


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--batch', type=int, default=4,
                        help='Images in the training rows.')
    parser.add_argument('--memory', type=float, default=8192,
                        help='MiB that the full matrices may take; larger '
                        'sizes run in blocks only.')
    args = parser.parse_args()
    context = multiprocessing.get_context('spawn')

    def memory(*case):
        with context.Pool(1) as pool:
            return pool.apply(added_memory, case)

    def compare(label, name, batch, planes, size, train):
        maps, features = make(batch, planes, size)
        # The matrix before and after relu and after the division.
        if 3 * 4 * batch * (size[0] * size[1])**2 / 2**20 > args.memory:
            _, _, (_, own, _) = timed(
                lambda: None, lambda: run(pixel_correlation, maps, features,
                                          train), args.repeats)
            print(f'{label:38}{"-":>10}{own * 1e3:>10.0f} ms{"-":>8}'
                  f'{"-":>10}{"-":>12}'
                  f'{memory("ours", batch, planes, size, train):>10.0f}')
            return
        expected, found, (other, own, ratio) = timed(
            lambda: run(FUNCTIONS[name], maps, features, train),
            lambda: run(pixel_correlation, maps, features, train),
            args.repeats)
        error = float((expected - found).abs().max() / expected.abs().max())
        assert error < 1e-5, f'{label}: differs by {error}'
        case = (batch, planes, size, train)
        print(f'{label:38}{other * 1e3:>7.0f} ms{own * 1e3:>10.0f} ms'
              f'{ratio:>7.2f}x{error:>10.1e}{memory(name, *case):>12.0f}'
              f'{memory("ours", *case):>10.0f}', flush=True)

    print(machine())
    print(f'{CHANNELS} channels, blocks of {BLOCK_BYTES / 2**20:.0f} MiB')
    print(f'{"":38}{"other":>10}{"ours":>13}{"ratio":>8}{"error":>10}'
          f'{"other MiB":>12}{"ours MiB":>10}')
    for size in SIZES:
        compare(f'forward, 21 planes, {size[0]}x{size[1]}', 'full', 1, 21,
                size, False)
    for batch in dict.fromkeys((1, args.batch)):
        for name in ('full', 'checkpoint'):
            compare(f'training, {batch} x 56x56, other={name}', name, batch,
                    21, (56, 56), True)

    maps, features = make(1, 81, (94, 125))
    every, some, (other, own, ratio) = timed(
        lambda: run(pixel_correlation, maps, features, False),
        lambda: run(pixel_correlation, maps[:, :3], features, False),
        args.repeats)
    error = float((every[:, :3] - some).abs().max() / every.abs().max())
    assert error < 1e-5, f'planes differ by {error}'
    print(f'{"ours, 81 planes and 3, 94x125":38}{other * 1e3:>7.0f} ms'
          f'{own * 1e3:>10.0f} ms{ratio:>7.2f}x{error:>10.1e}')


if __name__ == '__main__':
    main()
