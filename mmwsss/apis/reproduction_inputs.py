"""What a pipeline needs before it can run: data, weights, libraries."""
import importlib.util
import os
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from mmwsss.datasets.voc import SPLIT_SIZES
from mmwsss.utils.dataset_configs import inner_datasets
from mmwsss.utils.io import find_file, read_lines
from mmwsss.utils.weight_sources import SOURCES

from .evaluation_data import build_dataset
from .get_weights import get_weights, needed_weights
from .pipeline import Stage

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
#: Kind of file -> its folder and its ending, as datasets call them.
FILES = dict(
    images=('img_path', 'img_suffix'),
    masks=('seg_map_path', 'seg_map_suffix'),
    saliency=('saliency_path', 'saliency_suffix'))
#: Data sets that draw what they lack.
DRAWN = ('mmwsss.ShapesDataset', )
#: Backbones that need the library timm.
TIMM = ('mmwsss.TimmBackbone', 'mmpretrain.TIMMBackbone')


@dataclass
class Check:
    """One thing that a run needs.

    Attributes:
        what (str): Its kind.
        where (str): Its path or name.
        found (str): What is there.
        ok (bool): Whether a run can begin with that.
        remedy (str): The command or the advice for what is missing.
    """
    what: str
    where: str
    found: str
    ok: bool = True
    remedy: str = ''


def configs_of(stages: Sequence[Stage]) -> list[str]:
    """Configs that the stages of a pipeline name.

    Args:
        stages (Sequence[Stage]): With their placeholders filled in.

    Returns:
        list[str]: Each once, as it is named.
    """
    words = [
        word for stage in stages
        for command in filter(None, [*stage.commands, stage.score])
        for word in shlex.split(command)[1:]
    ]
    return list(dict.fromkeys(
        w for w in words if w.endswith('.py') and find_file(w).is_file()))


def check_inputs(stages: Sequence[Stage]) -> list[Check]:
    """Look for everything that a pipeline reads and does not make.

    Args:
        stages (Sequence[Stage]): With their placeholders filled in.

    Returns:
        list[Check]: Data, weights, libraries, and the GPUs.
    """
    configs = {name: Config.fromfile(find_file(name))
               for name in configs_of(stages)}
    return [
        *check_data(configs, stages), *check_weights(configs, stages),
        *check_libraries(configs), check_gpus()
    ]


# --------------------------------------------------------------------- data
def check_data(configs: dict[str, Config],
               stages: Sequence[Stage]) -> list[Check]:
    """Look for lists, image-level labels, images, masks and saliency maps.

    Args:
        configs (dict[str, Config]): Name -> config.
        stages (Sequence[Stage]): Their commands say which configs are scored
            on their training images, whose masks are then needed.

    Returns:
        list[Check]: Lists and label files first, then files per folder.
    """
    checks: dict[tuple[str, str], Check] = {}
    wanted: dict[tuple[str, str, str], tuple[set[str], str]] = {}
    sound: list[dict] = []
    for dataset in _datasets(configs, stages):
        root = str(dataset.get('data_root'))
        if dataset['type'] in DRAWN:
            checks['data', root] = Check(
                'data', root, 'there' if Path(root).is_dir() else
                'drawn when they are first read')
            continue
        built = DATASETS.build(
            dict(dataset, pipeline=[], test_mode=False, lazy_init=True))
        remedy = _remedy(dataset, built)
        if not Path(root).is_dir():
            checks['data', root] = Check('data', root, 'no such folder',
                                         False, remedy)
            continue
        if dataset.get('labels_file'):
            labels = str(built.labels_file)
            there = Path(labels).exists()
            checks['image-level labels', labels] = Check(
                'image-level labels', labels,
                'there' if there else 'missing', there, remedy)
        if not dataset.get('ann_file'):
            sound.append(dataset)
            continue
        name = Path(built.ann_file)
        if not name.is_file():
            checks['list', str(name)] = Check('list', str(name), 'missing',
                                              False, remedy)
            continue
        ids = read_lines(name)
        checks['list', str(name)] = Check('list', str(name),
                                          _list_size(dataset, name, ids))
        for kind, (prefix, suffix) in FILES.items():
            if not _reads(kind, dataset) or built.img_suffix == 'any':
                continue
            key = kind, str(built.data_prefix[prefix]), getattr(built, suffix)
            names = wanted.setdefault(
                key, (set(), _saliency_advice() if kind == 'saliency' else
                      remedy))[0]
            names.update(ids)
        sound.append(dataset)
    for (kind, folder, suffix), (ids, remedy) in wanted.items():
        count = count_files(folder, ids, suffix)
        checks[kind, folder] = Check(
            kind, folder, f'{count:,} of {len(ids):,}', count == len(ids),
            remedy)
    result = list(checks.values())
    if all(check.ok for check in result):
        # What remains, such as labels for all images, the data sets check.
        result += _check_content(sound)
    return result


def _datasets(configs: dict[str, Config],
              stages: Sequence[Stage]) -> list[dict]:
    """Data sets of configs, without repetitions."""
    found: dict[str, dict] = {}
    for name, cfg in configs.items():
        init_default_scope(cfg.get('default_scope', 'mmseg'))
        scored = any(
            name in words and '--train-images' in words for words in (
                shlex.split(stage.score or '') for stage in stages))
        parts = [(key, cfg[key].dataset) for key in LOADERS if cfg.get(key)]
        if cfg.get('refine_dataset'):
            # Such a config has loaders only because it inherits them.
            parts = [('refine_dataset', cfg.refine_dataset)]
        for key, part in parts:
            for dataset in inner_datasets(part):
                dataset = {
                    k: v for k, v in dict(dataset).items() if k != 'pipeline'
                }
                if scored and key == 'train_dataloader':
                    dataset['with_masks'] = True
                found.setdefault(repr(sorted(dataset.items())), dataset)
    return list(found.values())


def _reads(kind: str, dataset: dict) -> bool:
    if kind == 'masks':
        return dataset.get('with_masks') is True
    if kind == 'saliency':
        return bool(dataset.get('saliency_dir')) or 'saliency_path' in (
            dataset.get('data_prefix') or {})
    return True


def _list_size(dataset: dict, path: Path, ids: Sequence[str]) -> str:
    """Number of images of a list, and what papers use where it differs."""
    text = f'{len(ids):,} images'
    usual = SPLIT_SIZES.get(path.stem)
    if dataset['type'] == 'mmwsss.VOCImageLevelDataset' and Path(
            dataset['data_root']).name == 'VOC2012' and usual not in (
                None, len(ids)):
        text += f' (papers use {usual:,})'
    return text


def count_files(folder: str, ids: Iterable[str], suffix: str) -> int:
    """How many of some images have a file.

    Args:
        folder (str): The folder of the files.
        ids (Iterable[str]): Ids of images, which may name folders.
        suffix (str): Ending of the files.

    Returns:
        int: Their number. One look at a folder is far cheaper than one at
        each file.
    """
    listed: dict[str, set[str]] = {}
    count = 0
    for img_id in ids:
        place, name = os.path.split(os.path.join(folder, img_id + suffix))
        if place not in listed:
            listed[place] = set(
                os.listdir(place)) if os.path.isdir(place) else set()
        count += name in listed[place]
    return count


def _check_content(datasets: Sequence[dict]) -> list[Check]:
    """What data sets themselves find wrong when they are read."""
    checks = []
    for dataset in datasets:
        try:
            build_dataset(dict(dataset, pipeline=[]))
        except (OSError, ValueError) as error:
            checks.append(
                Check('data', str(dataset['data_root']), str(error), False,
                      'the message says what to do'))
    return checks


def _remedy(dataset: dict, built: Any) -> str:
    """The command that prepares the data of a data set."""
    root = Path(str(dataset.get('data_root')))
    if dataset['type'] == 'mmwsss.VOCImageLevelDataset':
        get = 'python tools/get_data.py voc2012'
        if root.name == 'voc_mini':
            return (f'{get}; python tools/dataset_converters/voc_mini.py '
                    'data/VOCdevkit/VOC2012')
        if root.parts[-2:] == ('VOCdevkit', 'VOC2012'):
            return get if root.parts[:-2] == ('data', ) else \
                f'{get} --root {root.parents[1]}'
    if dataset['type'] == 'mmwsss.COCOImageLevelDataset':
        return (f'unpack COCO 2014 in {root} (docs/data.md), then python '
                f'tools/dataset_converters/coco.py {root}')
    return str(built.PREPARE)


def _saliency_advice() -> str:
    return ('bring the maps of any saliency detector, one 8-bit picture per '
            'image, or write weaker ones with tools/discover_objects.py '
            '(docs/data.md)')


# -------------------------------------------------------- weights, libraries
def check_weights(configs: dict[str, Config],
                  stages: Sequence[Stage]) -> list[Check]:
    """Look for the initial weights of all trainings and frozen networks.

    Args:
        configs (dict[str, Config]): Name -> config.
        stages (Sequence[Stage]): A stage that says where its config starts
            from, such as from an earlier stage, needs no weights.

    Returns:
        list[Check]: One per checkpoint.
    """
    given = {
        word for stage in stages for command in stage.commands
        if 'init_cfg.checkpoint=' in command
        for word in shlex.split(command)
    }
    names = [name for name in configs if name not in given]
    owners = needed_weights(names)
    checks = []
    for weights in get_weights(names, fetch=False):
        config = next((n for n in names if str(find_file(n))
                       in owners[weights.path]), names[0])
        source = SOURCES.get(Path(weights.path).name)
        remedy = weights.bring
        if source is not None and source.library:
            remedy = f'python tools/get_weights.py {config}'
        there = weights.state == 'here'
        checks.append(
            Check('weights', weights.path, 'there' if there else 'missing',
                  there, '' if there else remedy))
    return checks


def check_libraries(configs: dict[str, Config]) -> list[Check]:
    """Look for the optional libraries that a pipeline uses.

    Args:
        configs (dict[str, Config]): Name -> config.

    Returns:
        list[Check]: timm where a network is one of timm's; pydensecrf, which
        may be missing.
    """
    crf = importlib.util.find_spec('pydensecrf') is not None
    checks = [
        Check('library', 'pydensecrf', 'there' if crf else
              'not there; the CRF runs in torch, with the same labels',
              remedy='' if crf else 'pip install pydensecrf2 (may be left '
              'out)')
    ]
    if any(_has_type(cfg.get('model'), TIMM) for cfg in configs.values()):
        timm = importlib.util.find_spec('timm') is not None
        checks.append(
            Check('library', 'timm', 'there' if timm else 'missing', timm,
                  '' if timm else 'pip install timm'))
    return checks


def _has_type(settings: Any, types: Sequence[str]) -> bool:
    if isinstance(settings, dict):
        return settings.get('type') in types or any(
            _has_type(x, types) for x in settings.values())
    if isinstance(settings, (list, tuple)):
        return any(_has_type(x, types) for x in settings)
    return False


def check_gpus() -> Check:
    """Look for GPUs; a run can begin without one.

    Returns:
        Check: Their names and memory.
    """
    names = [f'{name}, {memory:.0f} GiB' for name, memory in gpus()]
    return Check('GPU', '; '.join(names) or '-', str(len(names) or 'none'),
                 remedy='' if names else 'full-size trainings take weeks on a '
                 'CPU (docs/cost.md)')


def gpus() -> list[tuple[str, float]]:
    """The GPUs that torch sees.

    Returns:
        list[tuple[str, float]]: Name and memory in GiB of each.
    """
    found = []
    for i in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(i)
        found.append((facts.name, facts.total_memory / 2**30))
    return found
