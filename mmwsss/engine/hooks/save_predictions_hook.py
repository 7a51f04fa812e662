"""What hooks share that write the predictions of a test as files."""
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log

from mmwsss.utils.run_folder import start_over
from mmwsss.version import __version__


def file_digest(path: str) -> str | None:
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


class SavePredictionsHook(Hook, ABC):
    """Write what a model predicts for every tested image to a folder.

    A file per image appears as it is predicted, whole or not at all.
    ``{out_dir}/manifest.json`` (config, checkpoint and its digest, split,
    number of images) appears when all are written, so a folder without it is
    known to be incomplete.

    A subclass names what it writes and writes one image.

    Args:
        out_dir (str, optional): The folder; ``tools/test.py`` sets it with
            ``--out``. None writes nothing. Defaults to None.
    """
    #: Field of the samples that is written.
    field: str
    #: What a person calls it.
    title: str
    #: What to do where a model does not predict it.
    advice: str

    def __init__(self, out_dir: str | None = None) -> None:
        self.out_dir = None if out_dir is None else Path(out_dir)

    @abstractmethod
    def write(self, img_id: str, sample: Any) -> None:
        """Write one image's file.

        Args:
            img_id (str): Its id.
            sample (SegDataSample): Has :attr:`field`.
        """

    @abstractmethod
    def write_manifest(self, runner, **facts: Any) -> None:
        """Write the manifest.

        Args:
            runner (Runner): The runner.
            **facts: How the predictions came about.
        """

    def before_test_epoch(self, runner) -> None:
        """Take away the manifest: the folder is incomplete from now on.

        What a killed test was just writing goes too.

        Args:
            runner (Runner): The runner.

        Raises:
            NotADirectoryError: If a file is in the folder's place.
        """
        if self.out_dir is None:
            return
        if is_main_process():
            start_over(self.out_dir)
        barrier()  # Nobody else may be writing yet.

    def after_test_iter(self,
                        runner,
                        batch_idx: int,
                        data_batch: dict | None = None,
                        outputs: Sequence | None = None) -> None:
        """Write a batch.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Unused.
            data_batch (dict, optional): Unused.
            outputs (Sequence[SegDataSample]): With :attr:`field`.

        Raises:
            KeyError: If the model does not predict it.
        """
        if self.out_dir is None:
            return
        for sample in outputs:
            img_id = sample_id(sample)
            if self.field not in sample:
                raise KeyError(
                    f'Image {img_id}: {type(runner.model).__name__} predicts '
                    f'no {self.title} ({self.field}). {self.advice}')
            self.write(img_id, sample)

    def after_test_epoch(self,
                         runner,
                         metrics: dict[str, float] | None = None) -> None:
        """Write the manifest.

        Args:
            runner (Runner): The runner.
            metrics (dict, optional): Unused.
        """
        if self.out_dir is not None:
            self.finish(runner, runner.test_dataloader.dataset)

    def finish(self, runner, dataset: Any) -> None:
        """Write the manifest and say where everything is.

        Args:
            runner (Runner): The runner.
            dataset (Dataset): Of the images written.
        """
        # The evaluator has met all processes before, so all have written.
        if not is_main_process():
            return
        checkpoint = runner._load_from
        classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
        self.write_manifest(
            runner,
            mmwsss_version=__version__,
            config=runner.cfg.filename,
            checkpoint=checkpoint,
            checkpoint_sha256=file_digest(checkpoint) if checkpoint else None,
            split=getattr(dataset, 'ann_file', None),
            data_root=getattr(dataset, 'data_root', None),
            num_images=len(dataset),
            classes=list(classes) if classes else None)
        print_log(
            f'{self.title[0].upper()}{self.title[1:]} of {len(dataset)} '
            f'images are in {self.out_dir}.',
            logger='current')
