"""A copy of a module whose weights are averages over the steps."""
import torch
from mmengine.model import ExponentialMovingAverage
from torch import nn

from .host_value import HostValue


class MomentumCopy(ExponentialMovingAverage):
    """mmengine's moving average, without making a device tell its step.

    The first update copies the weights, every further one takes
    ``keep * own + (1 - keep) * new``. Weights and step are part of the
    checkpoint, so a resumed run goes on exactly. Nothing in it is trained.

    Args:
        model (nn.Module): What is copied.
        keep (float): Share of its own weights that an update keeps, above
            0.5 and below 1; the usual "momentum" of a teacher.

    Raises:
        ValueError: If ``keep`` is out of range.
    """

    def __init__(self, model: nn.Module, keep: float) -> None:
        if not 0.5 < keep < 1:
            raise ValueError(
                f'The momentum of a teacher must lie in (0.5, 1), got {keep}: '
                'it is what an update keeps of the old weights.')
        super().__init__(model, momentum=1 - keep)
        self._steps = HostValue()

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move all weights towards those of a module.

        Args:
            model (nn.Module): With the parameters and buffers that were
                copied, possibly among others.
        """
        done = self._steps.read(self.steps)
        source = dict(model.named_parameters())
        # Asked for anew: moving a module to a device may replace them.
        own = dict(self.module.named_parameters())
        pairs = list(own.values()), [source[name] for name in own]
        if done:
            torch._foreach_lerp_(*pairs, self.momentum)
        else:
            for old, new in zip(*pairs):
                old.copy_(new)
        # By name: a buffer that the copy lacks must not shift the others.
        source = dict(model.named_buffers())
        for name, old in self.module.named_buffers():
            old.copy_(source[name])
        self._steps.write(self.steps, done + 1)
