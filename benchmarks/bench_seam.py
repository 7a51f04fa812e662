"""SEAM's losses, prediction and training step against its published form.

The reference is written out plainly from the published procedure: 21 raw and
21 refined maps (background first) at the size of the image, all classes, the
full correlation matrix. Three parts, each with equality asserted:

- ``losses``: all training losses of given CAMs, forward and backward to
  the maps.
- ``read``: the CAMs of one image with two tags. Published: a forward
  pass per scale and flip, all maps enlarged to the size of the image, masked
  and added up on the CPU. The backbone is timed apart, since it does the same
  work on both sides. Both sides get the same enlarged pictures.
- ``step``: a training step of the whole network. Three ways: plain
  classification (one view, no refined maps), published, ours. Without
  dropout, which would differ.

ResNet-38 with random weights. Ways take turns in one process. Memory: the most
that one run adds to a fresh process which holds the model (Linux).

    OMP_NUM_THREADS=1 python benchmarks/bench_seam.py
"""
import argparse
import logging
import multiprocessing
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from bench_random_walk import resident
from common import machine
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample

from mmwsss.models.localizers.fusion import resize_image
from mmwsss.registry import MODELS
from mmwsss.structures import ViewOutput, ViewPair

CONFIGS = Path(__file__).parents[1] / 'configs'
EPS = 1e-5
SHRINK = 0.3
# Of the images of a batch; the first is the one that `read` looks at.
TAGS = ((3, 7), (1, ), (2, 5, 14), (11, ))


def enlarge(maps, size, align_corners=True):
    return F.interpolate(
        maps, size, mode='bilinear', align_corners=align_corners)


def shrink(maps):
    return F.interpolate(
        maps,
        scale_factor=SHRINK,
        mode='bilinear',
        align_corners=True,
        recompute_scale_factor=True)


# ------------------------------------------------------ published, in plain
def published_norm(maps):
    maps = F.relu(maps)
    flat = maps.flatten(2)
    low = flat.min(dim=-1)[0][..., None, None]
    high = flat.max(dim=-1)[0][..., None, None]
    return F.relu(maps - low - EPS) / (high - low + EPS)


def published_target(maps):
    """Winner-take-all over the classes, background untouched."""
    maps = maps.detach().clone()
    classes = maps[:, 1:]
    classes[classes != classes.max(dim=1, keepdim=True)[0]] = 0
    return maps


def published_losses(cams, refined, labels):
    """All losses of both views' maps at image size, (N, K + 1, H, W)."""
    tags = F.pad(labels, (1, 0), value=1.)[..., None, None]
    loss = 0.
    for raw, fine in zip(cams, refined):
        scores = raw.mean(dim=(2, 3))[:, 1:]
        loss = loss + F.multilabel_soft_margin_loss(scores, labels) / 2
        best = (fine * tags)[:, 1:].max(dim=1)[0].flatten(1)
        count = best.shape[1] // 4
        lowest = best.topk(count, dim=1, largest=False)[0]
        loss = loss + F.relu(lowest).sum() / (count * len(best)) / 2
    c1, r1 = (
        shrink(published_norm(m[0])) * tags for m in (cams, refined))
    c2, r2 = (published_norm(m[1]) * tags for m in (cams, refined))
    loss = loss + (c1[:, 1:] - c2[:, 1:]).abs().mean()
    c1, c2 = (
        torch.cat((1 - c[:, 1:].max(dim=1, keepdim=True)[0], c[:, 1:]), 1)
        for c in (c1, c2))
    for target, found in ((c2, r1), (c1, r2)):
        errors = (published_target(target) - found).abs().flatten(1)
        count = int(errors.shape[1] * 0.2)
        loss = loss + errors.topk(count, dim=1)[0].mean(dim=1).mean()
    return loss


def published_forward(model, image):
    """Raw and refined maps (N, 21, H, W) of the network's one view."""
    conv4, conv5, conv6 = model.backbone(image)
    # Nothing ever reads what the published layer's first channel gives.
    weight = model.cls_head.conv.weight
    raw = F.conv2d(conv6, torch.cat((weight[:1].detach(), weight)))
    with torch.no_grad():
        maps = F.relu(raw)
        maps = F.relu(maps - EPS) / (maps.amax((2, 3), keepdim=True) + EPS)
        best = maps[:, 1:].max(dim=1, keepdim=True)[0]
        classes = torch.where(maps[:, 1:] < best, 0., maps[:, 1:])
        maps = torch.cat((1 - best, classes), dim=1)
    shallow, deep = model.refiner.projections
    features = torch.cat(
        (enlarge(image, conv4.shape[2:]), F.relu(shallow(conv4.detach())),
         F.relu(deep(conv5.detach()))), dim=1)
    features = model.refiner.query(features).flatten(2)
    features = features / (features.norm(dim=1, keepdim=True) + EPS)
    matrix = F.relu(features.transpose(1, 2) @ features)
    matrix = matrix / (matrix.sum(dim=1, keepdim=True) + EPS)
    fine = (maps.flatten(2) @ matrix).view(maps.shape)
    return [enlarge(m, image.shape[2:]) for m in (raw, fine)]


@torch.no_grad()
def published_read(model, image, sample):
    """Normalised maps (20, H, W) of one image."""
    size = image.shape[2:]
    tags = sample.gt_label.score.view(-1, 1, 1)
    total = 0.
    for scale in model.test_cfg['scales']:
        scaled = resize_image(
            image, [round(s * scale) for s in size], 'bicubic')
        for mirrored in (False, True):
            maps = published_forward(
                model, scaled.flip(-1) if mirrored else scaled)[1][:, 1:]
            maps = enlarge(maps, size, align_corners=False)[0].cpu() * tags
            total = total + (maps.flip(-1) if mirrored else maps)
    total = total.clamp(min=0)
    high = total.amax(dim=(1, 2), keepdim=True)
    low = total.amin(dim=(1, 2), keepdim=True)
    total[total < low + EPS] = 0
    return (total - low - EPS) / (high - low + EPS)


def published_step(model, image, samples):
    labels = model.stack_labels(samples, image)
    views = [published_forward(model, x) for x in (image, shrink(image))]
    cams, refined = zip(*views)
    return published_losses(cams, refined, labels)


# --------------------------------------------------------------------- ours
@torch.no_grad()
def ours_read(model, image, sample):
    return model.predict(image, [sample.clone()])[0].cams


def ours_step(model, image, samples):
    losses = model.loss(image, samples)
    return sum(v for k, v in losses.items() if 'loss' in k)


# -------------------------------------------------------------------- cases
def smooth(*shape):
    """Random maps or images that are alike nearby, as real ones are."""
    small = [max(s // 4, 2) for s in shape[2:]]
    return enlarge(torch.randn(*shape[:2], *small), shape[2:])


def make_samples(number, num_classes, size):
    samples = []
    for ids in TAGS[:number]:
        sample = SegDataSample(metainfo=dict(ori_shape=size))
        score = torch.zeros(num_classes)
        score[list(ids)] = 1
        sample.gt_label = LabelData(label=torch.tensor(ids), score=score)
        samples.append(sample)
    return samples


def build(config, scales=(1., )):
    """ResNet-38 with random weights, dropout off."""
    init_default_scope('mmseg')
    logging.disable(logging.INFO)
    cfg = Config.fromfile(CONFIGS / config).model
    cfg.backbone.init_cfg = dict(type='Kaiming', layer='Conv2d')
    cfg.test_cfg.scales = scales
    torch.manual_seed(0)
    model = MODELS.build(cfg)
    model.init_weights()
    return model.eval()


def losses_case(way, batch, num_classes, crop):
    """A function of a size; the loss and the gradients of all maps."""
    init_default_scope('mmseg')
    head = MODELS.build(
        dict(
            type='mmwsss.CAMHead',
            num_classes=num_classes,
            in_channels=1,
            loss_weight=0.5,
            pool_at_image_size=True))
    second = MODELS.build(dict(type='mmwsss.Rescale', scale=SHRINK))
    regularizer = MODELS.build(dict(type='mmwsss.EquivariantRegularization'))

    def run(crop=crop):
        torch.manual_seed(1)
        images = [torch.zeros(batch, 3, crop, crop)]
        images.append(second.apply(images[0]))
        samples = make_samples(batch, num_classes, (crop, crop))
        labels = torch.stack([s.gt_label.score for s in samples])
        maps = []  # raw and refined of the first view, then of the second
        for image in images:
            side = -(-image.shape[-1] // 8)
            maps += [
                smooth(batch, num_classes + 1, side, side).requires_grad_()
                for _ in range(2)
            ]
        if way == 'published':
            large = [
                enlarge(m, x.shape[2:])
                for m, x in zip(maps, (images[0], images[0], *images[1:] * 2))
            ]
            loss = published_losses(large[::2], large[1::2], labels)
        else:
            views = [
                ViewOutput(
                    x, labels, fields=dict(cams=c[:, 1:], refined_cams=r),
                    providers=dict(logits=head))
                for x, c, r in zip(images, maps[::2], maps[1::2])
            ]
            terms = regularizer(ViewPair(*views, transform=second.apply))
            loss = sum(head.loss(v) for v in views) + sum(terms.values())
        loss.backward()
        return [loss.detach()[None]] + [m.grad for m in maps]

    return run


def read_case(way, scales, size, clock=None):
    """A function of a size; maps of the two present classes."""
    model = build('seam/seam_resnet38_voc.py', scales)
    if clock is not None:
        clock.watch(model.backbone)

    def run(size=size):
        torch.manual_seed(1)
        image = smooth(1, 3, *size)
        sample = make_samples(1, 20, size)[0]
        if way == 'ours':
            return [ours_read(model, image, sample)]
        maps = published_read(model, image, sample)
        return [maps[sample.gt_label.label].clamp(min=0)]

    return run


def step_case(way, batch, crop):
    """A function of a size; the loss and the gradients of the weights."""
    name = 'cam/cam' if way == 'plain' else 'seam/seam'
    model = build(f'{name}_resnet38_voc.py')
    step = published_step if way == 'published' else ours_step

    def run(crop=crop):
        torch.manual_seed(1)
        image = smooth(batch, 3, crop, crop)
        samples = make_samples(batch, 20, (crop, crop))
        model.zero_grad()
        loss = step(model, image, samples)
        loss.backward()
        return [loss.detach()[None]] + [
            p.grad for p in model.parameters() if p.grad is not None
        ]

    return run


CASES = dict(losses=losses_case, read=read_case, step=step_case)


# ---------------------------------------------------------------- measuring
class Clock:
    """Adds up the seconds that modules spend in their forward pass."""

    def __init__(self):
        self.seconds = 0.

    def watch(self, module):
        module.register_forward_pre_hook(self.start)
        module.register_forward_hook(self.stop)

    def start(self, *_):
        self.seconds -= time.perf_counter()

    def stop(self, *_):
        self.seconds += time.perf_counter()


def in_turns(ways, repeats, clock):
    """Per way the last result, seconds per run, and those of the clock."""
    results = {}
    seconds, watched = ({way: [] for way in ways} for _ in range(2))
    for _ in range(repeats):
        for way, run in ways.items():
            clock.seconds = 0.
            start = time.perf_counter()
            results[way] = run()
            seconds[way].append(time.perf_counter() - start)
            watched[way].append(clock.seconds)
    return results, seconds, watched


def warm_up(run, part):
    """Load the libraries."""
    run((64, 64) if part == 'read' else 64)


def added_memory(part, *case):
    """MiB that one run adds at most to this fresh process."""
    run = CASES[part](*case)
    warm_up(run, part)
    Path('/proc/self/clear_refs').write_text('5')  # forgets the peak
    before = resident('VmRSS')
    run()
    return resident('VmHWM') - before


def largest_difference(expected, found):
    """Over all tensors, each relative to its largest value."""
    assert len(expected) == len(found)
    return max(
        float((a - b).abs().max() / a.abs().max())
        for a, b in zip(expected, found) if a.any() or b.any())


def row(label, seconds, first, second, *rest):
    ratio = statistics.median(
        a / b for a, b in zip(seconds[first], seconds[second]))
    times = [statistics.median(seconds[way]) for way in (first, second)]
    print(f'{label:34}{times[0]:>9.2f} s{times[1]:>9.2f} s{ratio:>8.2f}x' +
          ''.join(rest), flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--parts', nargs='+', default=list(CASES),
                        choices=list(CASES))
    parser.add_argument('--repeats', type=int, default=3)
    parser.add_argument('--crop', type=int, default=448,
                        help='Side of training images.')
    parser.add_argument('--batch', type=int, default=4, choices=range(1, 5),
                        help='Images in the losses.')
    parser.add_argument('--image', type=int, nargs=2, default=(375, 500),
                        help='Height and width of the image read.')
    parser.add_argument('--scales', type=float, nargs='+',
                        default=(0.5, 1.0, 1.5, 2.0),
                        help='Fewer save time: scale 2 is half of it all.')
    args = parser.parse_args()
    context = multiprocessing.get_context('spawn')

    def memory(*case):
        with context.Pool(1) as pool:
            return f'{pool.apply(added_memory, case):>12.0f}'

    def compare(part, *case, ways=('published', 'ours'), tolerance=1e-4):
        clock = Clock()
        more = (clock, ) if part == 'read' else ()
        runs = {way: CASES[part](way, *case, *more) for way in ways}
        for run in runs.values():
            warm_up(run, part)
        results, seconds, watched = in_turns(runs, args.repeats, clock)
        error = largest_difference(results['published'], results['ours'])
        assert error < tolerance, f'{part}: differs by {error:.1e}'
        return seconds, watched, f'{error:>10.1e}', {
            way: memory(part, way, *case) for way in ways
        }

    print(machine())
    print(f'{"":34}{"other":>11}{"ours":>11}{"ratio":>9}{"error":>10}'
          f'{"other MiB":>12}{"ours MiB":>12}')
    if 'losses' in args.parts:
        for num_classes in (20, 80):
            seconds, _, error, peak = compare('losses', args.batch,
                                              num_classes, args.crop)
            row(f'losses, {args.batch} x {args.crop} px, {num_classes} '
                'classes', seconds, 'published', 'ours', error,
                *peak.values())
    if 'read' in args.parts:
        seconds, backbone, error, peak = compare(
            'read', tuple(args.scales), tuple(args.image), tolerance=1e-3)
        height, width = args.image
        row(f'read {height} x {width}, {len(args.scales)} scales', seconds,
            'published', 'ours', error, *peak.values())
        row('  of it the backbone', backbone, 'published', 'ours')
        rest = {
            way: [a - b for a, b in zip(seconds[way], backbone[way])]
            for way in seconds
        }
        row('  all but the backbone', rest, 'published', 'ours')
        for way in seconds:
            share = statistics.median(
                b / a for a, b in zip(seconds[way], backbone[way]))
            print(f'  share of the backbone, {way}: {share:.0%}')
    if 'step' in args.parts:
        seconds, _, error, peak = compare(
            'step', 1, args.crop, ways=('plain', 'published', 'ours'),
            tolerance=1e-3)
        row(f'step, 1 x {args.crop} px, published', seconds, 'published',
            'ours', error, peak['published'], peak['ours'])
        row('  plain classification', seconds, 'plain', 'ours', ' ' * 10,
            peak['plain'], peak['ours'])


if __name__ == '__main__':
    main()
