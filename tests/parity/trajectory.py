"""Trainings of ten steps: ours by mmengine's Runner, and what a reference
training needs beside its network and losses.

All of it is in float64, where ten steps of two correct programs still agree
in ten digits, so that a comparison needs no judgement of rounding, and
decisions between close neighbours (winners, ranks, words) fall the same way.
"""
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEPS = 10
#: Largest difference that counts as none, and smallest that counts as one, in
#: largest entries of the tensor compared. Rounding alone came to 4e-11, a
#: momentum of 0 instead of 1e-4 to more than 1e-6 in three steps.
SAME = 1e-9
OTHER = 1e-7
#: Steps after which a changed training must have left ours.
FEW = 3
SEED = 5  # Of the runs.


# ------------------------------------------------------ for both trainings
class Batch:
    """What the data loader gives: crops after all random augmentation.

    Attributes:
        images (Tensor): Grey levels in BGR, uint8 (N, 3, H, W).
        labels (Tensor): Multi-hot, float64 (N, 20).
    """

    def __init__(self, size: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        rough = torch.rand(2, 3, 6, 6, generator=generator)
        images = F.interpolate(rough, (size, size), mode='bilinear')
        noise = torch.rand(images.shape, generator=generator)
        self.images = (200 * images + 55 * noise).to(torch.uint8)
        self.labels = torch.zeros(2, 20, dtype=torch.float64)
        for row, count in zip(self.labels, (3, 1)):
            row[torch.randperm(20, generator=generator)[:count]] = 1


def batches(size: int) -> list[Batch]:
    """Five batches of two images; a training goes through them twice.

    Args:
        size (int): Height and width.
    """
    return [Batch(size, seed) for seed in range(STEPS // 2)]


def start(net: nn.Module, gain: float = 1., seed: int = 0) -> nn.Module:
    """Draw every weight and statistic anew, none at a special value.

    Args:
        net (nn.Module): Changed.
        gain (float): Length of what a matrix makes of a unit vector.
            Defaults to 1.
        seed (int): Of the draws. Defaults to 0.

    Returns:
        nn.Module: The same, float64.
    """
    generator = torch.Generator().manual_seed(seed)
    net.double()
    for name, value in net.state_dict().items():
        if name.endswith('running_var') or (value.ndim == 1
                                            and name.endswith('weight')):
            value.uniform_(0.5, 1., generator=generator)
        elif value.ndim == 1:
            value.normal_(0, 0.1, generator=generator)
        elif value.is_floating_point() and value.ndim:
            value.normal_(
                0, gain / value[0].numel()**0.5, generator=generator)
    return net


class ChannelDraws:
    """Which channels dropout keeps, whatever the order of its layers.

    Layers are told apart by channels and rate: the n-th call with both makes
    the same draw in either training.
    """

    def __init__(self) -> None:
        self.calls: dict[tuple[int, float], int] = {}

    def __call__(self, x: Tensor, p: float = 0.5, training: bool = True,
                 inplace: bool = False) -> Tensor:
        if not training:
            return x
        key = (x.shape[1], p)
        self.calls[key] = self.calls.get(key, 0) + 1
        generator = torch.Generator().manual_seed(
            1000 * x.shape[1] + self.calls[key])
        kept = torch.rand(x.shape[:2], generator=generator) >= p
        return x * kept[..., None, None] / (1 - p)


# ------------------------------------------------- for the reference alone
def normalised(images: Tensor) -> Tensor:
    """RGB less ImageNet's mean, by its standard deviation."""
    # Rounded to float32 once, as in any data pipeline.
    mean = torch.tensor([123.675, 116.28, 103.53]).double()
    std = torch.tensor([58.395, 57.12, 57.375]).double()
    rgb = images.double().flip(1)
    return (rgb - mean.view(3, 1, 1)) / std.view(3, 1, 1)


def soft_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """softplus(-s) y + softplus(s) (1 - y), its mean over all entries."""
    return (F.softplus(-logits) * labels + F.softplus(logits) *
            (1 - labels)).mean()


def steps_of(optimizer: torch.optim.Optimizer, data: list[Batch],
             power: float, steps: int) -> Iterator[Batch]:
    """The batches of the first steps; sets the learning rates before each.

    Args:
        optimizer (torch.optim.Optimizer): At its first rates.
        data (list[Batch]): Of an epoch.
        power (float): Of lr(t) = lr(0) (1 - t / T)^power.
        steps (int): How many of all T are made.
    """
    first = [group['lr'] for group in optimizer.param_groups]
    for step in range(steps):
        for group, lr in zip(optimizer.param_groups, first):
            group['lr'] = lr * (1 - step / STEPS)**power
        yield data[step % len(data)]


# ----------------------------------------------------- for our training
def scaled(cfg):
    """Shorten the training of a config to ten steps.

    Decay over T steps is written T + 1 in iterations, and max_epochs and one
    step more in epochs (``configs/_base_/schedules``).

    Args:
        cfg (Config): Changed.

    Returns:
        Config: The same.
    """
    scheduler, = cfg.param_scheduler
    if cfg.train_cfg.type == 'IterBasedTrainLoop':
        full = cfg.train_cfg.max_iters
        assert scheduler.end == full + 1
        cfg.train_cfg.max_iters, scheduler.end = STEPS, STEPS + 1
    else:
        assert 0 < scheduler.end - cfg.train_cfg.max_epochs < 0.01
        cfg.train_cfg.max_epochs = 2
        scheduler.end = 2 + 2 / STEPS
    return cfg


def run(cfg, weights: dict[str, Tensor], data: list[Batch],
        folder) -> list[dict[str, Tensor]]:
    """Train a config's model with all that the config says about training.

    Args:
        cfg (Config): Of ten steps, see :func:`scaled`.
        weights (dict[str, Tensor]): What it starts from.
        data (list[Batch]): Of an epoch.
        folder (Path): For the run's files.

    Returns:
        list[dict[str, Tensor]]: The model's state before the first and after
        every step.
    """
    from mmengine.dataset import pseudo_collate
    from mmengine.hooks import Hook
    from mmengine.runner import Runner
    from mmengine.structures import LabelData
    from mmseg.structures import SegDataSample

    states = []

    class Recorder(Hook):
        priority = 'LOWEST'

        def before_train(self, runner):
            runner.model.double().load_state_dict(weights)
            self.after_train_iter(runner)

        def after_train_iter(self, runner, *args, **kwargs):
            states.append({
                name: value.clone()
                for name, value in runner.model.state_dict().items()
            })

    items = []
    for number, batch in enumerate(data):
        for i, (image, labels) in enumerate(zip(batch.images, batch.labels)):
            sample = SegDataSample(
                metainfo=dict(
                    img_id=f'{number}-{i}',
                    ori_shape=image.shape[1:],
                    img_shape=image.shape[1:]))
            sample.gt_label = LabelData(
                label=labels.nonzero()[:, 0], score=labels.float())
            items.append(dict(inputs=image, data_samples=sample))
    loader = torch.utils.data.DataLoader(
        items, len(data[0].images), collate_fn=pseudo_collate)
    hooks = dict(cfg.default_hooks, checkpoint=None)
    del hooks['visualization']
    with pytest.MonkeyPatch.context() as patch:
        # Where the model leaves half precision for float32.
        patch.setattr(Tensor, 'float', Tensor.double)
        patch.setattr(F, 'dropout2d', ChannelDraws())
        Runner(
            cfg.model,
            str(folder),
            train_dataloader=loader,
            train_cfg=cfg.train_cfg,
            optim_wrapper=cfg.optim_wrapper,
            param_scheduler=cfg.param_scheduler,
            default_hooks=hooks,
            custom_hooks=[Recorder()],
            default_scope=cfg.default_scope,
            log_processor=cfg.log_processor,
            log_level='WARNING',
            randomness=dict(seed=SEED),
            experiment_name=folder.name).train()
    assert len(states) == STEPS + 1
    return states


def worst(ours: list[dict[str, Tensor]],
          theirs: list[dict[str, Tensor]]) -> tuple[float, int, str]:
    """Where two trainings differ most.

    Args:
        ours (list[dict[str, Tensor]]): States of all steps.
        theirs (list[dict[str, Tensor]]): The same, under the same names.

    Returns:
        tuple[float, int, str]: The largest difference of entries, in largest
        entries of their tensor; the step and the tensor that has it.
    """
    found = (0., 0, '')
    assert len(ours) == len(theirs)
    for step, (a, b) in enumerate(zip(ours, theirs)):
        assert a.keys() == b.keys()
        for name, value in a.items():
            other = b[name]
            assert value.shape == other.shape, name
            if not value.is_floating_point():
                assert torch.equal(value, other), (step, name)
                continue
            assert value.dtype == other.dtype == torch.float64, name
            scale = other.abs().max().clamp(min=1e-300)
            error = float((value - other).abs().max() / scale)
            found = max(found, (error, step, name))
    return found


def check_moved(states: list[dict[str, Tensor]], still: set[str]) -> None:
    """Every parameter but some was trained, and not out of bounds.

    Args:
        states (list[dict[str, Tensor]]): Of all steps.
        still (set[str]): Names of what must not change.
    """
    for name, first in states[0].items():
        last = states[-1][name]
        assert last.double().isfinite().all()
        assert torch.equal(first, last) == (name in still), name
