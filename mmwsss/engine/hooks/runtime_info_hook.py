"""Losses of every step, brought to the host at once."""

import torch
from mmengine.hooks import RuntimeInfoHook as MMEngineRuntimeInfoHook
from mmengine.hooks.hook import DATA_BATCH
from mmengine.runner import Runner

from mmwsss.registry import HOOKS


@HOOKS.register_module()
class RuntimeInfoHook(MMEngineRuntimeInfoHook):
    """mmengine's hook, which would wait for a GPU once for every value.

    All values that a step logs are copied together, after its update was
    queued.
    """

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: DATA_BATCH = None,
                         outputs: dict | None = None) -> None:
        """Note what a step logs.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Number of the batch.
            data_batch (dict, optional): Not needed.
            outputs (dict, optional): Name to value; scalars become numbers
                in place, so that nobody else waits for them.
        """
        scalars = {
            key: value
            for key, value in (outputs or {}).items()
            if isinstance(value, torch.Tensor) and value.numel() == 1
        }
        if len({(x.device, x.dtype) for x in scalars.values()}) == 1:
            values = torch.stack(
                [x.detach().reshape(()) for x in scalars.values()])
            outputs.update(zip(scalars, values.tolist()))
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
