"""Images per second of the refine pool, by number of workers.

Generated images of VOC's size go through what AffinityNet needs: CAMs
read, two exponents refined by one dense CRF, scores written. For comparison
the same pipeline in this process, one image after the other. All results must
be equal, byte by byte.

    python benchmarks/bench_refine_pool.py
"""
import argparse
import logging
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from common import machine
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from mmwsss.pseudo_labels import write_cam
from mmwsss.pseudo_labels.pool import num_cores, run_pool


def smooth(rng, size, channels):
    """Noise of several scales, in [0, 1]."""
    total = 0
    for cells in (3, 8, 20, 60):
        noise = rng.random((cells, cells, channels)).astype(np.float32)
        noise = cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC)
        total = total + noise.reshape(*size, channels) / cells
    low, high = total.min(axis=(0, 1)), total.max(axis=(0, 1))
    return (total - low) / (high - low)


def make_data(folder, number, size):
    """Images and CAMs of 1 to 3 classes; returns samples."""
    infos = []
    for i in range(number):
        rng = np.random.default_rng(i)
        path = folder / 'images' / f'{i:04d}.jpg'
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), (255 * smooth(rng, size, 3)).astype(np.uint8))
        ids = np.sort(rng.permutation(20)[:1 + i % 3])
        cams = smooth(rng, size, len(ids)).transpose(2, 0, 1)
        write_cam(folder / 'cams', path.stem, ids, cams, size)
        infos.append(
            dict(
                img_id=path.stem,
                img_path=str(path),
                cam_dir=str(folder / 'cams'),
                gt_label=ids,
                num_classes=20))
    return infos


def pipeline(out):
    return [
        dict(type='mmwsss.LoadImage'),
        dict(type='mmwsss.LoadCAMs'),
        dict(type='mmwsss.CRFScores', alphas=(4, 24)),
        dict(type='mmwsss.SaveScores', alphas=(4, 24), out_dir=str(out))
    ]


def pooled(infos, steps, workers):
    """Seconds until the first image, seconds from there to the end."""
    times = [time.perf_counter()]
    run_pool(
        infos, steps, workers,
        on_done=lambda _: times.append(time.perf_counter()))
    return times[1] - times[0], times[-1] - times[1]


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.rglob('*.npz')}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--images', type=int, default=40)
    parser.add_argument('--size', nargs=2, type=int, default=[375, 500])
    parser.add_argument('--workers', nargs='+', type=int, default=[1, 2])
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    init_default_scope('mmseg')
    logging.disable(logging.WARNING)
    print(machine() + f', {num_cores()} cores')
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        infos = make_data(folder, args.images, tuple(args.size))
        run = Compose(pipeline(folder / 'plain'))
        run(dict(infos[0]))
        start = time.perf_counter()
        for info in infos:
            run(dict(info))
        plain = args.images / (time.perf_counter() - start)
        expected = contents(folder / 'plain')
        print(f'\n{args.images} images of {args.size[0]} x {args.size[1]}, '
              f'CRF scores for two exponents')
        print(f'{"":24}{"images / s":>12}{"ratio":>8}{"first image":>14}')
        print(f'{"this process":24}{plain:>12.2f}{1:>8.2f}')
        # The first pool of a process also starts the one it copies.
        pooled(infos[:1], pipeline(folder / 'warm'), 1)
        for workers in args.workers:
            out = folder / f'pool{workers}'
            wait, rest = pooled(infos, pipeline(out), workers)
            rate = (args.images - 1) / rest
            print(f'{f"{workers} worker(s)":24}{rate:>12.2f}'
                  f'{rate / plain:>8.2f}{wait:>12.2f} s')
            assert contents(out) == expected, 'results differ'


if __name__ == '__main__':
    main()
