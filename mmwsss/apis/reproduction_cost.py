"""What the trainings of a pipeline cost: steps, time, memory, disk."""
import contextlib
import math
import shlex
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.hooks import Hook

from mmwsss.datasets.voc import SPLIT_SIZES
from mmwsss.utils.dataset_configs import inner_datasets
from mmwsss.utils.io import find_file, read_lines
from mmwsss.utils.model_index import read_models

from .estimate_cost import IMAGES, RESERVED
from .pipeline import Stage
from .run import build_runner, check_pretrained, load_config
from .run_checks import settle_loaders

TRAIN = 'tools/train.py'
#: Steps that are not timed: kernels are chosen, files come into memory.
WARM_UP = 3
#: Of a usual photograph of a data set: pixels, and classes that it shows. The
#: CAMs of an image are float16 at its size.
PHOTOGRAPHS = {'voc': (500 * 375, 1.6), 'coco': (640 * 480, 2.9),
               'voc-mini': (320 * 240, 1.6), 'shapes': (96 * 96, 1.6)}


@dataclass
class TrainingCost:
    """One training of a pipeline.

    Attributes:
        stage (str): Its stage.
        config (str): Its config.
        batch_size (int): Images of a step of one process.
        steps (int): How many.
        memory (float, optional): GiB that a step takes, computed; None if
            nobody counted.
        seconds (float, optional): Of one step; None if nobody measured.
    """
    stage: str
    config: str
    batch_size: int
    steps: int
    memory: float | None = None
    seconds: float | None = None


def training_config(command: str) -> tuple[str, dict[str, Any]] | None:
    """What a stage trains.

    Args:
        command (str): Of a stage.

    Returns:
        tuple[str, dict] | None: The config and its options; None if the
        command is no training.
    """
    words = shlex.split(command)
    if words[:1] != [TRAIN]:
        return None
    options = words[words.index('--cfg-options') + 1:] \
        if '--cfg-options' in words else []
    pairs = [word.split('=', 1) for word in options if '=' in word]
    return words[1], {
        key: DictAction._parse_iterable(value) for key, value in pairs
    }


def training_costs(stages: Sequence[Stage],
                   dataset: str) -> list[TrainingCost]:
    """Steps and memory of all trainings of a pipeline.

    Args:
        stages (Sequence[Stage]): With their placeholders filled in.
        dataset (str): Its number of images counts where the list of a config
            is not there.

    Returns:
        list[TrainingCost]: In the order of the stages; without seconds.
    """
    memory = {
        find_file(model['Config']).resolve():
        model['Metadata'].get('Step Memory (GiB)')
        for model in read_models() if 'Metadata' in model
    }
    costs = []
    for stage in stages:
        for command in stage.commands:
            found = training_config(command)
            if found is None:
                continue
            name, options = found
            cfg = Config.fromfile(find_file(name))
            cfg.merge_from_dict(options)
            images = _number_of_images(cfg, dataset)
            costs.append(
                TrainingCost(stage.name, name, cfg.train_dataloader.batch_size,
                             _number_of_steps(cfg, images),
                             memory.get(find_file(name).resolve())))
    return costs


def _number_of_steps(cfg: Config, images: int) -> int:
    if 'max_iters' in cfg.train_cfg:
        return cfg.train_cfg.max_iters
    share = images / cfg.train_dataloader.batch_size
    # An epoch of one smaller batch is not dropped (settle_loaders).
    steps = int(share) or 1 if cfg.train_dataloader.get(
        'drop_last') else math.ceil(share)
    return cfg.train_cfg.max_epochs * steps


def _number_of_images(cfg: Config, dataset: str) -> int:
    number = 0
    for inner in inner_datasets(cfg.train_dataloader.dataset):
        path = Path(inner.get('data_root') or '', inner.get('ann_file') or '')
        if path.is_file():
            number += len(read_lines(path))
        else:
            number += inner.get('num_train') or SPLIT_SIZES.get(
                path.stem) or IMAGES.get(dataset, IMAGES['voc'])['train']
    return number


def gpus_needed(cost: TrainingCost, gigabytes: float) -> int | None:
    """The fewest GPUs that hold a step which they share equally.

    Args:
        cost (TrainingCost): With its memory.
        gigabytes (float): GiB of a GPU.

    Returns:
        int | None: An estimate: memory shrinks less than the images do. None
        if even single images do not fit.
    """
    if cost.memory is None:
        return 1
    room = gigabytes - RESERVED
    return next((n for n in range(1, cost.batch_size + 1)
                 if cost.batch_size % n == 0 and cost.memory / n <= room),
                None)


def disk_gib(stages: Sequence[Stage], images: int, dataset: str) -> float:
    """About how much the files of a pipeline take.

    Args:
        stages (Sequence[Stage]): Those that keep a file of values per image
            and class are counted: CAMs and CRF probabilities of two
            exponents, before they are compressed.
        images (int): Training images.
        dataset (str): Whose images they are; those of VOC count for data sets
            that are not known.

    Returns:
        float: GiB, without checkpoints and caches of frozen features.
    """
    kinds = sum(
        dict(maps=1, scores=2).get(output, 0) for stage in stages
        for output in stage.outputs)
    pixels, classes = PHOTOGRAPHS.get(dataset, PHOTOGRAPHS['voc'])
    return kinds * images * pixels * classes * 2 / 2**30


def free_gib(folder: Path) -> float:
    """Free space of the disk of a folder that may not be there yet.

    Args:
        folder (Path): The folder.

    Returns:
        float: GiB.
    """
    there = next(p for p in (folder.resolve(), *folder.resolve().parents)
                 if p.exists())
    return shutil.disk_usage(there).free / 2**30


# -------------------------------------------------------------- measurement
class _EnoughError(Exception):
    """Ends a training that was timed."""


class _Stopwatch(Hook):
    """Notes when steps end, and ends the training after some of them."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.ends: list[float] = []

    def after_train_iter(self, *_: Any, **__: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())
        if len(self.ends) > WARM_UP + self.steps:
            raise _EnoughError


def time_steps(config: str, options: dict[str, Any],
               steps: int) -> tuple[float, float | None]:
    """Time the first steps of a training, which is then thrown away.

    A process of its own does it, which gives its GPU memory back. Data are
    read as in the real training.

    Args:
        config (str): The config.
        options (dict[str, Any]): Dotted key -> value.
        steps (int): How many are timed.

    Returns:
        tuple[float, float | None]: Seconds of a step (median), and the peak
        of the GPU memory in GiB where there is a GPU.

    Raises:
        ValueError: If the training is shorter.
    """
    with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as pool:
        return pool.submit(_time_steps, config, options, steps).result()


def _time_steps(config: str, options: dict[str, Any],
                steps: int) -> tuple[float, float | None]:
    with tempfile.TemporaryDirectory() as folder:
        cfg = load_config(config, options, folder)
        # mmengine finds visualizers again by a name that counts seconds.
        cfg.experiment_name = Path(folder).name
        check_pretrained(cfg)
        settle_loaders(cfg)
        watch = _Stopwatch(steps)
        runner = build_runner(cfg)
        runner.register_hook(watch)
        with contextlib.suppress(_EnoughError):
            runner.train()
    if len(watch.ends) < WARM_UP + 2:
        raise ValueError(f'{config} ended after {len(watch.ends)} steps, too '
                         'few to be timed.')
    times = [b - a for a, b in zip(watch.ends[WARM_UP:],
                                   watch.ends[WARM_UP + 1:])]
    peak = torch.cuda.max_memory_allocated() / 2**30 \
        if torch.cuda.is_available() else None
    return statistics.median(times), peak
