"""Configs for images of your own, made from those of this repository."""
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import (
    Any,
)

from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope

from mmwsss.registry import DATASETS
from mmwsss.utils.dataset_configs import dataset_chains
from mmwsss.utils.io import find_file

PathLike = str | Path
#: Pixels that a network looks at at once: as many as a picture of 1024 x 1024
#: has at scale 2. The attention of a transformer grows with their square.
MAX_PIXELS, MAX_PIXELS_ATTENTION = 2048**2, 1024**2
#: Where a data set looks for files of earlier stages, in its work_dirs.
FOLDERS = dict(
    cam_dir='cams',
    mask_dir='labels',
    low_score_dir='scores/alpha4',
    high_score_dir='scores/alpha24',
    proposal_dir='proposals')
#: Settings of models that are a number of classes.
COUNTS = ('num_classes', 'num_class_tokens')
HEADER = """# Written by tools/dataset_converters/custom.py; edit it.
# What stands here replaces settings of this config:
_base_ = {base!r}
"""


def custom_config(base: PathLike,
                  data_root: PathLike,
                  images: PathLike,
                  num_classes: int,
                  has_val: bool = True,
                  masks: PathLike | None = None,
                  saliency: PathLike | None = None,
                  window: Sequence[float] | None = None
                  ) -> dict[str, Any]:
    """What a config must change to work on other images.

    Data sets are pointed to the images, class numbers replaced wherever the
    model has them, and metrics scored if there are masks.

    Args:
        base (str | Path): A config with ``train_dataloader`` (classifier,
            network of a later stage, segmentation model) or
            ``refine_dataset``.
        data_root (str | Path): As ``convert_custom`` writes it.
        images (str | Path): Folder of the images.
        num_classes (int): K, background not counted.
        has_val (bool): Whether there is a validation image.
            Defaults to True.
        masks (str | Path, optional): Folder of true masks. Defaults to
            ``SegmentationClass`` in ``data_root``.
        saliency (str | Path, optional): Folder of saliency maps.
        window (Sequence[float], optional): Of the data sets.

    Returns:
        dict: Settings, to be merged into ``base``.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If the config is of another kind, or needs saliency maps
            or numbered objects that are not there.
    """
    base = Path(base)
    if not base.is_file():
        raise FileNotFoundError(f'There is no config {base}.')
    cfg = Config.fromfile(base)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    name = Path(data_root).resolve().name
    prefix = dict(img_path=str(images),
                  seg_map_path=str(masks or 'SegmentationClass'))

    def point(dataset: ConfigDict, ann_file: str, **kwargs: Any) -> dict:
        """The same data set, on other images."""
        if 'dataset' in dataset:  # PseudoMaskDataset, RepeatDataset, ..
            change = dict(dataset=point(dataset.dataset, ann_file, **kwargs))
            if 'mask_dir' in dataset:
                change['mask_dir'] = f'work_dirs/{name}/masks'
            return change
        old = dataset.get('data_prefix') or {}
        new = dict(prefix)
        if 'saliency_path' in old or dataset.get('saliency_dir'):
            if saliency is None:
                raise ValueError(
                    f'{base} learns from saliency maps. Say where yours are '
                    '(--saliency), or take a config without.')
            new['saliency_path'] = str(saliency)
            if 'saliency_dir' in dataset:
                kwargs['saliency_dir'] = None
        if 'instance_path' in old and not kwargs:
            raise ValueError(f'{base} reads numbered objects; take another.')
        if window is not None:
            kwargs['window'] = tuple(window)
        if 'data_prefix' in dataset:
            new['_delete_'] = True
        kwargs.update({
            field: f'work_dirs/{name}/{folder}'
            for field, folder in FOLDERS.items() if dataset.get(field)
        })
        return dict(
            type='mmwsss.ImageLevelDataset',
            data_root=str(data_root),
            ann_file=ann_file,
            labels_file='image_labels.json',
            img_suffix='any',
            data_prefix=new,
            **kwargs)

    changes: dict[str, Any] = {}
    refines = 'refine_dataset' in cfg
    if refines:
        changes['refine_dataset'] = point(cfg.refine_dataset, 'train.txt')
    elif cfg.get('train_dataloader') is None or cfg.get('model') is None:
        raise ValueError(f'{base} neither trains a model nor refines class '
                         'maps. Take a config of one stage, e.g. '
                         'configs/cam/cam_r50_custom.py.')
    else:
        changes['work_dir'] = f'work_dirs/{name}/{_method(base)}'
    old = None if refines else _num_labels(cfg)
    if old is not None:
        model = _replaced(cfg.model, {
            old - 1: num_classes,
            old: num_classes + 1
        })
        if model:
            changes['model'] = model
    limits = None if refines else _size_limits(cfg.model)
    if limits:
        changes.setdefault('model', {})['test_cfg'] = {
            **changes.get('model', {}).get('test_cfg', {}), **limits}
    if cfg.get('train_dataloader') is not None:
        changes['train_dataloader'] = dict(
            dataset=point(cfg.train_dataloader.dataset, 'train.txt'))
    for key in ('val', 'test'):
        loader = cfg.get(f'{key}_dataloader')
        if loader is not None:
            # Earlier stages make files of the training images only.
            continues = any(
                step['type'] in ('mmwsss.LoadCAMs', 'mmwsss.LoadPseudoMask')
                for step in loader.dataset.pipeline)
            ann_file = 'val.txt' if has_val and not continues else 'train.txt'
            changes[f'{key}_dataloader'] = dict(
                dataset=point(loader.dataset, ann_file, with_masks='auto'))
        evaluator = cfg.get(f'{key}_evaluator')
        if isinstance(evaluator, dict) and 'report_classes' in evaluator:
            changes[f'{key}_evaluator'] = dict(report_classes=None)
        elif isinstance(evaluator, list) and any(
                'report_classes' in e for e in evaluator):
            changes[f'{key}_evaluator'] = [
                dict(e, report_classes=None) if 'report_classes' in e else
                e.to_dict() for e in evaluator
            ]
    return changes


def pipeline_stages(
        base: PathLike,
        out: PathLike) -> tuple[dict[Path, Path], dict[str, str]]:
    """What a pipeline needs to run on other images.

    Args:
        base (str | Path): A pipeline config, see docs/pipelines.md.
        out (str | Path): Data folder.

    Returns:
        tuple: Configs to write, with those that they inherit, and the
        variables that the pipeline must change to use them.

    Raises:
        ValueError: If two stages would share a config, or if commands cannot
            hold the path of the folder.
    """
    out = Path(out).resolve()
    if shlex.split(str(out)) != [str(out)]:
        raise ValueError(f'{out}: stages of pipelines are command lines, so '
                         'choose a folder without blanks and quotes.')
    configs: dict[Path, Path] = {}
    variables: dict[str, str] = {}
    for name, value in Config.fromfile(base).get('variables', {}).items():
        words = value.split() if isinstance(value, str) else []
        if words and words[0].startswith('configs/'):
            inner = find_file(words[0])
            path = config_path(out, inner, first=False)
            if configs.setdefault(path, inner) != inner:
                raise ValueError(f'{base} has two configs that would become '
                                 f'{path}: {configs[path]} and {inner}.')
            variables[name] = ' '.join([str(path), *words[1:]])
        elif '--report-classes' in words:
            variables.update({name: '', 'metric': 'mIoU'})
    return configs, variables


def _size_limits(model: ConfigDict) -> dict[str, Any]:
    """How a model looks at pictures that are too large for its memory.

    Args:
        model (ConfigDict): Settings of a model.

    Returns:
        dict: For its ``test_cfg``; empty where the config says something, or
        the model knows no parts of pictures.
    """
    test_cfg = model.get('test_cfg') or {}
    if model.type in ('mmwsss.CAMSegmentor', 'mmwsss.EndToEndSegmentor',
                      'mmwsss.CoTrainingSegmentor'):
        if test_cfg.get('max_pixels') is not None:
            return {}
        attends = model.backbone.type in ('mmwsss.AttentionViT',
                                          'mmwsss.HybridViT')
        return dict(
            max_pixels=MAX_PIXELS_ATTENTION if attends else MAX_PIXELS)
    if model.type in ('EncoderDecoder', 'mmwsss.MultiScaleEncoderDecoder'
                      ) and test_cfg.get('mode', 'whole') == 'whole':
        # Smaller pictures are looked at as a whole.
        return dict(mode='slide', crop_size=(1024, 1024), stride=(768, 768))
    return {}


def _method(base: Path) -> str:
    """``cam_r50`` of ``cam_r50_voc.py``."""
    return base.stem.rpartition('_')[0] or base.stem


def _num_labels(cfg: Config) -> int | None:
    """Classes of a config's data with background; None if it says nothing."""
    chain = dataset_chains(cfg.train_dataloader.dataset)[0]
    *wrappers, dataset = chain
    # A PseudoMaskDataset; seeds of the data set itself are no such masks.
    segments = any('mask_dir' in wrapper for wrapper in wrappers)
    classes = (dataset.get('metainfo') or {}).get('classes') or \
        DATASETS.get(dataset.type).METAINFO.get('classes')
    if classes:
        return len(classes)
    model = cfg.model.get('segmentor') or cfg.model
    head = model.get('cls_head') or model.get('decode_head') or {}
    if 'num_classes' not in head:
        return None
    # A head that learns from masks has a channel for the background.
    return head.num_classes + (0 if segments else 1)


def _replaced(node: Any, numbers: Mapping[int, int]) -> Any:
    """The parts of a model's settings with other numbers of classes.

    These are ``num_classes``, ``num_class_tokens`` (one token per class), and
    ``class_weight`` of losses, of whose weights the first and the last one
    stay: those of the background and, in Mask2Former, of no object.

    Args:
        node (dict | list): Settings.
        numbers (Mapping[int, int]): Old to new values.

    Returns:
        dict | list | None: Of a dictionary the keys that change, a list as a
        whole, because configs cannot change elements of lists. None if
        nothing changes.
    """
    if isinstance(node, dict):
        changes = {}
        for key, value in node.items():
            if key in COUNTS and value in numbers:
                changes[key] = numbers[value]
            elif key == 'class_weight' and isinstance(value, (list, tuple)):
                weights = _weights(value, numbers)
                if weights is not None:
                    changes[key] = weights
            elif isinstance(value, (dict, list, tuple)):
                inner = _replaced(value, numbers)
                if inner is not None:
                    changes[key] = inner
        return changes or None
    parts = [
        _replaced(x, numbers) if isinstance(x, (dict, list, tuple)) else None
        for x in node
    ]
    if all(part is None for part in parts):
        return None
    return [
        x if part is None else _merged(x, part)
        for x, part in zip(node, parts)
    ]


def _weights(weights: Sequence[float],
             numbers: Mapping[int, int]) -> list[float] | None:
    """Weights of classes for another number of them.

    Args:
        weights (Sequence[float]): Of all classes, and perhaps one more.
        numbers (Mapping[int, int]): Old to new number of classes, see
            :func:`_replaced`; the larger one counts the background.

    Returns:
        list[float] | None: None where their number is that of none, or
        nothing changes.

    Raises:
        ValueError: If the classes have different weights.
    """
    old = max(numbers)
    if len(weights) not in (old, old + 1) or numbers[old] == old:
        return None
    classes, last = weights[1:old], weights[old:]
    if len(set(classes)) > 1:
        raise ValueError(
            f'class_weight={list(weights)} has different weights for the '
            'classes of the config. Take one in which all classes weigh the '
            'same, and set the weights of yours in the config that is made '
            'of it.')
    return [weights[0], *classes[:1] * (numbers[old] - 1), *last]


def _merged(node: Any, changes: Any) -> Any:
    if not isinstance(changes, dict):
        return changes
    return {
        key: _merged(value, changes[key]) if key in changes else value
        for key, value in node.items()
    }


def config_path(out: PathLike, base: PathLike, first: bool) -> Path:
    """Where the config for other images goes.

    Args:
        out (str | Path): Data folder.
        base (str | Path): The config that it inherits.
        first (bool): Whether it is the main one.

    Returns:
        Path: ``config.py`` in ``out``; of a further ``crf-masks_voc.py``,
        ``crf-masks.py``.
    """
    return Path(out) / ('config.py' if first else f'{_method(Path(base))}.py')


def configs_for(bases: Sequence[PathLike], out: PathLike,
                **data: Any) -> dict[Path, str]:
    """All configs that a person wants for other images.

    Args:
        bases (Sequence[str | Path]): Configs to inherit. The first becomes
            ``config.py``. A pipeline becomes ``pipeline.py``, and all configs
            that its variables name come along.
        out (str | Path): Data folder.
        **data: For :func:`custom_config`.

    Returns:
        dict[Path, str]: Python per file.

    Raises:
        FileNotFoundError: If a config is missing.
        ValueError: If configs do not fit, or two would become one file.
    """
    todo: dict[Path, Path] = {}
    texts: dict[Path, str] = {}
    for base in map(find_file, map(str, bases)):
        if not base.is_file():
            raise FileNotFoundError(f'There is no config {base}.')
        if 'stages' in Config.fromfile(base):
            inner, variables = pipeline_stages(base, out)
            path = Path(out) / 'pipeline.py'
            texts[path] = config_text(base, dict(variables=variables))
            inner = {Path(out) / p.name: b for p, b in inner.items()}
        else:
            path = config_path(out, base, first=not (todo or texts))
            inner = {path: base}
        for path, one in inner.items():
            if todo.setdefault(path, one) != one:
                raise ValueError(f'{todo[path]} and {one} would both become '
                                 f'{path}. Convert one of them only.')
    for path, base in todo.items():
        texts[path] = config_text(
            base, custom_config(base, Path(out).resolve(), **data))
    return texts


def config_text(base: PathLike, changes: Mapping[str, Any]) -> str:
    """A config that inherits another one.

    Args:
        base (str | Path): The config to inherit.
        changes (Mapping[str, Any]): Of :func:`custom_config`.

    Returns:
        str: Python.
    """
    return (HEADER.format(base=str(Path(base).resolve())) +
            Config(dict(changes)).pretty_text)


def check_config(path: PathLike, text: str) -> None:
    """Make sure that writing a config would destroy nobody's work.

    Args:
        path (str | Path): Where to write.
        text (str): What.

    Raises:
        FileExistsError: If something else stands there.
    """
    path = Path(path)
    if path.exists() and path.read_text(encoding='utf-8') != text:
        raise FileExistsError(
            f'{path} is there and differs from what would be written. Move '
            'it away, or replace it with --overwrite.')


def parse_columns(pairs: Iterable[str]) -> dict[str, Any]:
    """``image=A labels=B labels=C`` as ``dict(image='A', labels=['B', 'C'])``.

    Args:
        pairs (Iterable[str]): Of the command line.

    Returns:
        dict: For :func:`~mmwsss.datasets.tags.read_tags`.

    Raises:
        ValueError: If a pair is none, or its key is unknown.
    """
    columns: dict[str, Any] = {}
    for pair in pairs:
        key, equals, name = pair.partition('=')
        if not equals or not name or key not in ('image', 'labels'):
            raise ValueError(f'--columns {pair}: must be image=NAME or '
                             'labels=NAME.')
        if key == 'labels':
            columns.setdefault(key, []).append(name)
        else:
            columns[key] = name
    return columns
