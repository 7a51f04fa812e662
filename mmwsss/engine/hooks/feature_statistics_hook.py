"""Mean and deviation of frozen features, once before a training."""
import copy

import torch
from mmengine.dist import all_reduce, barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmwsss.models.backbones.frozen_features import FrozenFeatures
from mmwsss.registry import HOOKS
from mmwsss.utils.io import remove_temporary


def frozen_features_of(model: torch.nn.Module) -> list[FrozenFeatures]:
    """All :class:`FrozenFeatures` in a model.

    Args:
        model (nn.Module): The model, maybe wrapped.

    Returns:
        list[FrozenFeatures]: In the order of the modules.
    """
    return [m for m in model.modules() if isinstance(m, FrozenFeatures)]


@HOOKS.register_module()
class FeatureStatisticsHook(Hook):
    """Estimates what :class:`FrozenFeatures` standardises with.

    Before the training every training image passes once, through the
    pipeline of the training but in order and without any draw of its own;
    with a ``cache_dir`` the features are then there for all epochs. Sums are
    float64 and joined over all processes, so 1 and N of them give the same
    statistics. A model that has them (resumed, or loaded) is left alone.
    """

    def before_train(self, runner: Runner) -> None:
        """Estimate.

        Args:
            runner (Runner): With model and training data.
        """
        model = runner.model
        while is_model_wrapper(model):
            model = model.module
        parts = [
            m for m in frozen_features_of(model)
            if m.standardize and not m.num_positions
        ]
        if not parts:
            return
        if is_main_process():
            for network in (n for m in parts for n in m.networks):
                if network.cache_dir is not None:
                    remove_temporary(network.cache_dir)
        barrier()
        loader = self._loader(runner)
        sums = [
            torch.zeros(2 * m.out_channels + 1, dtype=torch.float64)
            for m in parts
        ]
        for i, batch in enumerate(loader):
            # May take minutes.
            if i % max(len(loader) // 10, 1) == 0:
                print_log(
                    f'Features of the training images: batch {i + 1} of '
                    f'{len(loader)}.',
                    logger='current')
            batch = model.data_preprocessor(batch, True)
            sizes = [s.img_shape for s in batch['data_samples']]
            for part, total in zip(parts, sums):
                for maps in part.each(batch['inputs'], sizes):
                    values = maps.flatten(1).double().cpu()
                    total[:-1] += torch.cat(
                        (values.sum(dim=1), values.square().sum(dim=1)))
                    total[-1] += values.shape[1]
        for part, total in zip(parts, sums):
            total = total.to(part.mean.device)
            all_reduce(total)
            first, second = total[:-1].chunk(2)
            part.set_statistics(int(total[-1]), first, second)
            print_log(
                f'Features: {part.out_channels} channels, standardised with '
                f'{int(total[-1])} positions.',
                logger='current')

    @staticmethod
    def _loader(runner: Runner):
        """The training images in order, each once over all processes."""
        cfg = copy.deepcopy(runner.cfg.train_dataloader)
        cfg.sampler = dict(
            type='DefaultSampler', shuffle=False, round_up=False)
        cfg.drop_last = False
        cfg.pop('batch_sampler', None)
        cfg.persistent_workers = False
        return runner.build_dataloader(cfg, seed=runner.seed)
