"""mmdet's models where mmcv has no compiled operations.

MMDetection imports every operation of mmcv, also to build a Mask2Former, of
which one exists in C++ and CUDA alone: the multi-scale deformable attention,
and this one mmcv itself also has in torch. Without compiled operations a
module takes their place that holds the attention in torch and refuses all
others when they are called.
"""
import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

#: What mmcv's compiled operations are called.
NAME = 'mmcv._ext'


def has_compiled_ops() -> bool:
    """Whether mmcv was built with operations, without importing it.

    Returns:
        bool: True as well if mmcv is not installed.
    """
    spec = importlib.util.find_spec('mmcv')
    folders = spec.submodule_search_locations if spec else None
    return not folders or any(
        file.suffix in ('.so', '.pyd') for folder in folders
        for file in Path(folder).glob('_ext.*'))


def support_mmdet() -> None:
    """Put :class:`TorchOps` in the place of operations that are missing.

    Only if mmdet is installed, so that nothing changes for others.
    """
    if NAME not in sys.modules and not has_compiled_ops() and (
            importlib.util.find_spec('mmdet') is not None):
        sys.modules[NAME] = TorchOps(NAME)


class TorchOps(ModuleType):
    """Stands in for mmcv's compiled operations.

    Args:
        name (str): Of the module.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        # importlib.util.find_spec, which mmengine asks, refuses modules that
        # have none.
        self.__spec__ = ModuleSpec(name, None)

    @staticmethod
    def get_compiler_version() -> str:
        """What mmcv's report of the environment asks for."""
        return 'n/a'

    @staticmethod
    def get_compiling_cuda_version() -> str:
        """What mmcv's report of the environment asks for."""
        return 'n/a'

    @staticmethod
    def ms_deform_attn_forward(value: Any, spatial_shapes: Any,
                               level_start_index: Any, locations: Any,
                               weights: Any, im2col_step: Any = None) -> Any:
        """Multi-scale deformable attention, see mmcv.

        Args:
            value (Tensor): (N, sum of h * w, heads, d).
            spatial_shapes (Tensor): int64 (levels, 2), h and w.
            level_start_index (Tensor): Unused.
            locations (Tensor): (N, queries, heads, levels, points, 2), x and
                y in [0, 1].
            weights (Tensor): (N, queries, heads, levels, points).
            im2col_step (Tensor): Unused.

        Returns:
            Tensor: (N, queries, heads * d).
        """
        from mmcv.ops.multi_scale_deform_attn import (
            multi_scale_deformable_attn_pytorch,
        )
        return multi_scale_deformable_attn_pytorch(value, spatial_shapes,
                                                   locations, weights)

    @classmethod
    def ms_deform_attn_backward(cls, value: Any, spatial_shapes: Any,
                                level_start_index: Any, locations: Any,
                                weights: Any, grad_output: Any,
                                grad_value: Any, grad_locations: Any,
                                grad_weights: Any,
                                im2col_step: Any = None) -> None:
        """Its gradients, written to the last three tensors.

        Args:
            value (Tensor): See :meth:`ms_deform_attn_forward`.
            spatial_shapes (Tensor): See there.
            level_start_index (Tensor): Unused.
            locations (Tensor): See there.
            weights (Tensor): See there.
            grad_output (Tensor): (N, queries, heads * d).
            grad_value (Tensor): As ``value``.
            grad_locations (Tensor): As ``locations``.
            grad_weights (Tensor): As ``weights``.
            im2col_step (Tensor): Unused.
        """
        import torch
        with torch.enable_grad():
            inputs = [
                x.detach().requires_grad_()
                for x in (value, locations, weights)
            ]
            output = cls.ms_deform_attn_forward(
                inputs[0], spatial_shapes, level_start_index, *inputs[1:])
            grads = torch.autograd.grad(output, inputs, grad_output)
        for target, grad in zip((grad_value, grad_locations, grad_weights),
                                grads):
            target.copy_(grad)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)

        def refuse(*args: Any, **kwargs: Any) -> None:
            raise NotImplementedError(
                f'{name} of mmcv is not compiled here. Install mmcv with its '
                'operations: MMCV_WITH_OPS=1 pip install '
                '--no-build-isolation --force-reinstall --no-deps onedl-mmcv')

        return refuse
