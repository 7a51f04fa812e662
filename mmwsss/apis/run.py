"""Start a training or a test from a config: the work of tools/*.py."""
import difflib
import inspect
import json
import logging
import multiprocessing
import os
import os.path as osp
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import RUNNERS, init_default_scope
from mmengine.runner import Runner
from torch import nn

from mmwsss.registry import MODELS
from mmwsss.utils.checkpoint import (
    compare_state,
    load_checkpoint_file,
    use_safe_loading,
)
from mmwsss.utils.io import atomic_write
from mmwsss.utils.model_index import find_config
from mmwsss.utils.weight_sources import command_for

from .config_edits import (
    drop_missing_masks,
    drop_sync_bn,
    enable_amp,
    enable_pictures,
    enable_tta,
    name_splits,
    set_output,
    use_train_images,
)
from .evaluation_data import check_joined_names, check_true_masks
from .run_checks import (
    check_classes,
    classes_of,
    report_changes,
    settle_loaders,
)

PathLike = str | Path
ConfigLike = str | Path | Config
# Keys that mmengine reads from a config beside its runner's arguments.
RUN_KEYS = ('compile', 'efficient_conv_bn_eval', 'find_unused_parameters',
            'model_wrapper_cfg', 'runner_type', 'sync_bn')


def load_config(config: ConfigLike,
                cfg_options: Mapping[str, Any] | None = None,
                work_dir: PathLike | None = None,
                launcher: str = 'none',
                local_rank: int = 0) -> Config:
    """Read a config and apply options to it.

    Args:
        config (str | Path | Config): A file, the name of one of our configs,
            or a config in memory, which is copied.
        cfg_options (Mapping[str, Any], optional): Dotted key -> value.
        work_dir (str | Path, optional): Folder for results. Defaults to the
            config's, else ``work_dirs/<config name>``.
        launcher (str): How several processes were started, see mmengine.
            Defaults to 'none'.
        local_rank (int): Which of the processes of this machine this is.
            Defaults to 0.

    Returns:
        Config: With ``work_dir`` and ``launcher`` set.

    Raises:
        FileNotFoundError: If there is no such config, with similar ones.
        ValueError: If an option names a key that the config lacks.
    """
    if isinstance(config, Config):
        cfg = config.copy()
    else:
        path = find_config(config)
        if not path.is_file():
            raise FileNotFoundError(f'There is no config {path}.' +
                                    similar_configs(path))
        cfg = Config.fromfile(path)
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    cfg.launcher = launcher
    if cfg_options:
        check_options(cfg, cfg_options)
        cfg.merge_from_dict(dict(cfg_options))
    if work_dir is not None:
        cfg.work_dir = str(work_dir)
    elif cfg.get('work_dir') is None:
        name = Path(cfg.filename).stem if cfg.filename else 'config'
        cfg.work_dir = osp.join('./work_dirs', name)
    return cfg


def similar_configs(path: Path) -> str:
    """Advice on a config that is not there.

    Args:
        path (Path): What was asked for.

    Returns:
        str: A sentence that begins with a blank.
    """
    for root in path.parents:
        if root.name == 'configs' and root.is_dir():
            break
    else:
        root = Path('configs')
    found = {p.name: str(p) for p in root.glob('*/*.py')}
    close = difflib.get_close_matches(path.name, found, 3)
    if not close:
        return ' Run from the root of the repository or give a whole path.'
    return ' Did you mean ' + ' or '.join(found[c] for c in close) + '?'


def check_options(cfg: Config, options: Mapping[str, Any]) -> None:
    """Refuse ``--cfg-options`` that would silently change nothing.

    The first key of an option must stand in the config. Deeper keys may be
    new (an argument left at its default), but lists are only entered by
    numbers they have.

    Args:
        cfg (Config): The config.
        options (Mapping[str, Any]): Dotted key to value.

    Raises:
        ValueError: Naming the option, and the key that was perhaps meant.
    """
    # What the runner reads may be absent from a config.
    optional = {*inspect.signature(Runner).parameters, *RUN_KEYS}
    for option in options:
        node: Any = cfg._cfg_dict
        parts = option.split('.')
        for depth, part in enumerate(parts):
            if isinstance(node, (list, tuple)):
                if not part.isdigit() or int(part) >= len(node):
                    raise ValueError(
                        f'--cfg-options {option}: {".".join(parts[:depth])} '
                        f'is a list of {len(node)}, so {part!r} must be a '
                        f'number below {len(node)}.')
                node = node[int(part)]
            elif isinstance(node, dict):
                if part not in node:
                    if depth or part in optional:
                        break
                    close = difflib.get_close_matches(part, list(node), 1)
                    hint = f' Did you mean {close[0]!r}?' if close else ''
                    raise ValueError(f'--cfg-options {option}: the config '
                                     f'has no key {part!r}.{hint}')
                node = node[part]
            else:
                break


def find_resumable(work_dir: str) -> str | None:
    """The checkpoint that ``--resume`` continues from.

    Args:
        work_dir (str): Folder of the run.

    Returns:
        str | None: Path of the last checkpoint; None if the run has none
        yet. A work folder that was moved since is understood.

    Raises:
        FileNotFoundError: If the note ``last_checkpoint`` names a file that
            is gone.
    """
    note = Path(work_dir) / 'last_checkpoint'
    if not note.is_file():
        return None
    named = note.read_text().strip()
    for path in (Path(named), note.parent / Path(named).name):
        if named and path.is_file():
            return str(path)
    left = sorted(note.parent.glob('*.pth'), key=lambda p: p.stat().st_mtime)
    hint = (f'continue from {left[-1]} with --cfg-options '
            f'load_from={left[-1]} --resume' if left else
            f'remove {note} to start anew')
    raise FileNotFoundError(
        f'{note} names the checkpoint {named!r}, which is gone; {hint}.')


def last_of_run(path: str) -> str:
    """The checkpoint that a person means by a path.

    Args:
        path (str): A checkpoint, or a work folder (or the note
            ``last_checkpoint`` in it) whose last checkpoint is meant.

    Returns:
        str: Path of the checkpoint.

    Raises:
        FileNotFoundError: If a folder has none.
    """
    folder = Path(path)
    if folder.name == 'last_checkpoint':
        folder = folder.parent
    if not folder.is_dir():
        return path
    last = find_resumable(str(folder))
    if last is None:
        raise FileNotFoundError(f'{folder} holds no checkpoint: no training '
                                'has saved one there.')
    return last


def train(config: ConfigLike,
          *,
          work_dir: PathLike | None = None,
          resume: bool = False,
          amp: bool = False,
          cfg_options: Mapping[str, Any] | None = None,
          launcher: str = 'none',
          local_rank: int = 0,
          trust_checkpoint: bool = False) -> nn.Module:
    """Train a model.

    Args:
        config (str | Path | Config): The config.
        work_dir (str | Path, optional): See :func:`load_config`.
        resume (bool): Whether to continue from the last checkpoint in the
            work folder, if there is one. Defaults to False.
        amp (bool): Whether to use automatic mixed precision.
            Defaults to False.
        cfg_options (Mapping[str, Any], optional): See :func:`load_config`.
        launcher (str): See :func:`load_config`. Defaults to 'none'.
        local_rank (int): See :func:`load_config`. Defaults to 0.
        trust_checkpoint (bool): Whether checkpoints may run code when they
            are read. Defaults to False.

    Returns:
        nn.Module: The trained model.

    Raises:
        FileNotFoundError: If a config or checkpoint is missing.
        ValueError: If a setting or checkpoint does not fit.
    """
    use_safe_loading(trust_checkpoint)
    cfg = load_config(config, cfg_options, work_dir, launcher, local_rank)
    if amp:
        enable_amp(cfg)
    set_start(cfg, resume, 'load_from' in (cfg_options or {}))
    checkpoint = _local_checkpoint(cfg.get('load_from'), trust_checkpoint)
    check_pretrained(cfg)
    drop_missing_masks(cfg, 'val')
    check_joined_names(cfg, 'val')
    check_true_masks(cfg, 'val')
    settle_loaders(cfg)
    name_splits(cfg)

    runner = build_runner(cfg)
    if checkpoint is not None:
        purpose = 'resume' if cfg.resume else 'start from'
        check_fit(
            runner.model,
            checkpoint,
            cfg.load_from,
            cfg.filename,
            purpose=purpose)
        check_classes(runner.model, checkpoint, cfg.load_from,
                      classes_of(runner.train_dataloader.dataset), purpose)
        if cfg.resume:
            report_changes(cfg, checkpoint, cfg.load_from)
    model = runner.train()
    end_processes()
    return model


def set_start(cfg: Config, resume: bool, given: bool = False) -> None:
    """Decide where a training starts: ``load_from`` and ``resume``.

    Without ``--resume`` the config's ``load_from`` gives the weights, if set.
    With it, in this order: ``--cfg-options load_from=...`` is continued; the
    last checkpoint of the work folder is continued; the training starts from
    the beginning (with the weights of the config's ``load_from``, if set).

    Args:
        cfg (Config): Changed in place.
        resume (bool): Whether ``--resume`` was given.
        given (bool): Whether ``--cfg-options`` gave ``load_from``.
            Defaults to False.
    """
    cfg.resume = resume
    if not resume or (given and cfg.get('load_from')):
        return
    last = find_resumable(cfg.work_dir)
    if last is not None:
        cfg.load_from = last
        return
    # What a job that is restarted until it is done wants.
    cfg.resume = False
    print_log(
        f'--resume: {cfg.work_dir} holds no checkpoint yet, starting from '
        'the beginning.',
        logger='current',
        level=logging.WARNING)


def test(config: ConfigLike,
         checkpoint: PathLike | None = None,
         *,
         work_dir: PathLike | None = None,
         out: PathLike | None = None,
         train_images: bool = False,
         show: bool = False,
         show_dir: PathLike | None = None,
         wait_time: float = 2.,
         tta: bool = False,
         cfg_options: Mapping[str, Any] | None = None,
         launcher: str = 'none',
         local_rank: int = 0,
         trust_checkpoint: bool = False) -> dict[str, Any]:
    """Test a model, and write what it predicts.

    Args:
        config (str | Path | Config): The config.
        checkpoint (str | Path, optional): A checkpoint, or the work folder
            of a training whose last one is meant. Configs that train nothing
            need none.
        work_dir (str | Path, optional): See :func:`load_config`.
        out (str | Path, optional): Folder for CAMs, masks or instances,
            whatever the config has hooks for.
        train_images (bool): Whether to take the training images, of which no
            mask is read. Defaults to False.
        show (bool): Whether to show predictions in windows.
            Defaults to False.
        show_dir (str | Path, optional): Folder for pictures of predictions.
        wait_time (float): Seconds that a window stays. Defaults to 2.
        tta (bool): Whether to augment at test time as the config's
            ``tta_model`` says. Defaults to False.
        cfg_options (Mapping[str, Any], optional): See :func:`load_config`.
        launcher (str): See :func:`load_config`. Defaults to 'none'.
        local_rank (int): See :func:`load_config`. Defaults to 0.
        trust_checkpoint (bool): Whether checkpoints may run code when they
            are read. Defaults to False.

    Returns:
        dict: Metric name to value.

    Raises:
        FileNotFoundError: If the config or checkpoint is missing.
        ValueError: If a setting or the checkpoint does not fit.
    """
    use_safe_loading(trust_checkpoint)
    cfg = load_config(config, cfg_options, work_dir, launcher, local_rank)
    if checkpoint is not None:
        checkpoint = last_of_run(str(checkpoint))
    elif not is_training_free(cfg):
        raise ValueError(
            f'{cfg.filename} has weights to test: give the checkpoint, or the '
            'work folder of a training, after the config. Only configs that '
            'train nothing run without one.')
    cfg.load_from = checkpoint
    # A test starts from the checkpoint given, not from the backbone's.
    cfg.resume = False
    content = _local_checkpoint(checkpoint, trust_checkpoint)
    for key in ('test_dataloader', 'test_cfg', 'test_evaluator'):
        if cfg.get(key) is None:
            raise ValueError(f'{cfg.filename} has no {key}, so it cannot be '
                             'tested.')
    if show or show_dir:
        enable_pictures(cfg, show, show_dir, wait_time)
    if tta:
        enable_tta(cfg)
    if train_images:
        use_train_images(cfg)
    if checkpoint is None:
        # The runner would ask for what a training needs.
        cfg.train_dataloader = None
    check_pretrained(cfg, frozen_only=True)
    drop_missing_masks(cfg, 'test')
    check_joined_names(cfg, 'test')
    check_true_masks(cfg, 'test')
    settle_loaders(cfg)
    name_splits(cfg)
    if out is not None:
        set_output(cfg, str(out))

    runner = build_runner(cfg)
    if content is not None:
        check_fit(
            runner.model, content, checkpoint, cfg.filename, purpose='test')
        check_classes(runner.model, content, checkpoint,
                      classes_of(runner.test_dataloader.dataset), 'test')
    metrics = runner.test()
    if metrics and is_main_process():
        write_metrics(cfg, checkpoint, metrics)
    end_processes()
    return metrics


def extract_cams(config: ConfigLike,
                 checkpoint: PathLike | None,
                 out: PathLike,
                 *,
                 train_images: bool = True,
                 **options: Any) -> Path:
    """Write the CAMs of a data set as files, which the next stage reads.

    Args:
        config (str | Path | Config): The config, with a
            ``mmwsss.SaveCAMsHook``.
        checkpoint (str | Path, optional): See :func:`test`.
        out (str | Path): Folder for the files.
        train_images (bool): Whether the training images are meant, else the
            test images. Defaults to True.
        **options: Further arguments of :func:`test`.

    Returns:
        Path: The folder that holds the CAMs.

    Raises:
        FileNotFoundError: If the config or checkpoint is missing.
        ValueError: If a setting or the checkpoint does not fit, or the
            config writes no CAMs.
    """
    cfg = load_config(config)
    kinds = [hook.get('type') for hook in cfg.get('custom_hooks') or ()]
    if 'mmwsss.SaveCAMsHook' not in kinds:
        raise ValueError(f'{cfg.filename} writes no CAMs: custom_hooks needs '
                         "dict(type='mmwsss.SaveCAMsHook').")
    test(config, checkpoint, out=out, train_images=train_images, **options)
    inner = Path(out, 'cams')
    return inner if inner.is_dir() else Path(out)


def is_training_free(cfg: Config) -> bool:
    """Whether a config's model has nothing to train.

    Args:
        cfg (Config): The config.

    Returns:
        bool: What the class of the model says.
    """
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    kind = (cfg.get('model') or {}).get('type')
    if isinstance(kind, str):
        kind = MODELS.get(kind)
    return bool(getattr(kind, 'training_free', False))


def write_metrics(cfg: Config, checkpoint: str | None,
                  metrics: dict) -> Path:
    """Leave the result of a test as ``{work_dir}/metrics.json``.

    Args:
        cfg (Config): With ``work_dir``.
        checkpoint (str, optional): What was tested.
        metrics (dict): Metric name to value.

    Returns:
        Path: The file.
    """
    path = Path(cfg.work_dir) / 'metrics.json'
    content = dict(
        config=cfg.filename, checkpoint=checkpoint, metrics=metrics)
    with atomic_write(path) as temp:
        temp.write_text(json.dumps(content, indent=2, default=float) + '\n')
    return path


def build_runner(cfg: Config) -> Runner:
    """The runner of a config, mmengine's or the one its type names.

    Args:
        cfg (Config): The config.

    Returns:
        Runner: The runner.

    Raises:
        ValueError: If the config wants mmengine's activation checkpointing.
    """
    if cfg.get('activation_checkpointing'):
        # Its form loses the gradients of everything that gets its input in a
        # tuple or an object, as heads and refiners do, without a word.
        raise ValueError(
            'activation_checkpointing of mmengine loses gradients of our '
            'models. Take model.backbone.with_cp=True instead, which '
            'mmwsss.AttentionViT and mmwsss.HybridViT have, as well as '
            "mmseg's ResNet.")
    # Metrics without a prefix, such as mmseg's, mean to have none.
    if BaseMetric.default_prefix is None:
        BaseMetric.default_prefix = ''
    if cfg.get('launcher') == 'pytorch' and get_device() == 'cpu':
        use_cpu_processes(cfg)
    if 'runner_type' in cfg:
        return RUNNERS.build(cfg)
    return Runner.from_cfg(cfg)


def use_cpu_processes(cfg: Config) -> None:
    """Let several processes work together where there is no GPU.

    mmengine's launchers pick a GPU for every process, whatever the backend.
    So the process group is set up here, and the model wrapped without device
    numbers. Batch norm over all processes exists on GPUs only and becomes
    plain batch norm, with a warning.

    Args:
        cfg (Config): Changed in place.
    """
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group('gloo')
    if cfg.get('model_wrapper_cfg') is None:
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel',
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False))
    cfg.model_wrapper_cfg.device_ids = None
    if drop_sync_bn(cfg):
        print_log(
            'SyncBN needs GPUs: on CPU processes every one normalises its own '
            'images, and validation and checkpoints are those of the first '
            'one\'s statistics. For the same result as one process train '
            'with one.',
            logger='current',
            level=logging.WARNING)


def end_processes() -> None:
    """Leave the process group together, where there is one.

    A process that exits while another still talks to it, or with the group's
    threads running, can abort although its work is done.
    """
    if torch.distributed.is_available() and \
            torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def leave(launcher: str) -> None:
    """End this program, which has written all it had to.

    Threads of a process group can abort a process while Python takes itself
    apart, about once in 14 trainings on two CPU processes, and whoever called
    takes the finished work for failed. So one of several processes ends at
    once.

    Args:
        launcher (str): See :func:`load_config`.
    """
    if launcher == 'none':
        return
    for worker in multiprocessing.active_children():
        worker.terminate()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _is_local(path: str | None) -> bool:
    # "torchvision://", "https://", "open-mmlab://" ..., but not "C:\".
    return path is not None and re.match(r'[\w+.-]{2,}:', path) is None


def _local_checkpoint(path: str | None, trusted: bool) -> dict | None:
    if not _is_local(path):
        return None
    return load_checkpoint_file(path, trusted=trusted)


def pretrained_paths(cfg: Any, where: str = 'model') -> list[tuple]:
    """Checkpoints that parts of a model ask to be initialised from.

    Args:
        cfg (Any): Config of a model.
        where (str): Its dotted key. Defaults to 'model'.

    Returns:
        list[tuple[str, str]]: Dotted key of each ``init_cfg`` and its path.
    """
    found = []
    if isinstance(cfg, dict):
        if cfg.get('type') == 'Pretrained' and 'checkpoint' in cfg:
            found.append((where, cfg['checkpoint']))
        for key, value in cfg.items():
            found += pretrained_paths(value, f'{where}.{key}')
    elif isinstance(cfg, (list, tuple)):
        for i, value in enumerate(cfg):
            found += pretrained_paths(value, f'{where}.{i}')
    return found


def check_pretrained(cfg: Config, frozen_only: bool = False) -> None:
    """Look for the initial weights before anything expensive starts.

    Args:
        cfg (Config): The config. A work folder in place of a checkpoint
            becomes the last checkpoint in it. Of a run that resumes, initial
            weights that are gone are taken out, but for those of frozen
            networks, which no checkpoint holds.
        frozen_only (bool): Whether frozen networks alone need theirs, as in
            a test. Defaults to False.

    Raises:
        FileNotFoundError: If a file is missing, with the ways out.
    """
    for where, path in pretrained_paths(cfg.get('model', ConfigDict())):
        frozen = re.search(r'\.networks?\.', where) is not None
        if not _is_local(path) or (frozen_only and not frozen):
            continue
        file, lack = Path(path).expanduser(), 'does not exist'
        if file.is_dir() or file.name == 'last_checkpoint':
            last = find_resumable(file if file.is_dir() else file.parent)
            if last is not None:
                cfg.merge_from_dict({f'{where}.checkpoint': last})
                continue
            lack = 'holds no checkpoint'
        elif file.is_file():
            continue
        if frozen:
            raise FileNotFoundError(
                f'The frozen network {where} needs its weights {path}, which '
                f'{lack}. docs/get_started.md says where weights come from; '
                f'name another file with --cfg-options {where}'
                '.checkpoint=PATH.')
        if cfg.get('resume'):
            # Every weight comes from the checkpoint.
            cfg.merge_from_dict({where: None})
        else:
            raise FileNotFoundError(
                f'{where} wants to start from {path}, which {lack}. '
                f'{command_for(path, cfg.filename)}'
                'Or convert weights that you have (see '
                'tools/model_converters/), name another file with '
                f'--cfg-options {where}.checkpoint=PATH, or start from '
                f'scratch with --cfg-options {where}=None.')


def check_fit(model: Any, checkpoint: dict, path: str, config: str,
              purpose: str) -> None:
    """Make sure that a checkpoint belongs to a model.

    mmengine loads what fits and warns about the rest, so a test of the wrong
    checkpoint gives numbers of a partly random network.

    Args:
        model (nn.Module): The model, maybe wrapped.
        checkpoint (dict): The loaded checkpoint.
        path (str): Its path, for messages.
        config (str): Path of the config, for messages.
        purpose (str): ``'test'``, ``'resume'`` (all weights of the model
            must be there) or ``'start from'`` (some must).

    Raises:
        ValueError: If it does not fit, with a few names of what differs.
    """
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    if purpose == 'resume' and not {'optimizer', 'meta'} <= set(checkpoint):
        raise ValueError(
            f'{path} cannot be resumed: it holds weights but no state of an '
            'optimizer. Start a new training from these weights with '
            f'--cfg-options load_from={path} and without --resume.')
    result = compare_state(model, checkpoint)
    if not result.matching or (purpose != 'start from'
                               and not result.complete):
        raise ValueError(
            f'Cannot {purpose} {path}: it is a checkpoint of another '
            f'architecture than the model of {config}:\n'
            f'{result.describe()}\n'
            'Give the config that it was trained with.')
    if result.unexpected or not result.complete:
        print_log(
            f'{path} does not fit the model in all parts:\n'
            f'{result.describe()}',
            logger='current',
            level=logging.WARNING)
