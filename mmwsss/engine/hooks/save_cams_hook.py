"""Class maps of a test as files."""
import hashlib
import logging
import os
from pathlib import Path
from typing import Any, Dict, Optional, Sequence

from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper

from mmwsss.registry import HOOKS
from mmwsss.structures.cam_file import MANIFEST, write_cam, write_manifest
from mmwsss.utils.io import make_folder, remove_temporary
from mmwsss.version import __version__


def file_digest(path: str) -> Optional[str]:
    """SHA-256 of a file.

    Args:
        path (str): Path or URL.

    Returns:
        str | None: Hexadecimal; None if there is no such local file.
    """
    if not os.path.isfile(path):
        return None
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            digest.update(block)
    return digest.hexdigest()


def begin_folder(folder: Path) -> None:
    """Get a folder ready for the files of a test, in all processes.

    It is incomplete from now on, and what a killed test was just writing
    goes.

    Args:
        folder (Path): The folder; it need not exist.

    Raises:
        NotADirectoryError: If a file is in its place.
    """
    if is_main_process():
        make_folder(folder)
        (folder / MANIFEST).unlink(missing_ok=True)
        remove_temporary(folder)
    barrier()  # Nobody else may be writing yet.


def sample_id(sample: Any) -> str:
    """Name of a sample's image.

    Args:
        sample (SegDataSample): With ``img_id`` or ``img_path``.

    Returns:
        str: ``img_id``, or the file name of ``img_path`` without suffix.

    Raises:
        KeyError: If it has neither.
    """
    if sample.get('img_id') is not None:
        return str(sample.get('img_id'))
    if sample.get('img_path'):
        return Path(sample.get('img_path')).stem
    raise KeyError("A sample has neither 'img_id' nor 'img_path'; put them "
                   'into the meta_keys of the packing transform.')


@HOOKS.register_module()
class SaveCAMsHook(Hook):
    """Write the class maps of every tested image to a folder.

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

    def __init__(self,
                 out_dir: Optional[str] = None,
                 enabled: bool = True,
                 on_val: bool = False) -> None:
        self.out_dir = None if out_dir is None else Path(out_dir)
        self.enabled = enabled and out_dir is not None
        self.on_val = on_val

    def before_test_epoch(self, runner) -> None:
        """Take away the manifest: the folder is incomplete from now on.

        Args:
            runner (Runner): The runner.
        """
        if self.enabled:
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
            outputs (Sequence[SegDataSample]): With ``cams`` (K', h, w) and
                ``class_ids`` (K',).

        Raises:
            KeyError: If the model predicts no class maps.
            ValueError: If they are no numbers in [0, 1].
        """
        if not self.enabled:
            return
        for sample in outputs:
            img_id = sample_id(sample)
            if 'cams' not in sample:
                raise KeyError(
                    f'Image {img_id}: {type(runner.model).__name__} predicts '
                    'no class maps (cams); SaveCAMsHook needs a model like '
                    'mmwsss.CAMSegmentor. Set its out_dir=None otherwise.')
            size = sample.get('ori_shape', sample.cams.shape[-2:])[:2]
            write_cam(self.out_dir, img_id,
                      sample.class_ids.cpu().numpy(),
                      sample.cams.detach().float().cpu().numpy(), size)

    def after_test_epoch(self,
                         runner,
                         metrics: Optional[Dict[str, float]] = None) -> None:
        """Write the manifest.

        Args:
            runner (Runner): The runner.
            metrics (dict, optional): Unused.
        """
        if self.enabled:
            self._finish(runner, runner.test_dataloader.dataset)

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
                       data_batch: Optional[dict] = None,
                       outputs: Optional[Sequence] = None) -> None:
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
                        metrics: Optional[Dict[str, float]] = None) -> None:
        """Like after a test, with ``on_val``.

        Args:
            runner (Runner): The runner.
            metrics (dict, optional): Unused.
        """
        if self.on_val and self.enabled:
            self._finish(runner, runner.val_dataloader.dataset)

    def _finish(self, runner, dataset) -> None:
        # The evaluator has met all processes before, so all have written.
        if not is_main_process():
            return
        model = runner.model
        if is_model_wrapper(model):
            model = model.module
        checkpoint = runner._load_from
        classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
        write_manifest(
            self.out_dir,
            mmwsss_version=__version__,
            config=runner.cfg.filename,
            checkpoint=checkpoint,
            checkpoint_sha256=file_digest(checkpoint) if checkpoint else None,
            split=getattr(dataset, 'ann_file', None),
            data_root=getattr(dataset, 'data_root', None),
            num_images=len(dataset),
            classes=list(classes) if classes else None,
            test_cfg=dict(getattr(model, 'test_cfg', None) or {}))
        present = sum(1 for _ in self.out_dir.rglob('*.npz'))
        print_log(
            f'Class maps of {len(dataset)} images are in {self.out_dir}.',
            logger='current')
        if present > len(dataset):
            print_log(
                f'{self.out_dir} holds {present - len(dataset)} more .npz '
                'file(s), of an earlier run with other images.',
                logger='current',
                level=logging.WARNING)
