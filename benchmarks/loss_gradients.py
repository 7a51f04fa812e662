"""How strongly does each loss of a method move the backbone? A table.

Trains a config as usual, and every few steps takes the gradient of each loss,
with its weight, to the trained parameters of the backbone. A term whose
gradient is far below that of the classification loss can't change the CAMs,
whatever its value.

    python benchmarks/loss_gradients.py \
        configs/fbr/fbr_cam_lite2-160_voc-mini.py --every 20
"""
import argparse
from collections import defaultdict
from pathlib import Path
from statistics import median

import torch
from common import machine
from mmengine.config import Config, DictAction
from mmengine.runner import Runner
from prettytable import PrettyTable
from torch import Tensor, nn

import mmwsss  # noqa: F401


def flat_gradient(loss: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    """The gradient of a loss, (P,); 0 where it does not depend on one."""
    found = torch.autograd.grad(
        loss, parameters, retain_graph=True, allow_unused=True)
    return torch.cat([
        torch.zeros(p.numel()) if g is None else g.detach().flatten().cpu()
        for p, g in zip(parameters, found)
    ])


class Meter:
    """Measures in place of a model's ``parse_losses``.

    Args:
        model (nn.Module): The model, with a ``backbone``.
        every (int): Measure every so many steps.
        reference (str): Name of the loss that others are compared with.
    """

    def __init__(self, model: nn.Module, every: int, reference: str) -> None:
        self.parameters = [
            p for p in model.backbone.parameters() if p.requires_grad
        ]
        if not self.parameters:
            raise SystemExit('The backbone is frozen: no loss can move it. '
                             'Set model.backbone.frozen_stages.')
        self.parse, self.every, self.reference = (model.parse_losses, every,
                                                  reference)
        self.step = -1
        self.rows: dict[str, list[tuple]] = defaultdict(list)
        model.parse_losses = self

    def __call__(self, losses: dict) -> tuple:
        self.step += 1
        if self.step % self.every == self.every - 1:
            terms = {
                name: value
                for name, value in losses.items()
                if 'loss' in name and value.requires_grad
            }
            found = {
                name: flat_gradient(value.mean(), self.parameters)
                for name, value in terms.items()
            }
            base = found[self.reference]
            for name, gradient in found.items():
                cosine = torch.cosine_similarity(gradient, base, dim=0)
                self.rows[name].append(
                    (self.step, terms[name].mean().item(),
                     (gradient.norm() / base.norm()).item(), cosine.item()))
        return self.parse(losses)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('--every', type=int, default=20)
    parser.add_argument('--reference', default='loss_cls')
    parser.add_argument('--work-dir', default='work_dirs/loss_gradients')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction,
                        default={})
    args = parser.parse_args()
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    cfg.work_dir = str(Path(args.work_dir) / Path(args.config).stem)
    # The gradients are measured, not the CAMs.
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    runner = Runner.from_cfg(cfg)
    meter = Meter(runner.model, args.every, args.reference)
    runner.train()
    print(machine())
    table = PrettyTable([
        'loss', 'value, first and last', 'gradient / that of the first row',
        'cosine with it'
    ])
    rows = sorted(meter.rows.items(), key=lambda x: x[0] != args.reference)
    for name, found in rows:
        table.add_row([
            name, f'{found[0][1]:.4f}, {found[-1][1]:.4f}',
            f'{median(x[2] for x in found):.4f} '
            f'({min(x[2] for x in found):.4f} to '
            f'{max(x[2] for x in found):.4f})',
            f'{median(x[3] for x in found):+.2f}'
        ])
    print(table)


if __name__ == '__main__':
    main()
