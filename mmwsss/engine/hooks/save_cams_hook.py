"""CAMs of a test as files."""
import logging
from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log
from mmengine.model import is_model_wrapper

from mmwsss.pseudo_labels.cam_file import write_cam, write_manifest
from mmwsss.registry import HOOKS

from .save_predictions_hook import SavePredictionsHook


@HOOKS.register_module()
class SaveCAMsHook(SavePredictionsHook):
    """Write the CAMs of every tested image to a folder.

    ``{out_dir}/{img_id}.npz`` appear as they are predicted, each whole or
    not at all. ``{out_dir}/manifest.json`` (config, checkpoint and its
    digest, split, number of images, settings of the prediction) appears when
    all are written, so a folder without it is known to be incomplete.

    Args:
        out_dir (str, optional): The folder. None writes nothing.
            Defaults to None.
        enabled (bool): Defaults to True.
        on_val (bool): Whether validations write too, not only tests.
            Defaults to False.
    """
    field = 'cams'
    title = 'CAMs'
    advice = ('SaveCAMsHook needs a model like mmwsss.CAMSegmentor. Set its '
              'out_dir=None otherwise.')

    def __init__(self,
                 out_dir: str | None = None,
                 enabled: bool = True,
                 on_val: bool = False) -> None:
        super().__init__(out_dir if enabled else None)
        self.on_val = on_val

    def write(self, img_id: str, sample: Any) -> None:
        """Write one image's CAMs.

        Args:
            img_id (str): Its id.
            sample (SegDataSample): With ``cams`` (K', h, w) and
                ``class_ids`` (K',).

        Raises:
            ValueError: If they are no numbers in [0, 1].
        """
        size = sample.get('ori_shape', sample.cams.shape[-2:])[:2]
        write_cam(self.out_dir, img_id,
                  sample.class_ids.cpu().numpy(),
                  sample.cams.detach().float().cpu().numpy(), size)

    def write_manifest(self, runner, **facts: Any) -> None:
        """Write the manifest, with the settings of the prediction.

        Args:
            runner (Runner): The runner.
            **facts: How the maps came about.
        """
        model = runner.model
        model = model.module if is_model_wrapper(model) else model
        test_cfg = dict(getattr(model, 'test_cfg', None) or {})
        write_manifest(self.out_dir, **facts, test_cfg=test_cfg)

    def finish(self, runner, dataset: Any) -> None:
        """Write the manifest; files of other images are pointed out.

        Args:
            runner (Runner): The runner.
            dataset (Dataset): Of the images written.
        """
        super().finish(runner, dataset)
        present = sum(1 for _ in self.out_dir.rglob('*.npz'))
        if present > len(dataset):
            print_log(
                f'{self.out_dir} holds {present - len(dataset)} more .npz '
                'file(s), of an earlier run with other images.',
                logger='current',
                level=logging.WARNING)

    def before_val_epoch(self, runner) -> None:
        """Like before a test, with ``on_val``.

        Args:
            runner (Runner): The runner.
        """
        if self.on_val:
            self.before_test_epoch(runner)

    def after_val_iter(self,
                       runner,
                       batch_idx: int,
                       data_batch: dict | None = None,
                       outputs: Sequence | None = None) -> None:
        """Like after an iteration of a test, with ``on_val``.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Unused.
            data_batch (dict, optional): Unused.
            outputs (Sequence[SegDataSample]): Predictions.
        """
        if self.on_val:
            self.after_test_iter(runner, batch_idx, data_batch, outputs)

    def after_val_epoch(self,
                        runner,
                        metrics: dict[str, float] | None = None) -> None:
        """Like after a test, with ``on_val``.

        Args:
            runner (Runner): The runner.
            metrics (dict, optional): Unused.
        """
        if self.on_val and self.out_dir is not None:
            self.finish(runner, runner.val_dataloader.dataset)
