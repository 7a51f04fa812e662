"""A GETAM training step against the published procedure and plain training.

The reference is the published second phase, written out plainly: a forward
pass that keeps every attention matrix; for every image and each of its
classes, zeroed gradients and a full backward pass that accumulates those of
all parameters; PAMR on the maps of all classes, one shifted copy of them per
neighbour; labels; a second forward pass, again with all matrices, and its
backward pass. Plain is the first phase, classification alone. Labels and
losses are made by the same modules in both, and no optimizer runs, so the
differences are those of reading and refining the maps. All run in turn on
the same batch; maps and losses are compared. Peak memory is the largest
resident size of a fresh process per case; the last column times making labels
without training on them.

    OMP_NUM_THREADS=1 python benchmarks/bench_getam_step.py
"""
import argparse
import logging
import subprocess
import sys

import torch
import torch.nn.functional as F
from common import WIDTHS, machine, timed
from mmengine.registry import init_default_scope
from mmengine.structures import LabelData, PixelData
from mmseg.structures import SegDataSample

from mmwsss.models.localizers.getam import getam
from mmwsss.pseudo_labels.pamr import pamr_affinity
from mmwsss.registry import MODELS
from mmwsss.structures import AttentionRequest

CLASSES = 20
WIDTHS_DPT = (96, 192, 384, 768)
ALL_MATRICES = AttentionRequest(matrices='heads')


def make(backbone: str, size: int, start_layer: int):
    """GETAM's network with random weights, in training mode."""
    init_default_scope('mmseg')
    logging.disable(logging.INFO)
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='mmwsss.EndToEndSegmentor',
            data_preprocessor=dict(
                type='SegDataPreProcessor',
                mean=[123.675, 116.28, 103.53],
                std=[58.395, 57.12, 57.375]),
            backbone=dict(
                type='mmwsss.AttentionViT',
                arch=backbone,
                img_size=size,
                out_indices=(2, 5, 8, 11)),
            neck=dict(
                type='mmwsss.DPTReassemble',
                in_channels=WIDTHS[backbone],
                out_channels=WIDTHS_DPT),
            cls_head=dict(
                type='mmwsss.CAMHead',
                num_classes=CLASSES,
                in_channels=WIDTHS_DPT[-1],
                bias=True),
            localizer=dict(
                type='mmwsss.GETAM',
                func='cam_grad_s',
                start_layer=start_layer,
                affinity=False),
            decode_head=dict(
                type='mmwsss.DPTDecoderHead',
                in_channels=WIDTHS_DPT,
                num_classes=CLASSES + 1),
            label_refiner=dict(type='mmwsss.PAMR'),
            label_maker=dict(type='mmwsss.LabelCompletion'),
            seg_losses=dict(
                ce=dict(type='mmwsss.BalancedCrossEntropy'),
                saliency=dict(type='mmwsss.SaliencyLoss'),
                energy=dict(type='mmwsss.DenseEnergyLoss')))).train()


def make_batch(batch: int, size: int, tags: int):
    """Smooth pictures with some tags each, a disk being salient."""
    torch.manual_seed(1)
    inputs = F.interpolate(
        torch.randn(batch, 3, size // 8, size // 8), size=(size, size),
        mode='bilinear')
    place = torch.linspace(-1, 1, size)
    disk = (place[:, None]**2 + place**2 < 0.4)[None].to(torch.uint8)
    samples = []
    for _ in range(batch):
        sample = SegDataSample()
        label = torch.randperm(CLASSES)[:tags].sort()[0]
        sample.gt_label = LabelData(
            label=label, score=torch.eye(CLASSES)[label].sum(0))
        sample.gt_saliency = PixelData(data=disk)
        samples.append(sample)
    return inputs, samples


def plain_step(model, inputs, samples):
    """Phase 1: the classifier alone."""
    model.zero_grad()
    losses = model.classification_losses(inputs, samples)[1]
    losses['loss_cls'].backward()


def our_step(model, inputs, samples):
    """Phase 2; returns the refined maps per image and the loss."""
    kept = []
    hook = model.label_maker.register_forward_pre_hook(
        lambda module, args: kept.append(args[0]))
    model.zero_grad()
    torch.manual_seed(2)
    losses = model.loss(inputs, samples)
    total = sum(v for k, v in losses.items() if 'loss' in k)
    total.backward()
    hook.remove()
    return list(kept[0]), total.detach()


def published_pamr(image, maps, num_iters, dilations):
    """PAMR with one copy of all maps per neighbour."""
    affinity = pamr_affinity(image, dilations).permute(1, 2, 0, 3, 4)
    reach, (h, w) = max(dilations), maps.shape[2:]
    for _ in range(num_iters):
        padded = F.pad(maps, (reach, ) * 4, mode='replicate')
        copies = torch.stack([
            padded[..., reach + dy:reach + dy + h, reach + dx:reach + dx + w]
            for d in dilations for dy in (-d, 0, d) for dx in (-d, 0, d)
            if dy or dx
        ], dim=2)
        maps = (copies * affinity).sum(dim=2)
    return maps


def published_labels(model, inputs, samples):
    """Maps of all classes, labels and saliency: a backward pass per class."""
    model.zero_grad()
    tags = model.stack_labels(samples, inputs)
    view = model.forward_view(inputs, tags, ALL_MATRICES, last_only=True)
    for attention in view.attentions:
        attention.retain_grad()
    kept = view.attentions[model.localizer.start_layer:]
    maps = inputs.new_zeros(*tags.shape, *view.grid)
    for n, c in tags.nonzero().tolist():
        model.zero_grad()
        for attention in view.attentions:
            attention.grad = None
        view.logits[n, c].backward(retain_graph=True)
        row = getam([a[n].detach() for a in kept], [a.grad[n] for a in kept],
                    model.localizer.func, view.num_prefix_tokens)
        maps[n, c] = row.unflatten(0, view.grid)
    with torch.no_grad():
        picture = model.picture(inputs).float()
        maps = F.interpolate(
            maps, inputs.shape[2:], mode='bilinear', align_corners=True)
        maps = published_pamr(picture, maps, model.label_refiner.num_iters,
                              model.label_refiner.dilations)
        maps = maps / (maps.amax(dim=(2, 3), keepdim=True) + 1e-5)
        ids = torch.where(tags > 0, torch.arange(CLASSES), -1)
        labels, saliency = model.label_maker(
            maps, ids, model.stack_saliency(samples, inputs))
    model.zero_grad()
    return maps, labels, saliency


def published_step(model, inputs, samples):
    """Phase 2 as published; returns what :func:`our_step` does."""
    torch.manual_seed(2)
    tags = model.stack_labels(samples, inputs)
    maps, labels, saliency = published_labels(model, inputs, samples)
    view = model.forward_view(inputs, tags, ALL_MATRICES, last_only=False)
    logits = model.segment(view, inputs.shape[2:])
    aids = dict(
        image=model.picture(inputs).float(),
        valid=torch.ones_like(labels, dtype=torch.bool),
        saliency=saliency)
    total = model.cls_head.loss(view) + sum(
        seg_loss(logits, labels, **aids)
        for seg_loss in model.seg_losses.values())
    total.backward()
    return [m[t > 0] for m, t in zip(maps, tags)], total.detach()


STEPS = dict(plain=plain_step, ours=our_step, published=published_step)


def peak_memory(args, backbone: str, tags: int, case: str) -> float:
    """Peak resident MiB of two steps in a fresh process."""
    options = dict(
        case=case,
        backbones=backbone,
        tags=tags,
        size=args.size,
        batch=args.batch,
        start_layer=args.start_layer)
    command = [sys.executable, __file__]
    for name, value in options.items():
        command += [f'--{name.replace("_", "-")}', str(value)]
    out = subprocess.run(
        command, capture_output=True, text=True, check=True).stdout
    return float(out.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--backbones', nargs='+', default=['deit-small'])
    parser.add_argument('--tags', nargs='+', type=int, default=[1, 2, 3])
    parser.add_argument('--size', type=int, default=256)
    parser.add_argument('--batch', type=int, default=2)
    parser.add_argument('--start-layer', type=int, default=6)
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--case', choices=sorted(STEPS))
    args = parser.parse_args()
    if args.case:
        model = make(args.backbones[0], args.size, args.start_layer)
        batch = make_batch(args.batch, args.size, args.tags[0])
        for _ in range(2):
            STEPS[args.case](model, *batch)
        # Not ru_maxrss, which a process inherits from its parent.
        with open('/proc/self/status') as f:
            peak = next(x for x in f if x.startswith('VmHWM'))
        print(int(peak.split()[1]) / 1024)
        return
    print(machine())
    print(f'\nTraining steps, {args.size} px, batch {args.batch}, maps from '
          f'block {args.start_layer}')
    print(f'{"":20}{"plain":>10}{"ours":>10}{"published":>11}'
          f'{"ours/plain":>12}{"published/ours":>16}{"error":>9}'
          '   peak MiB: plain, ours, published; labels alone')
    for backbone in args.backbones:
        model = make(backbone, args.size, args.start_layer)
        for tags in args.tags:
            batch = make_batch(args.batch, args.size, tags)
            theirs, ours, times = timed(
                lambda: published_step(model, *batch),
                lambda: our_step(model, *batch), args.repeats)
            error = max(
                float((a - b).abs().max() / a.max())
                for a, b in zip(theirs[0], ours[0]))
            assert error < 1e-3, f'maps differ by {error:.1e}'
            torch.testing.assert_close(ours[1], theirs[1], rtol=1e-3,
                                       atol=1e-4)
            _, _, (plain, _, ratio) = timed(
                lambda: plain_step(model, *batch),
                lambda: our_step(model, *batch), args.repeats)
            _, _, labels = timed(
                lambda: published_labels(model, *batch),
                lambda: model.make_labels(*batch), args.repeats)
            peaks = [
                peak_memory(args, backbone, tags, case)
                for case in ('plain', 'ours', 'published')
            ]
            print(f'{backbone}, {tags} tags'.ljust(20) +
                  f'{plain * 1e3:>7.0f} ms{times[1] * 1e3:>7.0f} ms'
                  f'{times[0] * 1e3:>8.0f} ms{1 / ratio:>11.2f}x'
                  f'{times[2]:>15.2f}x{error:>9.0e}   ' +
                  ', '.join(f'{p:.0f}' for p in peaks) +
                  f'; {labels[1] * 1e3:.0f} ms, published '
                  f'{labels[0] * 1e3:.0f} ms, {labels[2]:.2f}x')


if __name__ == '__main__':
    main()
