"""Predicted masks of a test as files."""
from typing import Any

from mmwsss.pseudo_labels.mask_file import write_mask, write_mask_manifest
from mmwsss.registry import HOOKS

from .save_predictions_hook import SavePredictionsHook


@HOOKS.register_module()
class SaveMasksHook(SavePredictionsHook):
    """Write the mask of every tested image to a folder.

    ``{out_dir}/{img_id}.png``, palette PNGs in the dataset's colours (0
    background, c + 1 class c), appear as they are predicted, each whole or
    not at all. ``{out_dir}/manifest.json`` appears when all are written.

    Args:
        out_dir (str, optional): The folder; ``tools/test.py`` sets it with
            ``--out``. None writes nothing. Defaults to None.
    """
    field = 'pred_sem_seg'
    title = 'masks'
    advice = 'Leave SaveMasksHook out or set its out_dir=None.'
    palette = None

    def before_test_epoch(self, runner) -> None:
        """Take away the manifest: the folder is incomplete from now on.

        Args:
            runner (Runner): The runner.
        """
        if self.out_dir is not None:
            dataset = runner.test_dataloader.dataset
            meta = getattr(dataset, 'metainfo', None) or {}
            self.palette = meta.get('palette')
        super().before_test_epoch(runner)

    def write(self, img_id: str, sample: Any) -> None:
        """Write one image's mask.

        Args:
            img_id (str): Its id.
            sample (SegDataSample): With ``pred_sem_seg`` (1, H, W).
        """
        mask = sample.pred_sem_seg.data[0].cpu().numpy()
        write_mask(self.out_dir, img_id, mask, self.palette)

    def write_manifest(self, runner, **facts: Any) -> None:
        """Write the manifest.

        Args:
            runner (Runner): Unused.
            **facts: How the masks came about.
        """
        write_mask_manifest(self.out_dir, **facts)
