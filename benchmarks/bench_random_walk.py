"""Random walk of CAMs: sparse Chebyshev sums against dense squaring.

The reference is the published procedure, written out plainly: scatter the
affinities into a dense (pixels x pixels) matrix, raise its entries to beta,
normalise its columns, square it log_steps times, multiply the CAMs by
it. Both start from the same affinities in one process, and the maps must
agree. Where all squarings would take too long, the first ones are timed and
the time is scaled; such rows are marked with ~ and compared with a walk of as
many steps; where the matrices themselves take too much memory, the time is
scaled from the last size that did fit. Memory: two dense matrices against the
most that our walk, affinities included, adds to a fresh process (Linux).

    python benchmarks/bench_random_walk.py
"""
import argparse
import multiprocessing
import statistics
import time
from pathlib import Path

import torch
from common import machine

from mmwsss.pseudo_labels import edge_affinity, path_offsets, random_walk

RADIUS = 5
BETA = 10
CLASSES = 3
# VOC's 375x500 and COCO's 640x640 at stride 4 are 94x125 and 160x160.
SIZES = ((24, 32), (32, 42), (48, 63), (94, 125), (128, 128), (160, 160))


def make_maps(size):
    """Blurred edges and CAMs."""
    generator = torch.Generator().manual_seed(0)
    shape = (max(2, size[0] // 4), max(2, size[1] // 4))
    edge = torch.rand((1, 1, *shape), generator=generator)**3
    cams = torch.rand((1, CLASSES, *shape), generator=generator)
    return [
        torch.nn.functional.interpolate(
            x, size, mode='bilinear', align_corners=False)
        for x in (edge, cams)
    ]


def dense_walk(cams, affinity, offsets, squarings):
    """The published procedure; also seconds before, of each squaring."""
    start = time.perf_counter()
    h, w = cams.shape[2:]
    pixel = torch.arange(h * w).view(h, w)
    matrix = torch.eye(h * w)
    for p, (dy, dx) in enumerate(offsets.tolist()):
        columns = slice(max(-dx, 0), w - max(dx, 0))
        i = pixel[:h - dy, columns].flatten()
        j = pixel[dy:, max(dx, 0):w + min(dx, 0)].flatten()
        value = affinity[0, p, :h - dy, columns].flatten()
        matrix[i, j] = matrix[j, i] = value
    matrix.pow_(BETA)
    matrix /= matrix.sum(dim=0, keepdim=True)
    seconds = [time.perf_counter() - start]
    for _ in range(squarings):
        start = time.perf_counter()
        matrix = matrix @ matrix
        seconds.append(time.perf_counter() - start)
    return (cams[0].flatten(1) @ matrix).view(cams.shape), seconds


def resident(field):
    """MiB of this process: now (VmRSS) or at most (VmHWM)."""
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024


def peak_memory(size, log_steps):
    """MiB that our walk adds at most to a fresh process."""

    def walk(size):
        edge, cams = make_maps(size)
        affinity = edge_affinity(edge, RADIUS)
        random_walk(cams, affinity, path_offsets(RADIUS), BETA, 2**log_steps)

    walk((8, 8))  # loads the libraries
    Path('/proc/self/clear_refs').write_text('5')  # forgets the peak
    before = resident('VmRSS')
    walk(size)
    return resident('VmHWM') - before


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--log-steps', type=int, default=8)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--budget', type=float, default=60,
                        help='Seconds for the squarings of one size.')
    parser.add_argument('--memory', type=float, default=4096,
                        help='MiB that the dense matrices may take.')
    args = parser.parse_args()
    torch.manual_seed(0)
    print(machine())
    print(f'{CLASSES} classes, radius {RADIUS}, 2^{args.log_steps} steps')
    print(f'{"cells":>10}{"dense":>12}{"ours":>12}{"ratio":>9}'
          f'{"error":>10}{"dense MiB":>12}{"ours MiB":>10}')
    rate = None
    context = multiprocessing.get_context('spawn')
    for size in SIZES:
        edge, cams = make_maps(size)
        offsets = path_offsets(RADIUS)
        affinity = edge_affinity(edge, RADIUS)
        with context.Pool(1) as pool:
            memory = pool.apply(peak_memory, (size, args.log_steps))

        def ours(log_steps=args.log_steps):
            return random_walk(cams, affinity, offsets, BETA, 2**log_steps)

        ours()
        times = []
        for _ in range(args.repeats):
            start = time.perf_counter()
            ours()
            times.append(time.perf_counter() - start)
        own = statistics.median(times)

        cells = size[0] * size[1]
        need = 2 * 4 * cells**2 / 2**20
        work = 2 * cells**3
        row = f'{size[0]:>6}x{size[1]:<3}'
        if need > args.memory:
            # Squarings cost 2 n^3 operations, at the last size's speed.
            dense, mark, error = work / rate * args.log_steps, '~', '-'
        else:
            squarings = args.log_steps
            if rate is not None:
                squarings = max(1, min(
                    squarings, int(args.budget * rate / work)))
            walked, seconds = dense_walk(cams, affinity, offsets, squarings)
            each = sum(seconds[1:]) / squarings
            rate = work / each
            dense = seconds[0] + args.log_steps * each
            mark = '' if squarings == args.log_steps else '~'
            difference = (walked - ours(squarings)).abs().max()
            error = float(difference / walked.abs().max())
            assert error < 5e-4, f'{size}: differs by {error}'
            error = f'{error:.1e}'
        print(f'{row}{mark + format(dense, ".2f"):>10} s{own:>10.3f} s'
              f'{dense / own:>8.0f}x{error:>10}{need:>12.0f}'
              f'{memory:>10.0f}')


if __name__ == '__main__':
    main()
