"""Predicted instances of a test as files."""
from pathlib import Path
from typing import Dict, Optional, Sequence

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log

from mmwsss.registry import HOOKS
from mmwsss.structures.instance_file import (write_instance_manifest,
                                             write_instances)

from .save_cams_hook import begin_folder, sample_id
from .save_masks_hook import facts_of_test


@HOOKS.register_module()
class SaveInstancesHook(Hook):
    """Write the instances of every tested image to a folder.

    ``{out_dir}/{img_id}.json`` (see
    :mod:`mmwsss.structures.instance_file`) appear as they are predicted, each
    whole or not at all. ``{out_dir}/manifest.json`` appears when all are
    written.

    Args:
        out_dir (str, optional): The folder; ``tools/test.py`` sets it with
            ``--out``. None writes nothing. Defaults to None.
    """

    def __init__(self, out_dir: Optional[str] = None) -> None:
        self.out_dir = None if out_dir is None else Path(out_dir)

    def before_test_epoch(self, runner) -> None:
        """Take away the manifest: the folder is incomplete from now on.

        Args:
            runner (Runner): The runner.
        """
        if self.out_dir is not None:
            begin_folder(self.out_dir)

    def after_test_iter(self,
                        runner,
                        batch_idx: int,
                        data_batch: Optional[dict] = None,
                        outputs: Optional[Sequence] = None) -> None:
        """Write a batch.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Unused.
            data_batch (dict, optional): Unused.
            outputs (Sequence[SegDataSample]): With ``pred_instances``:
                ``masks`` (n, H, W), ``labels`` (n,) and ``scores`` (n,).

        Raises:
            KeyError: If the model predicts no instances.
        """
        if self.out_dir is None:
            return
        for sample in outputs:
            img_id = sample_id(sample)
            if 'pred_instances' not in sample:
                raise KeyError(
                    f'Image {img_id}: {type(runner.model).__name__} predicts '
                    'no instances (pred_instances). mmwsss.IRNet does with '
                    'model.instances=dict(); otherwise leave '
                    'SaveInstancesHook out or set its out_dir=None.')
            found = sample.pred_instances
            write_instances(self.out_dir, img_id,
                            found.masks.cpu().numpy(),
                            found.labels.cpu().numpy(),
                            found.scores.cpu().numpy(),
                            tuple(found.masks.shape[1:]))

    def after_test_epoch(self,
                         runner,
                         metrics: Optional[Dict[str, float]] = None) -> None:
        """Write the manifest.

        Args:
            runner (Runner): The runner.
            metrics (dict, optional): Unused.
        """
        # The evaluator has met all processes before, so all have written.
        if self.out_dir is None or not is_main_process():
            return
        write_instance_manifest(self.out_dir, **facts_of_test(runner))
        print_log(
            f'Instances of {len(runner.test_dataloader.dataset)} images are '
            f'in {self.out_dir}.',
            logger='current')
