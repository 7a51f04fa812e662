"""Start a training or a test from a config: the work of tools/*.py."""
import argparse
import difflib
import inspect
import json
import logging
import multiprocessing
import os
import os.path as osp
import re
import sys
from pathlib import Path
from typing import Any, List, Optional

import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.device import get_device
from mmengine.dist import is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import RUNNERS, init_default_scope
from mmengine.runner import Runner

from mmwsss.registry import MODELS
from mmwsss.utils.checkpoint import (add_trust_argument, compare_state,
                                     load_checkpoint_file, use_safe_loading)
from mmwsss.utils.dataset_configs import inner_datasets
from mmwsss.utils.io import atomic_write
from mmwsss.utils.model_index import find_config
from mmwsss.utils.weight_sources import command_for

from .evaluation_data import (MASK_LOADERS, check_true_masks,
                              drop_missing_masks, name_splits)
from .run_checks import (check_classes, classes_of, report_changes,
                         settle_loaders)

# Keys that mmengine reads from a config beside its runner's arguments.
RUN_KEYS = ('compile', 'efficient_conv_bn_eval', 'find_unused_parameters',
            'model_wrapper_cfg', 'runner_type', 'sync_bn')


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that training and testing share with mmseg's tools.

    Args:
        parser (ArgumentParser): Gets the arguments.
    """
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change settings of the config, e.g. '
        'train_dataloader.batch_size=2 model.test_cfg.scales="(1.0,1.5)" '
        '(quote, no blanks)')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how several processes are started; the scripts dist_*.sh and '
        'slurm_*.sh set it')
    add_trust_argument(parser)
    # torch.distributed.launch passes its rank in either spelling.
    parser.add_argument(
        '--local_rank',
        '--local-rank',
        type=int,
        default=0,
        help=argparse.SUPPRESS)


def load_config(args: argparse.Namespace) -> Config:
    """Read the config that the command line names and apply its options.

    Args:
        args (Namespace): With ``config``, ``cfg_options``, ``launcher``,
            ``work_dir`` and ``local_rank``.

    Returns:
        Config: With ``work_dir`` (command line, else config, else
        ``work_dirs/<config name>``) and ``launcher`` set.

    Raises:
        FileNotFoundError: If there is no such config, with similar ones.
        ValueError: If an option names a key that the config lacks.
    """
    path = find_config(args.config)
    if not path.is_file():
        raise FileNotFoundError(f'There is no config {path}.' +
                                _similar_configs(path))
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg = Config.fromfile(path)
    cfg.launcher = args.launcher
    if args.cfg_options is not None:
        check_options(cfg, args.cfg_options)
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = osp.join('./work_dirs', path.stem)
    return cfg


def _similar_configs(path: Path) -> str:
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


def check_options(cfg: Config, options: dict) -> None:
    """Refuse ``--cfg-options`` that would silently change nothing.

    The first key of an option must stand in the config. Deeper keys may be
    new (an argument left at its default), but lists are only entered by
    numbers they have.

    Args:
        cfg (Config): The config.
        options (dict): Dotted key to value.

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


def find_resumable(work_dir: str) -> Optional[str]:
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


def train(args: argparse.Namespace) -> Any:
    """Train as the command line says.

    Args:
        args (Namespace): Of ``tools/train.py``.

    Returns:
        nn.Module: The trained model.

    Raises:
        FileNotFoundError: If a config or checkpoint is missing.
        ValueError: If a setting or checkpoint does not fit.
    """
    use_safe_loading(args.trust_checkpoint)
    cfg = load_config(args)
    if args.amp:
        enable_amp(cfg)
    set_start(cfg, args)
    checkpoint = _local_checkpoint(
        cfg.get('load_from'), args.trust_checkpoint)
    check_pretrained(cfg)
    drop_missing_masks(cfg, 'val')
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
            args.config,
            purpose=purpose)
        check_classes(runner.model, checkpoint, cfg.load_from,
                      classes_of(runner.train_dataloader.dataset), purpose)
        if cfg.resume:
            report_changes(cfg, checkpoint, cfg.load_from)
    model = runner.train()
    end_processes()
    return model


def set_start(cfg: Config, args: argparse.Namespace) -> None:
    """Decide where a training starts: ``load_from`` and ``resume``.

    Without ``--resume`` the config's ``load_from`` gives the weights, if set.
    With it, in this order: ``--cfg-options load_from=...`` is continued; the
    last checkpoint of the work folder is continued; the training starts from
    the beginning (with the weights of the config's ``load_from``, if set).

    Args:
        cfg (Config): Changed in place.
        args (Namespace): Of ``tools/train.py``.
    """
    cfg.resume = bool(args.resume)
    if not cfg.resume or (args.cfg_options or {}).get('load_from'):
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


def test(args: argparse.Namespace) -> dict:
    """Test as the command line says.

    Args:
        args (Namespace): Of ``tools/test.py``.

    Returns:
        dict: Metric name to value.

    Raises:
        FileNotFoundError: If the config or checkpoint is missing.
        ValueError: If a setting or the checkpoint does not fit.
    """
    use_safe_loading(args.trust_checkpoint)
    cfg = load_config(args)
    if args.checkpoint is not None:
        args.checkpoint = last_of_run(args.checkpoint)
    elif not is_training_free(cfg):
        raise ValueError(
            f'{args.config} has weights to test: give the checkpoint, or the '
            'work folder of a training, after the config. Only configs that '
            'train nothing run without one.')
    cfg.load_from = args.checkpoint
    # A test starts from the checkpoint given, not from the backbone's.
    cfg.resume = False
    checkpoint = _local_checkpoint(args.checkpoint, args.trust_checkpoint)
    for key in ('test_dataloader', 'test_cfg', 'test_evaluator'):
        if cfg.get(key) is None:
            raise ValueError(f'{args.config} has no {key}, so it cannot be '
                             'tested.')
    if args.show or args.show_dir:
        enable_pictures(cfg, args.show, args.show_dir, args.wait_time)
    if args.tta:
        enable_tta(cfg)
    if args.train_images:
        use_train_images(cfg)
    if args.checkpoint is None:
        # The runner would ask for what a training needs.
        cfg.train_dataloader = None
    check_pretrained(cfg, frozen_only=True)
    drop_missing_masks(cfg, 'test')
    check_true_masks(cfg, 'test')
    settle_loaders(cfg)
    name_splits(cfg)
    if args.out is not None:
        set_output(cfg, args.out)

    runner = build_runner(cfg)
    if checkpoint is not None:
        check_fit(
            runner.model,
            checkpoint,
            args.checkpoint,
            args.config,
            purpose='test')
        check_classes(runner.model, checkpoint, args.checkpoint,
                      classes_of(runner.test_dataloader.dataset), 'test')
    metrics = runner.test()
    if metrics and is_main_process():
        write_metrics(cfg, args, metrics)
    end_processes()
    return metrics


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


def write_metrics(cfg: Config, args: argparse.Namespace,
                  metrics: dict) -> Path:
    """Leave the result of a test as ``{work_dir}/metrics.json``.

    Args:
        cfg (Config): With ``work_dir``.
        args (Namespace): With ``config`` and ``checkpoint``.
        metrics (dict): Metric name to value.

    Returns:
        Path: The file.
    """
    path = Path(cfg.work_dir) / 'metrics.json'
    content = dict(
        config=args.config, checkpoint=args.checkpoint, metrics=metrics)
    with atomic_write(path) as temp:
        temp.write_text(json.dumps(content, indent=2, default=float) + '\n')
    return path


def use_train_images(cfg: Config) -> None:
    """Test on the training images, of which no mask is read.

    For what the next stage needs of the images it trains on: class maps or
    masks as files. Nothing is scored; ``tools/evaluate_cams.py`` and
    ``tools/evaluate_masks.py`` score files, where masks exist.

    Args:
        cfg (Config): Changed in place.

    Raises:
        ValueError: If the config has no training data.
    """
    if cfg.get('train_dataloader') is None:
        raise ValueError('--train-images needs a train_dataloader in the '
                         'config.')
    test_dataset = inner_datasets(cfg.test_dataloader.dataset)[0]
    pipeline = [
        step for step in test_dataset.pipeline
        if step.type.split('.')[-1] not in MASK_LOADERS
    ]
    datasets = []
    for dataset in inner_datasets(cfg.train_dataloader.dataset):
        dataset = ConfigDict(dataset, pipeline=pipeline, test_mode=True)
        dataset.pop('with_masks', None)
        # Later stages want every image, also those that training left out.
        dataset.pop('class_less', None)
        datasets.append(dataset)
    cfg.test_dataloader.dataset = datasets[0] if len(datasets) == 1 else \
        ConfigDict(type='ConcatDataset', datasets=datasets)
    cfg.test_evaluator = []


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


def drop_sync_bn(cfg: Config) -> bool:
    """Replace batch norm over all processes by the plain one.

    Args:
        cfg (Config): Changed in place.

    Returns:
        bool: Whether there was any.
    """
    found = bool(cfg.pop('sync_bn', None))
    nodes = [cfg.get('model')]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            if node.get('type') == 'SyncBN':
                node['type'], found = 'BN', True
            nodes += node.values()
        elif isinstance(node, (list, tuple)):
            nodes += node
    return found


def end_processes() -> None:
    """Leave the process group together, where there is one.

    A process that exits while another still talks to it, or with the group's
    threads running, can abort although its work is done.
    """
    if torch.distributed.is_available() and \
            torch.distributed.is_initialized():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def leave(args: argparse.Namespace) -> None:
    """End this program, which has written all it had to.

    Threads of a process group can abort a process while Python takes itself
    apart, about once in 14 trainings on two CPU processes, and whoever called
    takes the finished work for failed. So one of several processes ends at
    once.

    Args:
        args (Namespace): With ``launcher``.
    """
    if args.launcher == 'none':
        return
    for worker in multiprocessing.active_children():
        worker.terminate()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def enable_amp(cfg: Config) -> None:
    """Switch a config to automatic mixed precision.

    Args:
        cfg (Config): Changed in place.

    Raises:
        ValueError: If its optimizer wrapper is a special one.
    """
    kind = cfg.optim_wrapper.type
    if kind == 'AmpOptimWrapper':
        print_log(
            'The config trains with mixed precision already.',
            logger='current',
            level=logging.WARNING)
        return
    if kind != 'OptimWrapper':
        raise ValueError('--amp turns an OptimWrapper into an '
                         f'AmpOptimWrapper; the config has a {kind}. Set '
                         'optim_wrapper in the config instead.')
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def enable_pictures(cfg: Config, show: bool, show_dir: Optional[str],
                    wait_time: float) -> None:
    """Let the visualization hook draw.

    Args:
        cfg (Config): Changed in place.
        show (bool): Whether to open windows.
        show_dir (str, optional): Folder for pictures.
        wait_time (float): Seconds that a window stays.

    Raises:
        ValueError: If the config has no visualization hook.
    """
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise ValueError('--show and --show-dir need default_hooks = '
                         "dict(visualization=dict(type='SegVisualizationHook'"
                         ')) in the config.')
    hook['draw'] = True
    if show:
        hook['show'] = True
        hook['wait_time'] = wait_time
    if show_dir:
        cfg.visualizer['save_dir'] = show_dir


def enable_tta(cfg: Config) -> None:
    """Wrap the model for test-time augmentation the way mmseg does.

    Args:
        cfg (Config): Changed in place.

    Raises:
        ValueError: If the config does not say how.
    """
    if cfg.get('tta_model') is None or cfg.get('tta_pipeline') is None:
        raise ValueError(
            '--tta needs tta_model and tta_pipeline in the config. A '
            'CAMSegmentor fuses scales and flips by itself: set '
            'model.test_cfg.scales and model.test_cfg.flip.')
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.tta_model.module = cfg.model
    cfg.model = cfg.tta_model


def set_output(cfg: Config, folder: str) -> None:
    """Have predictions written.

    Class maps are written if the config has a ``mmwsss.SaveCAMsHook``, masks
    if it has a ``mmwsss.SaveMasksHook``, instances if it has a
    ``mmwsss.SaveInstancesHook``; with several of them, into the folders
    ``cams``, ``masks`` and ``instances`` below. Without SaveMasksHook,
    segmentation masks are written if the evaluator is mmseg's ``IoUMetric``.

    Args:
        cfg (Config): Changed in place.
        folder (str): Where to.

    Raises:
        ValueError: If the config has none of these.
    """
    folders = {
        'mmwsss.SaveCAMsHook': 'cams',
        'mmwsss.SaveMasksHook': 'masks',
        'mmwsss.SaveInstancesHook': 'instances'
    }
    hooks = {
        hook.get('type'): hook
        for hook in cfg.get('custom_hooks') or []
        if hook.get('type') in folders
    }
    for name, hook in hooks.items():
        hook['out_dir'] = folder if len(hooks) == 1 else osp.join(
            folder, folders[name])
    found = bool(hooks)
    evaluators = cfg.test_evaluator
    for evaluator in (evaluators
                      if isinstance(evaluators, list) else [evaluators]):
        if (str(evaluator.get('type')).split('.')[-1] == 'IoUMetric'
                and 'mmwsss.SaveMasksHook' not in hooks):
            evaluator['output_dir'] = folder
            evaluator['keep_results'] = True
            found = True
    if not found:
        raise ValueError(
            "--out needs dict(type='mmwsss.SaveCAMsHook') (writes class maps) "
            "or dict(type='mmwsss.SaveMasksHook') (writes masks) or "
            "dict(type='mmwsss.SaveInstancesHook') (writes instances) in "
            'custom_hooks, or an IoUMetric as test_evaluator (writes masks); '
            'the config has none of them.')


def _is_local(path: Optional[str]) -> bool:
    # "torchvision://", "https://", "open-mmlab://" ..., but not "C:\".
    return path is not None and re.match(r'[\w+.-]{2,}:', path) is None


def _local_checkpoint(path: Optional[str], trusted: bool) -> Optional[dict]:
    if not _is_local(path):
        return None
    return load_checkpoint_file(path, trusted=trusted)


def pretrained_paths(cfg: Any, where: str = 'model') -> List[tuple]:
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
