"""Seconds per image of every stage at VOC's size, and what data sets cost.

The configs of the ACR chain on VOC at their full size, random weights, images
of 375 x 500 pixels with two classes (crops as trained). On a CPU one thread,
so seconds are core-seconds. From them: hours for the 10,582 training images of
VOC's augmented set and the 82,081 of COCO 2014 (1,449 and 40,137 val images),
trained as long as the configs say. COCO's images are larger (640 x 480) and
have more classes, which is not taken into account; nor are loading images and
the optimizer's step.

    python benchmarks/bench_stages.py
    python benchmarks/bench_stages.py --device cuda --batch-size 4 --out x.json
    python tools/analysis_tools/estimate_cost.py --seconds x.json
"""
import argparse
import time
from dataclasses import replace

import numpy as np
import torch
from bench_refine_pool import smooth
from common import machine
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import LabelData, PixelData
from mmseg.structures import SegDataSample

from mmwsss.apis.estimate_cost import IMAGES, STAGES, stage_hours, write_stages
from mmwsss.pseudo_labels import DenseCRF
from mmwsss.pseudo_labels.dense_crf import unary_from_probs
from mmwsss.registry import MODELS

SIZE = (375, 500)
CONFIGS = dict(
    classify='configs/acr/acr_vit_voc.py',
    affinity='configs/affinity/affinitynet_resnet38_voc.py',
    irn='configs/affinity/irnet_r50_voc.py',
    segment='configs/segmentation/deeplabv2_r101_voc.py')


def build(name: str) -> torch.nn.Module:
    cfg = Config.fromfile(CONFIGS[name])
    cfg.model.backbone.init_cfg = None
    torch.manual_seed(0)
    return MODELS.build(cfg.model)


def sample(size, **data) -> SegDataSample:
    found = SegDataSample(
        metainfo=dict(img_id='x', ori_shape=size, img_shape=size))
    score = torch.zeros(20)
    score[[3, 7]] = 1
    found.gt_label = LabelData(label=torch.tensor([3, 7]), score=score)
    found.set_data(data)
    return found


def labels(size, classes=3) -> PixelData:
    blocks = torch.arange(classes).repeat_interleave(-(-size[1] // classes))
    return PixelData(data=blocks[:size[1]].expand(1, *size).clone())


def train_step(args, name: str, crop: int, stride: int = 1):
    """One training step, forward and backward."""
    model = build(name).to(args.device).train()
    image = torch.randint(0, 256, (3, crop, crop), dtype=torch.uint8)
    target = {} if name == 'classify' else dict(
        gt_sem_seg=labels((crop // stride, crop // stride)))

    def step():
        data = dict(
            inputs=[image] * args.batch_size,
            data_samples=[
                sample((crop, crop), **target) for _ in range(args.batch_size)
            ])
        losses = model.loss(**model.data_preprocessor(data, True))
        model.parse_losses(losses)[0].backward()

    return step


def predict(args, name: str, size=SIZE, cams: bool = False):
    """Predictions of one batch."""
    model = build(name).to(args.device).eval()
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)

    def step():
        items = []
        for _ in range(args.batch_size):
            given = dict(
                cams=torch.rand(2, *SIZE),
                class_ids=torch.tensor([3, 7])) if cams else {}
            items.append(sample(SIZE, **given))
            items[-1].set_metainfo(dict(img_shape=size))
        with torch.no_grad():
            model.test_step(
                dict(
                    inputs=[image] * args.batch_size, data_samples=items))

    return step


def crf(args):
    """One dense CRF of the present labels for two exponents, on a core."""
    rng = np.random.default_rng(0)
    image = (255 * smooth(rng, SIZE, 3)).astype(np.uint8)
    maps = smooth(rng, SIZE, 2).transpose(2, 0, 1)
    highest = maps.max(0, keepdims=True)
    unaries = [
        unary_from_probs(np.concatenate([(1 - highest)**a, maps]))
        for a in (1, 12)
    ]
    model = DenseCRF()
    return lambda: model(image, unaries)


# Stage of mmwsss/apis/estimate_cost.py to what is timed.
TIMED = dict(
    classify=lambda args: train_step(args, 'classify', 384),
    cams=lambda args: predict(args, 'classify', (384, 384)),
    crf=crf,
    affinity=lambda args: train_step(args, 'affinity', 448, 8),
    walk=lambda args: predict(args, 'affinity', cams=True),
    irn=lambda args: train_step(args, 'irn', 512, 4),
    irn_walk=lambda args: predict(args, 'irn', cams=True),
    segment=lambda args: train_step(args, 'segment', 321),
    test=lambda args: predict(args, 'segment'))


def best_of(step, repeats: int, device: str) -> float:
    """Seconds of the fastest run after one that does not count."""
    seconds = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        step()
        if device.startswith('cuda'):
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    return min(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--device', default='cpu', help='e.g. cuda')
    parser.add_argument(
        '--batch-size', type=int, default=1, help='images of networks at once')
    parser.add_argument(
        '--stages', nargs='+', choices=list(TIMED), default=list(TIMED))
    parser.add_argument(
        '--out', help='JSON for tools/analysis_tools/estimate_cost.py')
    args = parser.parse_args()
    init_default_scope('mmseg')
    torch.set_num_threads(1)
    device = machine()
    if args.device.startswith('cuda'):
        device = f'{torch.cuda.get_device_name(args.device)}, {device}'
    print(device)
    voc, coco = (IMAGES[name]['train'] for name in ('voc', 'coco'))
    print(f'| stage | s per image | images/s | hours VOC ({voc:,}) | '
          f'hours COCO ({coco:,}) |\n|---|---|---|---|---|')
    measured = {}
    for name in args.stages:
        stage = STAGES[name]
        each = best_of(TIMED[name](args), args.repeats, args.device)
        if stage.runs_on == 'devices':
            each /= args.batch_size
        measured[name] = each
        hours = [
            stage_hours(replace(stage, seconds=each), dataset, 1)
            for dataset in ('voc', 'coco')
        ]
        print(f'| {stage.title} | {each:.3g} | {1 / each:.3g} | '
              f'{hours[0]:,.1f} | {hours[1]:,.1f} |', flush=True)
    if args.out:
        write_stages(
            args.out, f'{device}, {args.batch_size} image(s) at once',
            measured)


if __name__ == '__main__':
    main()
