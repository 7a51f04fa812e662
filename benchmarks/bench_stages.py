"""Seconds per image of every stage at VOC's size, and what data sets cost.

The configs of the ACR chain on VOC at their full size, random weights, one
image of 375 x 500 pixels with two classes (crops as trained). One thread, so
seconds are core-seconds. From them: core-hours for the 10,582 images of VOC's
augmented training set and the 82,081 of COCO 2014, with the epochs that the
configs have. COCO's images are larger (640 x 480) and have more classes,
which is not taken into account; nor is that a GPU is much faster.

    python benchmarks/bench_stages.py
"""
import argparse
import time

import numpy as np
import torch
from bench_refine_pool import smooth
from common import machine
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import LabelData, PixelData
from mmseg.structures import SegDataSample

from mmwsss.models.refiners import DenseCRF
from mmwsss.models.refiners.dense_crf import unary_from_probs
from mmwsss.registry import MODELS

SIZE = (375, 500)
VOC, COCO = 10582, 82081
CONFIGS = dict(
    classify='configs/acr/acr_vit_voc.py',
    affinity='configs/affinity/affinitynet_r38_voc.py',
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


def train_step(name: str, crop: int, stride: int = 1):
    """One training step of one image."""
    model = build(name).train()
    image = torch.randint(0, 256, (3, crop, crop), dtype=torch.uint8)
    target = {} if name == 'classify' else dict(
        gt_sem_seg=labels((crop // stride, crop // stride)))

    def step():
        data = dict(
            inputs=[image], data_samples=[sample((crop, crop), **target)])
        losses = model.loss(**model.data_preprocessor(data, True))
        model.parse_losses(losses)[0].backward()

    return step


def predict(name: str, size=SIZE, cams: bool = False):
    """One prediction."""
    model = build(name).eval()
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)

    def step():
        given = dict(
            cams=torch.rand(2, *SIZE),
            class_ids=torch.tensor([3, 7])) if cams else {}
        item = sample(SIZE, **given)
        item.set_metainfo(dict(img_shape=size))
        with torch.no_grad():
            model.test_step(dict(inputs=[image], data_samples=[item]))

    return step


def crf():
    """One dense CRF of the present labels for two exponents."""
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


# Name, what to time, times that an image is seen.
STAGES = (
    ('classify: train (2.5 epochs)', lambda: train_step('classify', 384), 2.5),
    ('cams: ViT-B hybrid, 384, two flips',
     lambda: predict('classify', (384, 384)), 1),
    ('crf: two exponents, 3 labels', crf, 1),
    ('affinity: ResNet-38 train (8 epochs)',
     lambda: train_step('affinity', 448, 8), 8),
    ('walk: ResNet-38 and 2^8 steps', lambda: predict('affinity', cams=True),
     1),
    ('or boundaries: ResNet-50 train (3 epochs)',
     lambda: train_step('irn', 512, 4), 3),
    ('or walk: ResNet-50 and 2^8 steps', lambda: predict('irn', cams=True),
     1),
    # 20,000 steps of 10 images.
    ('segment: DeepLabV2-R101 train (19 epochs)',
     lambda: train_step('segment', 321), 18.9),
    ('test: DeepLabV2-R101, three scales', lambda: predict('segment'), 1),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--repeats', type=int, default=3)
    args = parser.parse_args()
    init_default_scope('mmseg')
    torch.set_num_threads(1)
    print(machine())
    print(f'| stage | s per image | images/s | core-hours VOC ({VOC:,}) | '
          f'core-hours COCO ({COCO:,}) |\n|---|---|---|---|---|')
    for name, make, times in STAGES:
        step = make()
        step()
        seconds = []
        for _ in range(args.repeats):
            begin = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - begin)
        each = min(seconds)
        hours = [each * times * n / 3600 for n in (VOC, COCO)]
        print(f'| {name} | {each:.2f} | {1 / each:.2f} | {hours[0]:,.1f} | '
              f'{hours[1]:,.1f} |', flush=True)


if __name__ == '__main__':
    main()
