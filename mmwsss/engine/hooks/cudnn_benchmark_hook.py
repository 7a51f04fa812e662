"""Trying out convolutions pays for trainings only."""
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmwsss.registry import HOOKS


@HOOKS.register_module()
class CudnnBenchmarkHook(Hook):
    """Keep cuDNN from measuring its algorithms for images of many sizes.

    ``env_cfg.cudnn_benchmark=True`` measures all algorithms whenever a size
    is new. Crops have one size; in validation and test each image has its
    own, and measuring takes longer than what it saves.
    """

    def __init__(self) -> None:
        self._training = torch.backends.cudnn.benchmark

    def before_val(self, runner: Runner) -> None:
        """Stop measuring.

        Args:
            runner (Runner): Not needed.
        """
        self._training = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = False

    def after_val(self, runner: Runner) -> None:
        """Measure again, if the training does.

        Args:
            runner (Runner): Not needed.
        """
        torch.backends.cudnn.benchmark = self._training

    before_test, after_test = before_val, after_val
