"""What do the frozen parts add to the CAMs of each method? A table, voc_mini.

For every folder of CAM files of the training images: their mIoU, that after
``FrozenAffinity``, and that of a linear segmentation head trained on the
labels of sure pixels that these give, on the validation images, with and
without image-level labels. The same steps as
configs/frozen/pipeline_cams_voc-mini.py without PAMR, in one process that
keeps all features in memory, so that many folders take minutes. Features come
from the caches of configs/frozen/linear_lite2-vit-tiny_voc-mini.py and are
computed where missing.

    python benchmarks/bench_papers_below.py work_dirs/acr_s0/maps \
        work_dirs/seam_s0/maps --seeds 0 0
"""
import argparse
import json
import logging
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.datasets import PascalVOCDataset
from torch import nn

from mmwsss.evaluation import curve_from_confusion
from mmwsss.models.localizers.fusion import normalize_maps
from mmwsss.models.refiners.frozen_affinity import cosine_affinity
from mmwsss.pseudo_labels.cam_file import cam_path, read_cam
from mmwsss.registry import MODELS
from mmwsss.utils.read_images import read_image, read_mask

ROOT = Path(__file__).resolve().parents[1]
CONFIG = 'configs/frozen/linear_lite2-vit-tiny_voc-mini.py'
REPORTED = ('background', 'cat', 'cow', 'dog', 'horse', 'person', 'sheep')
THRESHOLD, HIGH, LOW = 0.4, 0.5, 0.25
STEPS, BATCH, LR, DECAY = 440, 16, 1e-3, 0.01


class Images:
    """Features, labels and masks of a list, in memory."""

    def __init__(self, root, split, features, affinity, labels, classes):
        ids = (root / 'ImageSets/Segmentation' / f'{split}.txt').read_text()
        self.ids = ids.split()
        self.masks, self.features, self.alike, self.present = [], [], [], []
        for img_id in self.ids:
            image = read_image(root / 'JPEGImages' / f'{img_id}.jpg', img_id)
            tensor = torch.from_numpy(image[..., ::-1].copy())
            tensor = tensor.permute(2, 0, 1)[None].float()
            self.features.append(features.raw_features(tensor)[0].half())
            self.alike.append(affinity.network(tensor)[0])
            self.masks.append(
                torch.from_numpy(
                    read_mask(root / 'SegmentationClass' / f'{img_id}.png',
                              img_id)).long())
            self.present.append(
                torch.tensor([classes.index(c) - 1 for c in labels[img_id]],
                             dtype=torch.int64))


def spread(maps, alike):
    """One step of affinity, on the grid of the second network."""
    maps = F.interpolate(
        maps[None], alike.shape[1:], mode='bilinear', antialias=True)
    return cosine_affinity(maps, alike[None])[0]


def enlarged(maps, size):
    return F.interpolate(maps[None], size, mode='bilinear')[0]


class Score:
    """mIoU of the reported classes and of all that occur."""

    def __init__(self, classes):
        self.classes = classes
        self.total = np.zeros((len(classes), ) * 2, np.int64)

    def add(self, predicted, mask):
        counted = mask != 255
        index = mask[counted] * len(self.classes) + predicted[counted]
        self.total += np.bincount(
            index.numpy(),
            minlength=self.total.size).reshape(self.total.shape)

    def value(self):
        iou = curve_from_confusion(self.total).iou[0]
        return float(np.mean([iou[self.classes.index(c)] for c in REPORTED]))


def decide(maps, ids, threshold):
    """Mask of normalised maps (k, h, w) at a threshold."""
    if not len(ids):
        return torch.zeros(maps.shape[1:], dtype=torch.int64)
    best, which = maps.max(dim=0)
    return torch.where(best > threshold, ids[which] + 1, 0)


@torch.no_grad()
def refine(folder, train, classes):
    """CAMs and refined CAMs scored, and labels at the features' positions."""
    scores = [Score(classes), Score(classes)]
    labels = []
    for n, img_id in enumerate(train.ids):
        file = read_cam(cam_path(folder, img_id))
        ids = torch.from_numpy(file.class_ids)
        size, grid = train.masks[n].shape, train.features[n].shape[1:]
        if not len(ids):
            labels.append(torch.zeros(grid, dtype=torch.int64))
            continue
        cams = torch.from_numpy(file.cam)
        if cams.shape[1:] != size:
            cams = enlarged(cams, size)
        refined = normalize_maps(
            enlarged(spread(cams, train.alike[n]), size)).clamp(0, 1)
        for score, maps in zip(scores, (cams, refined)):
            score.add(decide(maps, ids, THRESHOLD), train.masks[n])
        label = decide(refined, ids, HIGH)
        label[(label == 0) & (refined.max(dim=0).values > LOW)] = 255
        labels.append(
            F.interpolate(label[None, None].float(), grid,
                          mode='nearest-exact')[0, 0].long())
    return [s.value() for s in scores], labels


def train_head(train, labels, shift, scale, num_classes, seed):
    """A linear head on standardised features."""
    torch.manual_seed(seed)
    head = nn.Conv2d(len(shift), num_classes, 1)
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.AdamW(head.parameters(), lr=LR, weight_decay=DECAY)
    order = torch.empty(0, dtype=torch.int64)
    for step in range(STEPS):
        if len(order) < BATCH:
            order = torch.cat((order, torch.randperm(len(labels))))
        batch, order = order[:BATCH].tolist(), order[BATCH:]
        for group in optimizer.param_groups:
            group['lr'] = LR * (1 - step / STEPS)
        values = torch.cat(
            [train.features[i].flatten(1) for i in batch], dim=1).float()
        values = ((values - shift[:, None]) / scale[:, None])
        target = torch.cat([labels[i].flatten() for i in batch])
        logits = head(values[None, :, :, None])[0, :, :, 0].t()
        loss = F.cross_entropy(logits, target, ignore_index=255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return head


@torch.no_grad()
def test_head(head, val, shift, scale, classes):
    """mIoU after the affinity, without and with image-level labels."""
    scores = [Score(classes), Score(classes)]
    for n, features in enumerate(val.features):
        values = (features.float() - shift[:, None, None]
                  ) / scale[:, None, None]
        logits = head(values[None])[0]
        absent = torch.ones(len(logits), dtype=torch.bool)
        absent[0] = False
        absent[1 + val.present[n]] = False
        for score, drop in zip(scores, (False, True)):
            used = logits.masked_fill(absent[:, None, None],
                                      -torch.inf) if drop else logits
            probs = spread(used.softmax(dim=0), val.alike[n])
            score.add(
                enlarged(probs, val.masks[n].shape).argmax(dim=0),
                val.masks[n])
    return [s.value() for s in scores]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folders', nargs='+', help='CAM files, one folder '
                        'per method and seed')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0],
                        help='of the heads, one per folder or one for all')
    parser.add_argument('--out', type=Path,
                        default=Path('work_dirs/papers_below.json'))
    args = parser.parse_args()
    init_default_scope('mmseg')
    logging.disable(logging.WARNING)
    cfg = Config.fromfile(ROOT / CONFIG)
    model = MODELS.build(cfg.model)
    features, affinity = model.segmentor.backbone, model.refiners[0]
    root = Path(cfg.data_root)
    labels = json.loads((root / cfg.labels_file).read_text())
    classes = list(PascalVOCDataset.METAINFO['classes'])
    train, val = (
        Images(root, split, features, affinity, labels, classes)
        for split in ('train_bal', 'val_bal'))
    count = sum(f[0].numel() for f in train.features)
    total = sum(f.flatten(1).double().sum(dim=1) for f in train.features)
    squares = sum(f.flatten(1).double().square().sum(dim=1)
                  for f in train.features)
    features.set_statistics(count, total, squares)
    shift, scale = features.mean, features.std
    seeds = args.seeds * (len(args.folders) if len(args.seeds) == 1 else 1)
    results = {}
    print(f'{"CAMs":36}{"CAM":>7}{"+aff":>7}{"head":>7}{"labels":>8}')
    for folder, seed in zip(args.folders, seeds):
        cams, sure = refine(folder, train, classes)
        head = train_head(train, sure, shift, scale, len(classes), seed)
        found = [*cams, *test_head(head, val, shift, scale, classes)]
        results[folder] = dict(
            zip(('cam', 'affinity', 'head', 'head_labels'), found), seed=seed)
        print(f'{folder[-36:]:36}' + f'{found[0]:7.1f}{found[1]:7.1f}'
              f'{found[2]:7.1f}{found[3]:8.1f}', flush=True)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(results, indent=2) + '\n')


if __name__ == '__main__':
    main()
