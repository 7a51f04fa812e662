"""GETAM CAMs against one full backward pass per class and flip.

The reference is the published procedure, written out plainly: for each of the
two flips a forward pass with every attention matrix in the graph, then for
each class a backward pass of its logit through all blocks and the stem that
also accumulates the gradients of all parameters, as ``loss.backward()`` does.
Ours reads the same maps from one limited graph for all classes and both flips.
Both run in turn on the same images; the results are compared.

    python benchmarks/bench_getam.py
"""
import argparse

import torch
from common import build_classifier, machine, ratio_table, timed

from mmwsss.models.localizers.getam import affinity_refine, getam
from mmwsss.structures import AttentionRequest


def published(model, image, class_ids, start_layer, func):
    """Maps (K', gh, gw) of both flips of one image, added up."""
    total = 0
    for mirrored in (True, False):
        view = model.forward_view(
            image.flip(-1) if mirrored else image,
            request=AttentionRequest(matrices='heads'))
        for attention in view.attentions:
            attention.retain_grad()
        maps = []
        for c in class_ids:
            model.zero_grad()
            for attention in view.attentions:
                attention.grad = None
            view.logits[0, c].backward(retain_graph=True)
            kept = view.attentions[start_layer:]
            maps.append(
                getam([a[0].detach() for a in kept], [a.grad[0] for a in kept],
                      func, view.num_prefix_tokens))
        n_prefix = view.num_prefix_tokens
        affinity = sum(
            a.detach().mean(1)[:, n_prefix:, n_prefix:]
            for a in view.attentions)
        maps = affinity_refine(torch.stack(maps)[None], affinity)[0]
        maps = maps.unflatten(-1, view.grid)
        total = total + (maps.flip(-1) if mirrored else maps)
    return total


@torch.no_grad()
def ours(model, image, class_ids):
    """The same with one limited graph."""
    views, _, _ = model.compute_cams(image, torch.tensor([class_ids]))
    return views[0][0][0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--backbones', nargs='+', default=['deit-small', 'base', 'hybrid'])
    parser.add_argument('--classes', nargs='+', type=int, default=[1, 3, 5])
    parser.add_argument('--size', type=int, default=384)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--func', default='grad')
    parser.add_argument('--start-layer', type=int, default=10)
    args = parser.parse_args()
    print(machine())
    rows = []
    for backbone in args.backbones:
        model = build_classifier(
            backbone,
            args.size,
            localizer=dict(
                type='mmwsss.GETAM',
                func=args.func,
                start_layer=args.start_layer)).eval()
        image = torch.randn(1, 3, args.size, args.size)
        for k in args.classes:
            ids = list(range(k))
            reference, result, times = timed(
                lambda: published(model, image, ids, args.start_layer, args.
                                  func), lambda: ours(model, image, ids),
                args.repeats)
            scale = reference.abs().max()
            error = float((reference - result).abs().max() / scale)
            assert error < 1e-3, f'maps differ by {error:.1e}'
            rows.append((f'{backbone}, {k} classes', *times, error))
    ratio_table(
        f'GETAM maps, {args.size} px, 2 flips, {args.func} from block '
        f'{args.start_layer}, affinity', rows)


if __name__ == '__main__':
    main()
