"""What trainings and tests look at before anything expensive starts."""
import ast
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.registry import DATASETS, init_default_scope

from mmwsss.datasets.tags import find_format, read_tags
from mmwsss.pseudo_labels.class_names import describe_difference, same_classes
from mmwsss.utils.checkpoint import checkpoint_classes, compare_state

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


# -------------------------------------------------------------------- classes
def check_classes(model: Any, checkpoint: Mapping, path: str,
                  classes: Sequence[str] | None, purpose: str) -> None:
    """Make sure that a checkpoint means the classes that the data has.

    Args:
        model (nn.Module): The model, maybe wrapped.
        checkpoint (Mapping): The loaded checkpoint.
        path (str): Its path, for messages.
        classes (Sequence[str], optional): Names of the data; None skips the
            check.
        purpose (str): ``'test'``, ``'resume'``, ``'predict with'``, or
            ``'start from'``, where only a checkpoint whose heads fit those
            of the model is looked at.

    Raises:
        ValueError: If the names differ; shows both lists.
    """
    noted = checkpoint_classes(checkpoint)
    if noted is None or not classes or same_classes(noted, classes):
        return
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    if getattr(model, 'class_agnostic', False):
        return
    if purpose == 'start from':
        result = compare_state(model, checkpoint)
        heads = [k for k in model.state_dict() if 'head' in k.split('.')[0]]
        if not heads or not set(heads) <= set(result.matching):
            return
    advice = (
        'Take the checkpoint that was trained for this data, or give the '
        'data the classes of the checkpoint: metainfo=dict(classes=('
        "'background', ...)) in the datasets, or --classes of "
        'tools/dataset_converters/custom.py.')
    if purpose == 'start from':
        advice += (
            ' To start from all but its head, take the head out:\n'
            '  python -c "import torch; '
            f"c = torch.load('{path}', weights_only=True)['state_dict']; "
            "torch.save({k: v for k, v in c.items() if 'head' not in "
            "k.split('.')[0]}, 'OUT.pth')\"")
    elif purpose == 'resume':
        advice += ' Or train anew, in another --work-dir.'
    raise ValueError(
        f'Cannot {purpose} {path}: it was trained for other classes than '
        'the data has:\n' +
        describe_difference(noted, classes, 'of the checkpoint',
                            'of the data') +
        f'\nIts classes would be taken for others of the same number. '
        f'{advice}')


def classes_of(dataset: Any) -> Sequence[str] | None:
    """Class names of a built data set, wrapped or not.

    Args:
        dataset (Dataset): The data set.

    Returns:
        Sequence[str] | None: Its names, None if it has none.
    """
    return (getattr(dataset, 'metainfo', None) or {}).get('classes')


def file_classes(dataset: dict) -> tuple[str, ...] | None:
    """Class names that a data set takes from its file of tags.

    Args:
        dataset (dict): Config of an image-level data set without names.

    Returns:
        tuple[str, ...] | None: Background first; None if it has no such
        file, the file is not there or tells no names.

    Raises:
        ValueError: If the file is damaged.
    """
    name = dataset.get('labels_file')
    path = Path(dataset.get('data_root') or '', name or '')
    kind = dataset.get('labels_format')
    if not name or not path.exists() or (kind or find_format(path)) == 'npy':
        return None
    prefix = {**dict(img_path='JPEGImages'),
              **(dataset.get('data_prefix') or {})}
    root = Path(dataset.get('data_root') or '', prefix['img_path'])
    tags = read_tags(path, kind, root if root.is_dir() else None)
    return ('background', *tags.classes)


# -------------------------------------------------------------------- loaders
def settle_loaders(cfg: Config) -> None:
    """Take settings of data loaders out that contradict others.

    ``persistent_workers`` and ``prefetch_factor`` of a loader without
    workers, for which torch raises an error; ``drop_last`` where the only
    batch would be dropped.

    Args:
        cfg (Config): Changed in place.
    """
    for key in LOADERS:
        loader = cfg.get(key)
        if not loader:
            continue
        if not loader.get('num_workers'):
            loader.pop('prefetch_factor', None)
            if loader.get('persistent_workers'):
                loader.persistent_workers = False
    loader = cfg.get('train_dataloader')
    sampler = str((loader or {}).get('sampler', {}).get('type'))
    if not loader or not loader.get('drop_last') or 'Infinite' in sampler:
        return
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    number = len(DATASETS.build(loader.dataset))
    share = math.ceil(number / get_world_size())
    if share < loader.get('batch_size', 1):
        loader.drop_last = False
        print_log(
            f'There are {number} training images for batches of '
            f'{loader.batch_size}: each epoch is one smaller batch '
            '(drop_last=False).',
            logger='current',
            level=logging.WARNING)


# --------------------------------------------------------------------- resume
def report_changes(cfg: Config, checkpoint: Mapping, path: str) -> list[str]:
    """Say what a changed config changes in a resumed training.

    Args:
        cfg (Config): Of now.
        checkpoint (Mapping): That is resumed, with the config it was
            trained with.
        path (str): Its path.

    Returns:
        list[str]: Lines of the report; empty if nothing changed or the
        checkpoint does not say.

    Raises:
        ValueError: If the optimizer is another one.
    """
    meta = checkpoint.get('meta')
    text = meta.get('cfg') if isinstance(meta, Mapping) else None
    try:
        before = parse_config(text) if isinstance(text, str) else None
    except (SyntaxError, ValueError):
        before = None
    if before is None:
        return []
    now = parse_config(cfg.pretty_text)
    # Not where a run lives, nor the variables of base files.
    before, now = ({k: v for k, v in settings.items() if k in _RUN_KEYS}
                   for settings in (before, now))
    kinds = [_optimizer(settings) for settings in (before, now)]
    if None not in kinds and kinds[0] != kinds[1]:
        raise ValueError(
            f'Cannot resume {path}: it holds the state of the optimizer '
            f'{kinds[0]}, which means nothing to {kinds[1]}. Take the old '
            'one, or start a new training from the weights: --cfg-options '
            f'load_from={path} without --resume, in another --work-dir.')
    effective, overridden = [], []
    for key, old, new in _changes(before, now):
        line = f'  {key}: {_short(old)} -> {_short(new)}'
        (overridden if _is_state(key) else effective).append(line)
    lines = []
    if effective:
        lines += ['takes effect from now on:', *effective]
    if overridden:
        lines += [
            'has NO effect, because the checkpoint holds it (optimizer, '
            'schedule, weights, seed); left is what the run goes on with:',
            *overridden,
            '  To change these, start a new training from the weights: '
            f'--cfg-options load_from={path} without --resume, in another '
            '--work-dir.'
        ]
    if lines:
        print_log(
            '--resume: the config differs from that of the checkpoint.\n' +
            '\n'.join(lines),
            logger='current',
            level=logging.WARNING)
    return lines


#: What a training reads.
_RUN_KEYS = ('model', 'train_dataloader', 'val_dataloader', 'train_cfg',
             'val_cfg', 'optim_wrapper', 'param_scheduler', 'val_evaluator',
             'default_hooks', 'custom_hooks', 'randomness', 'env_cfg',
             'log_processor', 'default_scope', 'auto_scale_lr', 'runner_type',
             'model_wrapper_cfg', 'find_unused_parameters', 'sync_bn',
             'compile', 'activation_checkpointing', 'efficient_conv_bn_eval')


def _optimizer(settings: dict[str, Any]) -> str | None:
    """Type of the optimizer of a parsed config, if it is a plain one."""
    for key in ('optim_wrapper', 'optimizer'):
        settings = settings.get(key)
        if not isinstance(settings, dict):
            return None
    return settings.get('type')


def _is_state(key: str) -> bool:
    """Whether a checkpoint brings what a setting would decide."""
    parts = key.split('.')
    return (parts[0] == 'param_scheduler' or parts[:2] in (
        ['optim_wrapper', 'optimizer'], ['optim_wrapper', 'paramwise_cfg'],
        ['optim_wrapper', 'loss_scale'], ['randomness', 'seed'])
            or parts[0] == 'model' and 'init_cfg' in parts)


def _changes(old: Any, new: Any, where: str = '') -> list[tuple]:
    """Dotted keys at which two settings differ, with both values."""
    # Of another wrapper (--amp) the optimizer is still the checkpoint's.
    if isinstance(old, dict) and isinstance(new, dict) and (
            old.get('type') == new.get('type') or where == 'optim_wrapper'):
        pairs = [(f'{where}.{k}' if where else str(k), old.get(k, _ABSENT),
                  new.get(k, _ABSENT)) for k in dict.fromkeys([*old, *new])]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(
            new):
        pairs = [(f'{where}.{i}', a, b)
                 for i, (a, b) in enumerate(zip(old, new))]
    else:
        return [] if old == new else [(where, old, new)]
    return [change for at, a, b in pairs for change in _changes(a, b, at)]


class _Absent:

    def __repr__(self) -> str:
        return 'nothing'


_ABSENT = _Absent()


def _short(value: Any, limit: int = 70) -> str:
    text = repr(value)
    return text if len(text) <= limit else f'{text[:limit]}..'


def parse_config(text: str) -> dict[str, Any]:
    """Read a dumped config without running it: it comes with a checkpoint.

    Args:
        text (str): ``Config.pretty_text``: assignments of literals and
            ``dict(...)``.

    Returns:
        dict: Settings; tuples become lists.

    Raises:
        SyntaxError: If it is no Python.
        ValueError: If it holds anything else than literals.
    """
    settings: dict[str, Any] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and \
                isinstance(node.targets[0], ast.Name):
            settings[node.targets[0].id] = _literal(node.value)
    return settings


def _literal(node: ast.AST) -> Any:
    if isinstance(node, ast.Call) and isinstance(
            node.func, ast.Name) and node.func.id in ('dict', 'set', 'list'):
        if node.func.id == 'dict' and not node.args:
            return {k.arg: _literal(k.value) for k in node.keywords}
        return [_literal(a) for a in node.args]
    if isinstance(node, ast.Dict):
        return {str(_literal(k)): _literal(v)
                for k, v in zip(node.keys, node.values) if k is not None}
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        return [_literal(item) for item in node.elts]
    if isinstance(node, ast.Name):
        return node.id  # inf, nan
    return ast.literal_eval(node)
