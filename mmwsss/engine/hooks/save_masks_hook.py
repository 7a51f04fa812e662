"""Predicted masks of a test as files."""
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log

from mmwsss.registry import HOOKS
from mmwsss.structures.mask_file import write_mask, write_mask_manifest
from mmwsss.version import __version__

from .save_cams_hook import begin_folder, file_digest, sample_id


def facts_of_test(runner) -> Dict[str, Any]:
    """How the predictions of a test came about, for a manifest.

    Args:
        runner (Runner): The runner.

    Returns:
        dict: Config, checkpoint and its digest, split, images, classes.
    """
    dataset = runner.test_dataloader.dataset
    checkpoint = runner._load_from
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    return dict(
        mmwsss_version=__version__,
        config=runner.cfg.filename,
        checkpoint=checkpoint,
        checkpoint_sha256=file_digest(checkpoint) if checkpoint else None,
        split=getattr(dataset, 'ann_file', None),
        data_root=getattr(dataset, 'data_root', None),
        num_images=len(dataset),
        classes=list(classes) if classes else None)


@HOOKS.register_module()
class SaveMasksHook(Hook):
    """Write the mask of every tested image to a folder.

    ``{out_dir}/{img_id}.png``, palette PNGs in the dataset's colours (0
    background, c + 1 class c), appear as they are predicted, each whole or
    not at all. ``{out_dir}/manifest.json`` appears when all are written.

    Args:
        out_dir (str, optional): The folder; ``tools/test.py`` sets it with
            ``--out``. None writes nothing. Defaults to None.
    """

    def __init__(self, out_dir: Optional[str] = None) -> None:
        self.out_dir = None if out_dir is None else Path(out_dir)
        self.palette = None

    def before_test_epoch(self, runner) -> None:
        """Take away the manifest: the folder is incomplete from now on.

        Args:
            runner (Runner): The runner.
        """
        if self.out_dir is None:
            return
        meta = getattr(runner.test_dataloader.dataset, 'metainfo', None) or {}
        self.palette = meta.get('palette')
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
            outputs (Sequence[SegDataSample]): With ``pred_sem_seg``
                (1, H, W).

        Raises:
            KeyError: If the model predicts no masks.
        """
        if self.out_dir is None:
            return
        for sample in outputs:
            img_id = sample_id(sample)
            if 'pred_sem_seg' not in sample:
                raise KeyError(
                    f'Image {img_id}: {type(runner.model).__name__} predicts '
                    'no mask (pred_sem_seg). Leave SaveMasksHook out or set '
                    'its out_dir=None.')
            mask = sample.pred_sem_seg.data[0].cpu().numpy()
            write_mask(self.out_dir, img_id, mask, self.palette)

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
        write_mask_manifest(self.out_dir, **facts_of_test(runner))
        dataset = runner.test_dataloader.dataset
        print_log(
            f'Masks of {len(dataset)} images are in {self.out_dir}.',
            logger='current')
