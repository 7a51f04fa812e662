"""Predicted instances of a test as files."""
from typing import Any

from mmwsss.pseudo_labels.instance_file import (
    write_instance_manifest,
    write_instances,
)
from mmwsss.registry import HOOKS

from .save_predictions_hook import SavePredictionsHook


@HOOKS.register_module()
class SaveInstancesHook(SavePredictionsHook):
    """Write the instances of every tested image to a folder.

    ``{out_dir}/{img_id}.json`` (see
    :mod:`mmwsss.pseudo_labels.instance_file`) appear as they are predicted,
    each whole or not at all. ``{out_dir}/manifest.json`` appears when all are
    written.

    Args:
        out_dir (str, optional): The folder; ``tools/test.py`` sets it with
            ``--out``. None writes nothing. Defaults to None.
    """
    field = 'pred_instances'
    title = 'instances'
    advice = ('mmwsss.IRNet does with model.instances=dict(); otherwise '
              'leave SaveInstancesHook out or set its out_dir=None.')

    def write(self, img_id: str, sample: Any) -> None:
        """Write one image's instances.

        Args:
            img_id (str): Its id.
            sample (SegDataSample): With ``pred_instances``: ``masks``
                (n, H, W), ``labels`` (n,) and ``scores`` (n,).
        """
        found = sample.pred_instances
        write_instances(self.out_dir, img_id,
                        found.masks.cpu().numpy(),
                        found.labels.cpu().numpy(),
                        found.scores.cpu().numpy(),
                        tuple(found.masks.shape[1:]))

    def write_manifest(self, runner, **facts: Any) -> None:
        """Write the manifest.

        Args:
            runner (Runner): Unused.
            **facts: How the instances came about.
        """
        write_instance_manifest(self.out_dir, **facts)
