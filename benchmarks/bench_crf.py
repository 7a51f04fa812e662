"""The dense CRF on CAMs: present labels and one lattice, or everything.

Affinity methods score each image for two background exponents. The procedures
to compare with build one CRF for each, on the labels present (PSA, SEAM) or
on all labels of the data set (21 for VOC, 81 for COCO). Ours builds the
lattices once per image and infers the present labels only. The same job on
the torch backend, for machines without pydensecrf, stands beside it.

Images are generated: smooth random regions with edges, shading and noise. All
run in turn on the same image; the results are compared.

    python benchmarks/bench_crf.py
"""
import argparse

import cv2
import numpy as np
import torch
from common import machine, ratio_table, timed

from mmwsss.pseudo_labels.dense_crf import DenseCRF, unary_from_probs

ALPHAS = (4, 24)
KERNELS = {
    '80/13': dict(bilateral_sxy=80, bilateral_srgb=13),
    '50/5': dict(bilateral_sxy=50, bilateral_srgb=5),
}


def smooth(rng, cell, height, width):
    """Random numbers, interpolated between points ``cell`` pixels apart."""
    coarse = rng.normal(size=(height // cell + 3, width // cell + 3))
    return cv2.resize(
        coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def generate(height, width, present, seed=0):
    """A picture uint8 (H, W, 3) and CAMs (present, H, W) in [0, 1]."""
    rng = np.random.default_rng(seed)
    fields = np.stack([smooth(rng, 90, height, width) for _ in range(8)])
    region = fields.argmax(0)
    image = rng.uniform(30, 220, (8, 3))[region]
    image += 12 * smooth(rng, 120, height, width)[..., None]
    image += 10 * smooth(rng, 4, height, width)[..., None]
    image += rng.normal(0, 4, image.shape)
    cams = np.stack([
        cv2.GaussianBlur((region == c).astype(np.float32), (0, 0), 16)
        for c in range(present)
    ])
    cams /= cams.max(axis=(1, 2), keepdims=True) + 1e-5
    return image.clip(0, 255).astype(np.uint8), cams


def unary(cams, alpha, num_labels):
    """Energies (num_labels, H, W) of background and classes."""
    probs = np.zeros((num_labels, *cams.shape[1:]), np.float32)
    probs[0] = (1 - cams.max(0))**alpha
    probs[1:len(cams) + 1] = cams
    return unary_from_probs(probs)


def two_crfs(image, cams, num_labels, kernel):
    """One CRF per exponent, on ``num_labels`` labels."""
    return [
        DenseCRF(backend='pydensecrf', **kernel)(image,
                                                 unary(cams, a, num_labels))
        for a in ALPHAS
    ]


def ours(image, cams, kernel, backend='pydensecrf'):
    """One lattice for both exponents, on the present labels."""
    crf = DenseCRF(backend=backend, **kernel)
    return crf(image, [unary(cams, a, len(cams) + 1) for a in ALPHAS])


def difference(reference, result):
    """Largest difference of a probability; asserts that labels agree."""
    labels = len(result[0])
    for a, b in zip(reference, result):
        agree = (a.argmax(0) == b.argmax(0)).mean()
        assert agree > 0.99, f'labels agree on {agree:.2%} only'
    return max(
        float(np.abs(a[:labels] - b).max())
        for a, b in zip(reference, result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--size', type=int, nargs=2, default=[375, 500])
    parser.add_argument('--present', type=int, default=2)
    parser.add_argument('--labels', type=int, nargs='*', default=[21, 81])
    parser.add_argument(
        '--kernels', nargs='+', choices=KERNELS, default=list(KERNELS))
    parser.add_argument('--repeats', type=int, default=3)
    args = parser.parse_args()
    print(machine(), '(pydensecrf: 1 thread)')
    image, cams = generate(*args.size, args.present)
    own = args.present + 1
    for name in args.kernels:
        kernel = KERNELS[name]
        rows = []
        for num_labels in (own, *args.labels):
            reference, result, times = timed(
                lambda: two_crfs(image, cams, num_labels, kernel),
                lambda: ours(image, cams, kernel), args.repeats)
            rows.append((f'{num_labels} labels, two CRFs', *times,
                         difference(reference, result)))
        size = ' x '.join(map(str, args.size))
        ratio_table(
            f'{size}, two exponents, bilateral {name}: against one lattice, '
            f'{own} labels', rows)
        reference, result, times = timed(
            lambda: ours(image, cams, kernel),
            lambda: ours(image, cams, kernel, 'torch'), args.repeats)
        ratio_table(
            'The same on torch', [(f'{own} labels, one lattice', *times,
                                   difference(reference, result))],
            names=('pydensecrf', 'torch'))


if __name__ == '__main__':
    torch.set_num_threads(1)
    main()
