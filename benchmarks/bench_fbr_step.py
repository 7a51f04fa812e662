"""Training steps with FBR against the same without it.

Forward and backward passes of AMN (ResNet-50 of stride 16), of a plain
classifier on the same backbone and of SEAM's two views with EPS and PPC, each
with and without :class:`FineGrainedBackgroundContrast`, in turns in one
process on the same images. FBR's bank is full before the first step that is
timed. The terms that both steps share must be equal, and inference must be
so bit for bit.

    OMP_NUM_THREADS=1 python benchmarks/bench_fbr_step.py
"""
import argparse
import logging

import torch
from common import machine, timed
from mmengine.registry import init_default_scope
from mmengine.structures import LabelData, PixelData
from mmseg.structures import SegDataSample

from mmwsss.registry import MODELS

CLASSES, BANK = 20, 5000
BACKBONE = dict(
    type='ResNet',
    depth=50,
    out_indices=(1, 2, 3),
    strides=(1, 2, 2, 2),
    dilations=(1, 1, 1, 1),
    stem_channels=64,
    norm_cfg=dict(type='BN'),
    norm_eval=True)


def fbr(**settings):
    return dict(
        type='mmwsss.FineGrainedBackgroundContrast',
        in_channels=2048,
        num_classes=CLASSES,
        bank_size=BANK,
        **settings)


#: Of I+S, see the class's docstring.
FROM_MAPS = dict(unsure_ratio=0.6, entropy_quantile=0.1, top_share=1 / 16)


def amn(with_fbr):
    return dict(
        type='mmwsss.AMN',
        backbone=BACKBONE,
        cls_head=dict(
            type='mmwsss.LabelConditionedHead',
            num_classes=CLASSES,
            in_channels=2048,
            # Dropout would make the steps differ.
            dropout_ratio=0.),
        regularizers=dict(fbr=fbr()) if with_fbr else None)


def cam(with_fbr):
    return dict(
        type='mmwsss.CAMSegmentor',
        backbone=BACKBONE,
        cls_head=dict(
            type='mmwsss.CAMHead', num_classes=CLASSES, in_channels=2048),
        localizer=dict(type='mmwsss.CAM'),
        regularizers=dict(
            fbr=fbr(scores='cams', **FROM_MAPS)) if with_fbr else None)


def seam(with_fbr):
    terms = dict(
        seam=dict(type='mmwsss.EquivariantRegularization'),
        eps=dict(type='mmwsss.ExplicitPseudoPixelSupervision'),
        ppc=dict(
            type='mmwsss.PixelPrototypeContrast',
            in_channels=2048,
            num_classes=CLASSES,
            background_score=0.1,
            area_divisor=16,
            foreground_only=True,
            # FBR takes the place of this term.
            intra_weight=0.))
    if with_fbr:
        terms['fbr'] = fbr(
            scores='refined_cams',
            both_views=True,
            grid=(16, 16),
            **FROM_MAPS)
    return dict(
        type='mmwsss.CAMSegmentor',
        backbone=BACKBONE,
        cls_head=dict(
            type='mmwsss.CAMHead',
            num_classes=CLASSES,
            in_channels=2048,
            with_background=True),
        refiner=dict(
            type='mmwsss.PixelCorrelationModule',
            in_channels=(512, 1024),
            channels=(64, 128)),
        localizer=dict(type='mmwsss.RefinedCAM'),
        second_view=dict(type='mmwsss.Rescale', scale=0.3),
        regularizers=terms)


def build(cfg):
    torch.manual_seed(0)
    return MODELS.build(cfg).train()


def make_batch(batch, size):
    """Images of two classes each, smooth enough for regions to exist."""
    generator = torch.Generator().manual_seed(1)
    image = torch.nn.functional.interpolate(
        torch.randn(batch, 3, 8, 8, generator=generator),
        size=(size, size),
        mode='bicubic')
    samples = []
    for i in range(batch):
        classes = torch.tensor(sorted({i % CLASSES, (i * 7 + 3) % CLASSES}))
        sample = SegDataSample(metainfo=dict(img_id=str(i)))
        score = torch.zeros(CLASSES)
        score[classes] = 1
        sample.gt_label = LabelData(label=classes, score=score)
        seeds = torch.zeros(1, size, size, dtype=torch.long)
        seeds[:, size // 4:size // 2, size // 4:-size // 4] = classes[0] + 1
        seeds[:, size // 2:-size // 4, size // 4:-size // 4] = classes[-1] + 1
        sample.gt_sem_seg = PixelData(data=seeds)
        sample.seed_sem_seg = PixelData(data=seeds)
        sample.gt_saliency = PixelData(data=(seeds > 0).float())
        samples.append(sample)
    return image, samples


def step(model, image, samples):
    model.zero_grad()
    losses = model.loss(image, samples)
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    return losses


@torch.no_grad()
def maps(model, image, samples):
    model.eval()
    model.test_cfg.update(scales=(1.0, ), flip=False)
    found = [s.cams for s in model.predict(image[:1], samples[:1])]
    model.train()
    return found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, default=320, help='Crop, pixels.')
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--repeats', type=int, default=5)
    args = parser.parse_args()
    init_default_scope('mmseg')
    logging.disable(logging.INFO)
    print(machine())
    print(f'\nTraining steps, {args.size} px, batch {args.batch}')
    image, samples = make_batch(args.batch, args.size)
    for name, make in (('AMN', amn), ('CAM', cam), ('SEAM+EPS+PPC', seam)):
        base, model = build(make(False)), build(make(True))
        # Both from the same weights; what is left over is FBR's own.
        state = base.state_dict()
        rest = model.load_state_dict(state, strict=False)
        assert not rest.unexpected_keys, rest
        for a, b in zip(maps(base, image, samples),
                        maps(model, image, samples)):
            assert torch.equal(a, b), f'{name}: FBR changes inference'
        for regularizer in model.regularizers.values():
            for bank in getattr(regularizer, 'banks', ()):
                bank.enqueue(torch.rand(BANK, bank.rows.shape[1]))
        a, b, (t_base, t_fbr, ratio) = timed(
            lambda: step(base, image, samples),
            lambda: step(model, image, samples), args.repeats)
        for key in a:
            if 'loss' in key:
                torch.testing.assert_close(a[key], b[key], rtol=1e-4,
                                           atol=1e-5)
        print(f'{name:16}{t_base * 1e3:>9.0f} ms{t_fbr * 1e3:>9.0f} ms'
              f'{1 / ratio:>8.3f}x   queries '
              f'{float(b["fbr.contrast_queries"]):.0f}', flush=True)


if __name__ == '__main__':
    main()
