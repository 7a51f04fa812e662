"""Checkpoints that survive being killed, and runs that resume exactly."""
import os
import random
from collections import deque
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook

from mmwsss.registry import HOOKS
from mmwsss.utils.checkpoint import from_plain, to_plain
from mmwsss.utils.io import atomic_write

BACKEND = 'mmwsss_atomic'


@register_backend(BACKEND)
class AtomicLocalBackend(LocalBackend):
    """mmengine's local files, written so that each is whole or absent."""

    def put(self, obj: bytes, filepath) -> None:
        """Write bytes to a file.

        Args:
            obj (bytes): The content.
            filepath (str | Path): The file.
        """
        with atomic_write(filepath) as temp, temp.open('wb') as file:
            file.write(obj)
            # The rename must not reach the disk before the content does.
            file.flush()
            os.fsync(file.fileno())

    def put_text(self, obj: str, filepath, encoding: str = 'utf-8') -> None:
        """Write text to a file.

        Args:
            obj (str): The content.
            filepath (str | Path): The file.
            encoding (str): Its encoding. Defaults to 'utf-8'.
        """
        self.put(obj.encode(encoding), filepath)


def seed_step(seed: int, step: int, kind: int = 0) -> None:
    """Seed Python, numpy and torch for one step of a run.

    Args:
        seed (int): Seed of the run.
        step (int): Number of the iteration or epoch.
        kind (int): 0 for an iteration, 1 for an epoch. Defaults to 0.
    """
    sequence = np.random.SeedSequence((int(seed), int(step), kind))
    value = int(sequence.generate_state(1)[0])
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook`` for machines that go away.

    What differs from mmengine's:

    - A checkpoint and the note ``last_checkpoint`` are written under a
      temporary name and renamed, so a run killed at any moment leaves no half
      file that ``--resume`` could pick up.
    - Outdated checkpoints are removed after the new one is in place, not
      before, so there is a checkpoint at every moment, also with
      ``max_keep_ckpts=1``.
    - Checkpoints hold tensors, numbers, strings and containers only and load
      with ``torch.load(weights_only=True)``.
    - With ``reseed`` the random generators are seeded at the start of every
      epoch and of every iteration with a hash of the run's seed and the
      number of the step. Random numbers inside the model then depend on
      nothing before this step: a resumed run equals the unbroken one bit for
      bit on a CPU, whatever was validated in between and however many
      workers load the data. (Storing the generators' states would not do:
      the loop fetches the first batch after a resume before any hook could
      set them.) For data, ``mmwsss.SeededSampler`` does the same.
    - Resuming from the last checkpoint of a run that was killed before its
      final validation runs that validation.

    Args:
        reseed (bool): See above. Defaults to True.
        kwargs: Of mmengine's ``CheckpointHook``.
    """

    # Which of our metrics are best when high or low, for save_best.
    _default_greater_keys = [
        *CheckpointHook._default_greater_keys, 'AP', 'coverage'
    ]
    _default_less_keys = [*CheckpointHook._default_less_keys, 'mFP', 'mFN']

    def __init__(self, *args, reseed: bool = True, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.reseed = reseed

    def before_train(self, runner) -> None:
        """Get ready to write; validate if that is all that is left.

        Args:
            runner (Runner): The runner.
        """
        out_dir = str(self.out_dir or runner.work_dir)
        if (self.backend_args is None and self.file_client_args is None
                and '://' not in out_dir):
            self.backend_args = dict(backend=BACKEND)
        super().before_train(runner)
        if self.backend_args == dict(backend=BACKEND) and is_main_process():
            # What a killed run left. Only names that atomic_write gives.
            for folder, name in ((self.out_dir, '.*.tmp-*.pth'),
                                 (runner.work_dir, '.last_checkpoint.tmp-*')):
                for temp in Path(folder).glob(name):
                    temp.unlink(missing_ok=True)
        if (0 < runner.max_iters <= runner.iter
                and runner.val_loop is not None):
            runner.logger.info('The resumed training was complete; only its '
                               'final validation is run.')
            runner.val_loop.run()

    def before_train_epoch(self, runner) -> None:
        """Seed the epoch, of which the data loader's order may depend.

        Args:
            runner (Runner): The runner.
        """
        if self.reseed and runner.seed is not None:
            seed_step(runner.seed, runner.epoch, kind=1)

    def before_train_iter(self,
                          runner,
                          batch_idx: int,
                          data_batch: dict | None = None) -> None:
        """Seed the iteration.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Unused.
            data_batch (dict, optional): Unused.
        """
        if self.reseed and runner.seed is not None:
            seed_step(runner.seed, runner.iter)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Leave nothing in the checkpoint that needs an unsafe load.

        Args:
            runner (Runner): The runner.
            checkpoint (dict): About to be saved; changed in place.
        """
        for key in list(checkpoint):
            # A state dict holds tensors only, and metadata as an attribute.
            if key != 'state_dict':
                checkpoint[key] = to_plain(checkpoint[key], key)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Undo ``before_save_checkpoint``.

        Args:
            runner (Runner): The runner.
            checkpoint (dict): Just loaded; changed in place.
        """
        for key in list(checkpoint):
            if key in ('message_hub', 'meta', 'param_schedulers'):
                checkpoint[key] = from_plain(checkpoint[key])

    def _save_checkpoint_with_step(self, runner, step: int,
                                   meta: dict) -> None:
        """Save, note it as the last one, then remove what is outdated.

        Args:
            runner (Runner): The runner.
            step (int): Number of the epoch or iteration, for the name.
            meta (dict): Stored in the checkpoint.
        """
        outdated = []
        if self.max_keep_ckpts > 0:
            kept = [s for s in self.keep_ckpt_ids if s != step] + [step]
            outdated = kept[:-self.max_keep_ckpts]
            self.keep_ckpt_ids = deque(kept[-self.max_keep_ckpts:],
                                       self.max_keep_ckpts)
            # Those about to be removed stay listed: if the run dies before
            # it comes to that, the resumed one removes them.
            runner.message_hub.update_info('keep_ckpt_ids', kept)

        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args)
        if not is_main_process():
            return

        with atomic_write(Path(runner.work_dir) / 'last_checkpoint') as temp:
            temp.write_text(str(self.last_ckpt))
        for old in outdated:
            path = self.file_backend.join_path(self.out_dir,
                                               self.filename_tmpl.format(old))
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)
