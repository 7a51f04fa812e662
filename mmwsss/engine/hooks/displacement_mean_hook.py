"""The mean of IRNet's displacements, once the network is trained."""
from typing import Any

from mmengine.config import ConfigDict
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmwsss.registry import HOOKS
from mmwsss.utils.dataset_configs import inner_datasets

from .gallery_hook import undisturbed


def plain_image_loader(cfg: ConfigDict) -> ConfigDict:
    """Config of a loader that gives the training images as they are.

    Args:
        cfg (ConfigDict): A ``train_dataloader``.

    Returns:
        ConfigDict: Of a loader without augmentation, labels or masks, one
        image at a time, each once over all processes.
    """
    pipeline = [
        dict(type='mmwsss.LoadImage'),
        dict(type='mmwsss.PackWSSSInputs')
    ]
    datasets = [
        dict(dataset, pipeline=pipeline, test_mode=True)
        for dataset in inner_datasets(cfg.dataset)
    ]
    return ConfigDict(
        batch_size=1,
        num_workers=cfg.get('num_workers', 0),
        sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
        dataset=datasets[0] if len(datasets) == 1 else dict(
            type='ConcatDataset', datasets=datasets))


@HOOKS.register_module()
class DisplacementMeanHook(Hook):
    """Measure the mean that IRNet takes off its displacements.

    The training loss sees differences of displacements only, so their mean is
    arbitrary, and instances need it to be zero over the training images
    (:meth:`mmwsss.models.segmentors.IRNet.calibrate_displacement`). It is
    measured after the last epoch (or iteration), before the checkpoint is
    written, so that the checkpoint holds it; checkpoints of earlier epochs do
    not. Before a test with a checkpoint without the mean it is measured too,
    from the training images, but not stored.

    All processes take part. A training that was killed while measuring
    repeats its last epoch.

    Args:
        loader (dict, optional): Config of a data loader of images at their
            own size. None takes the training images. Defaults to None.
        interval (int, optional): Measure after every so many epochs (or
            iterations) too, for validations in between. Defaults to None.
    """
    # Before checkpoints are written (VERY_LOW).
    priority = 'NORMAL'

    def __init__(self,
                 loader: dict | None = None,
                 interval: int | None = None) -> None:
        self.loader = loader
        self.interval = interval

    def after_train_epoch(self, runner) -> None:
        """Measure after the last epoch.

        Args:
            runner (Runner): The runner.
        """
        # Loops that count iterations call this too, after the checkpoint.
        if isinstance(runner.train_loop, EpochBasedTrainLoop) and (
                self.is_last_train_epoch(runner) or self.interval is not None
                and self.every_n_epochs(runner, self.interval)):
            self.measure(runner)

    def after_train_iter(self,
                         runner,
                         batch_idx: int,
                         data_batch: Any = None,
                         outputs: dict | None = None) -> None:
        """Measure after the last iteration of a loop that counts these.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Unused.
            data_batch (Any): Unused.
            outputs (dict, optional): Unused.
        """
        if not isinstance(runner.train_loop, EpochBasedTrainLoop) and (
                self.is_last_train_iter(runner) or self.interval is not None
                and self.every_n_train_iters(runner, self.interval)):
            self.measure(runner)

    def before_test_epoch(self, runner) -> None:
        """Measure if the checkpoint does not hold the mean.

        Args:
            runner (Runner): The runner.
        """
        head = getattr(self._model(runner), 'displacement_head', None)
        if head is not None and not head.running_mean.any():
            print_log(
                'The checkpoint holds no mean of the displacements; it is '
                'measured on the training images for this test.',
                logger='current')
            self.measure(runner)

    def measure(self, runner) -> None:
        """Measure the mean and set it.

        Args:
            runner (Runner): With an IRNet.

        Raises:
            ValueError: If no images are known or the model has no
                displacements.
        """
        model = self._model(runner)
        if not hasattr(model, 'calibrate_displacement'):
            raise ValueError(f'{type(model).__name__} has no displacements; '
                             'take DisplacementMeanHook out of custom_hooks.')
        loader = self.loader
        if loader is None:
            train = runner.cfg.get('train_dataloader')
            if not isinstance(train, dict):
                raise ValueError(
                    'DisplacementMeanHook knows no images: the config has no '
                    'train_dataloader. Set the loader of the hook.')
            loader = plain_image_loader(train)
        loader = Runner.build_dataloader(loader)
        print_log(
            f'Measuring the mean displacement of {len(loader.dataset)} '
            'images.',
            logger='current')
        with undisturbed(model):
            mean = model.calibrate_displacement(loader)
        print_log(
            'The mean displacement is {:.3f} rows and {:.3f} columns; it is '
            'taken off from now on.'.format(*mean.tolist()),
            logger='current')

    @staticmethod
    def _model(runner) -> Any:
        model = runner.model
        return model.module if is_model_wrapper(model) else model
