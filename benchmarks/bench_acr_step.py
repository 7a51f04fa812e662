"""An ACR training step against two plain ones of the same backbone.

The reference step classifies an image and its mirror image with the fused
attention kernel (two forward and backward passes, nothing compared). The ACR
step adds the attention of all blocks, their alignment and both consistency
terms. Peak memory is the largest resident size of a fresh process per case on
a CPU and the allocator's peak on a GPU.

    python benchmarks/bench_acr_step.py
"""
import argparse
import subprocess
import sys

import torch
from common import build_classifier, machine, timed
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample

from mmwsss.models.regularizers.all_pairs_consistency import consistency_losses
from mmwsss.structures import AttentionRequest


def make(backbone: str, size: int, acr: bool):
    extra = dict()
    if acr:
        extra = dict(
            second_view=dict(type='mmwsss.HorizontalFlip'),
            regularizers=dict(acr=dict(type='mmwsss.AllPairsConsistency')))
    return build_classifier(backbone, size, **extra)


def make_batch(batch: int, size: int):
    torch.manual_seed(1)
    samples = []
    for i in range(batch):
        sample = SegDataSample()
        sample.gt_label = LabelData(
            label=torch.tensor([i % 20]), score=torch.eye(20)[i % 20])
        samples.append(sample)
    return torch.randn(batch, 3, size, size), samples


def acr_step(model, image, samples):
    model.zero_grad()
    losses = model.loss(image, samples)
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    return losses


def plain_steps(model, image, samples):
    """Two classification passes, each forward and backward."""
    model.zero_grad()
    for view in (image, image.flip(-1)):
        model.loss(view, samples)['loss_cls'].backward()


def mirror_attention(attention, grid, num_prefix_tokens):
    """A mirrored image's attention in the plain image's order of tokens.

    Rows and columns of the patch tokens are permuted by
    i * gw + j -> i * gw + (gw - 1 - j), as in the published code.
    """
    gh, gw = grid
    index = torch.arange(num_prefix_tokens + gh * gw)
    patches = index[num_prefix_tokens:].reshape(gh, gw).flip(1).flatten()
    index[num_prefix_tokens:] = patches.clone()
    return attention.index_select(-2, index).index_select(-1, index)


def published_step(model, image, samples):
    """Two forwards and 12 permuted matrices, as in the paper's code."""
    model.zero_grad()
    labels = model.stack_labels(samples, image)
    request = AttentionRequest(matrices='mean')
    views = [
        model.forward_view(x, labels, request)
        for x in (image, image.flip(-1))
    ]
    grid, n_prefix = views[0].grid, views[0].num_prefix_tokens
    restored = [
        mirror_attention(a, grid, n_prefix) for a in views[1].attentions
    ]
    act, aff = consistency_losses(views[0].attentions, restored, n_prefix)
    loss = sum(model.cls_head.loss(v) for v in views) + 125 * (act + aff)
    loss.backward()
    return loss


def peak_memory(args, case: str) -> float:
    """Peak resident MiB of one step in a fresh process."""
    command = [
        sys.executable, __file__, '--case', case, '--backbones',
        args.backbones[0], '--size',
        str(args.size), '--batch',
        str(args.batch)
    ]
    out = subprocess.run(
        command, capture_output=True, text=True, check=True).stdout
    return float(out.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--backbones', nargs='+', default=['deit-small', 'base'])
    parser.add_argument('--size', type=int, default=384)
    parser.add_argument('--batch', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--case', choices=['plain', 'acr', 'published'])
    args = parser.parse_args()
    image, samples = make_batch(args.batch, args.size)
    steps = dict(plain=plain_steps, acr=acr_step, published=published_step)
    if args.case:
        model = make(args.backbones[0], args.size, args.case == 'acr')
        for _ in range(2):
            steps[args.case](model, image, samples)
        # Not ru_maxrss, which a process inherits from its parent.
        with open('/proc/self/status') as f:
            peak = next(x for x in f if x.startswith('VmHWM'))
        print(int(peak.split()[1]) / 1024)
        return
    print(machine())
    print(f'\nTraining steps, {args.size} px, batch {args.batch}')
    print(f'{"":14}{"2 x plain":>12}{"ACR":>12}{"ratio":>8}'
          f'{"permuting":>12}{"peak MiB: 2 x plain, ACR, permuting":>38}')
    for backbone in args.backbones:
        plain = make(backbone, args.size, False)
        model = make(backbone, args.size, True)
        model.load_state_dict(plain.state_dict())
        reference = published_step(plain, image, samples)
        losses = acr_step(model, image, samples)
        total = sum(v for k, v in losses.items() if 'loss' in k)
        torch.testing.assert_close(total, reference, rtol=1e-4, atol=1e-4)
        for a, b in zip(model.parameters(), plain.parameters()):
            if b.grad is not None:
                torch.testing.assert_close(a.grad, b.grad, rtol=2e-2,
                                           atol=1e-4)
        _, _, (t_plain, t_acr, ratio) = timed(
            lambda: plain_steps(plain, image, samples),
            lambda: acr_step(model, image, samples), args.repeats)
        _, _, (t_perm, _, _) = timed(
            lambda: published_step(plain, image, samples), lambda: None, 3)
        args.backbones = [backbone]
        peaks = [peak_memory(args, c) for c in ('plain', 'acr', 'published')]
        print(f'{backbone:14}{t_plain * 1e3:>9.0f} ms{t_acr * 1e3:>9.0f} ms'
              f'{1 / ratio:>7.2f}x{t_perm * 1e3:>9.0f} ms' +
              ''.join(f'{p:>10.0f}' for p in peaks))


if __name__ == '__main__':
    main()
