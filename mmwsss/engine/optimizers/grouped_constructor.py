"""Optimizers with as few groups of parameters as settings differ."""
from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from mmwsss.models.utils.momentum_copy import MomentumCopy
from mmwsss.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GroupedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor without a group for every parameter.

    With ``paramwise_cfg`` mmengine makes a group of each parameter. torch
    updates one group after the other, on a GPU all of a group in a few
    launches, so groups of equal settings are joined. Updates stay the same.
    Teachers (``MomentumCopy``), of which nothing is trained, are left out;
    mmengine would warn of each of their parameters.
    """

    def add_params(self, params: list[dict], module: nn.Module,
                   prefix: str = '', **kwargs: Any) -> None:
        """Add the parameters of a module, joined if it is the whole model.

        Args:
            params (list[dict]): Groups, extended in place.
            module (nn.Module): The module.
            prefix (str): Its name; empty for the whole model.
                Defaults to ''.
            **kwargs: See mmengine.
        """
        if isinstance(module, MomentumCopy):
            return
        super().add_params(params, module, prefix=prefix, **kwargs)
        if prefix:
            return
        joined: dict = {}
        for group in params:
            settings = {k: v for k, v in group.items() if k != 'params'}
            key = repr(sorted(settings.items()))
            joined.setdefault(key, dict(settings, params=[]))['params'] += \
                group['params']
        params[:] = joined.values()
