"""The images and true masks that files are scored with."""
import logging
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.dataset import ConcatDataset
from mmengine.logging import print_log
from mmengine.registry import init_default_scope

from mmwsss.datasets import ImageLevelDataset
from mmwsss.datasets.mask_values import check_tags_shown
from mmwsss.datasets.transforms.load_images import read_true_mask
from mmwsss.registry import DATASETS
from mmwsss.utils.dataset_configs import inner_datasets


def evaluation_dataset(cfg: Config,
                       train_images: bool = False,
                       split: str | None = None,
                       masks: str = 'needed'):
    """The data of a config, to look up images and masks.

    Args:
        cfg (Config): With ``test_dataloader``, or ``train_dataloader`` for
            ``train_images``.
        train_images (bool): Whether the training images are meant instead of
            the test images. Defaults to False.
        split (str, optional): Another split list, relative to the data root.
        masks (str): 'needed': every image must have its mask. 'optional':
            samples have none if any is missing. 'none': samples have none.
            Defaults to 'needed'.

    Returns:
        ImageLevelDataset: ``get_data_info(i)`` gives ``img_id``,
        ``img_path``, ``gt_label`` and ``seg_map_path``.

    Raises:
        ValueError: If the config has no such data, or joined data sets have
            different images of one name.
        FileNotFoundError: If files are missing.
    """
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    key = 'train_dataloader' if train_images else 'test_dataloader'
    if cfg.get(key) is None:
        raise ValueError(f'{cfg.filename} has no {key}.')
    inner = inner_datasets(cfg[key].dataset)
    if len(inner) > 1 and split is None:
        parts = [_evaluated(dataset, split, masks) for dataset in inner]
        refuse_shared_names(parts)
        return ConcatDataset(parts)
    return _evaluated(inner[0], split, masks)


def _evaluated(dataset: ConfigDict, split: str | None, masks: str):
    """One data set as :func:`evaluation_dataset` says."""
    dataset = ConfigDict(dataset, pipeline=[], with_masks=masks != 'none')
    dataset.pop('class_less', None)
    if 'data_prefix' in dataset:
        # Fewer images have numbered objects than masks.
        dataset.data_prefix = {
            key: value
            for key, value in dataset.data_prefix.items()
            if key != 'instance_path'
        }
    if split is not None:
        dataset.ann_file = split
    if masks == 'optional':
        try:
            return build_dataset(dataset)
        except FileNotFoundError:
            dataset.with_masks = False
    return build_dataset(dataset)


def check_true_masks(cfg: Config, *keys: str) -> None:
    """Make sure that true masks show what images are tagged with.

    Reads masks until every class was seen once; of sound data a few.

    Args:
        cfg (Config): The config.
        *keys (str): 'val', 'test' or both.

    Raises:
        FileNotFoundError: If data are missing.
        ValueError: If a tagged class never occurs in the masks.
    """
    for key in keys:
        loader = cfg.get(f'{key}_dataloader')
        if not loader or not cfg.get(f'{key}_evaluator'):
            continue
        init_default_scope(cfg.get('default_scope', 'mmseg'))
        for dataset in inner_datasets(loader.dataset):
            if dataset.get('with_masks') not in (True, 'auto'):
                continue
            built = build_dataset(ConfigDict(dataset, pipeline=[]))
            if isinstance(built, ImageLevelDataset) and built.with_masks:
                check_dataset_masks(built)


def check_joined_names(cfg: Config, *keys: str) -> None:
    """Make sure that no two images of joined data sets have one name.

    Args:
        cfg (Config): The config.
        *keys (str): 'val', 'test' or both.

    Raises:
        FileNotFoundError: If data are missing.
        ValueError: If names are shared.
    """
    for key in keys:
        loader = cfg.get(f'{key}_dataloader')
        inner = inner_datasets(loader.dataset) if loader else []
        if len(inner) > 1:
            init_default_scope(cfg.get('default_scope', 'mmseg'))
            refuse_shared_names([
                build_dataset(ConfigDict(d, pipeline=[])) for d in inner
            ])


def refuse_shared_names(parts: Sequence[Any]) -> None:
    """:func:`check_joined_names` of data sets that are built.

    Args:
        parts (Sequence[BaseDataset]): They may share images.

    Raises:
        ValueError: If images of other files have one name.
    """
    seen: dict[str, str] = {}
    for part in parts:
        for info in map(part.get_data_info, range(len(part))):
            name, path = info.get('img_id'), str(info['img_path'])
            if name is not None and seen.setdefault(name, path) != path:
                raise ValueError(
                    f'Two images of the joined data sets have the name '
                    f'{name!r}: {seen[name]} and {path}. Metrics would count '
                    'one of them, and their files (CAMs, masks) replace each '
                    'other. Give the data sets one image folder that holds '
                    'both (data_prefix.img_path, --images of custom.py), so '
                    'that folders are part of the names, or rename images.')


def check_dataset_masks(dataset: ImageLevelDataset) -> None:
    """:func:`check_true_masks` of one data set.

    Args:
        dataset (ImageLevelDataset): With masks.

    Raises:
        ValueError: If a tagged class never occurs in the masks.
    """
    infos = {
        x['img_id']: x
        for x in map(dataset.get_data_info, range(len(dataset)))
    }
    if not any(len(x['gt_label']) for x in infos.values()):
        raise ValueError(
            f'None of the {len(infos)} images of '
            f'{dataset.ann_file or "the data"} has a tag, so their masks '
            'measure no class. Take a list with images of the classes '
            '(custom.py: --val, --seed), or leave the masks out '
            '(with_masks=False and no evaluator).')
    unseen = check_tags_shown(
        {i: x['gt_label'] for i, x in infos.items()}, dataset.classes,
        lambda img_id: read_true_mask(infos[img_id]),
        dataset.data_prefix['seg_map_path'])
    if unseen:
        print_log(
            f'{dataset.split or "The images"}: no mask shows '
            f'{", ".join(unseen)}, though one or two images are tagged so; '
            'this cannot be measured here.',
            logger='current',
            level=logging.WARNING)


def build_dataset(dataset: ConfigDict):
    """Build a data set and read its lists.

    Args:
        dataset (ConfigDict): Its config.

    Returns:
        BaseDataset: The data set.

    Raises:
        FileNotFoundError: If files are missing.
    """
    built = DATASETS.build(dataset)
    built.full_init()
    return built
