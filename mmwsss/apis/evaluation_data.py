"""The images and true masks that files are scored with."""
from typing import Optional, Sequence

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.registry import init_default_scope

from mmwsss.registry import DATASETS

#: Transforms that read true masks.
MASK_LOADERS = ('LoadMask', 'LoadAnnotations', 'LoadInstances')


def evaluation_dataset(cfg: Config,
                       train_images: bool = False,
                       split: Optional[str] = None,
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
        ValueError: If the config has no such data.
        FileNotFoundError: If files are missing.
    """
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    key = 'train_dataloader' if train_images else 'test_dataloader'
    if cfg.get(key) is None:
        raise ValueError(f'{cfg.filename} has no {key}.')
    dataset = cfg[key].dataset
    while 'dataset' in dataset:  # RepeatDataset, PseudoMaskDataset, ..
        dataset = dataset.dataset
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
            return _build(dataset)
        except FileNotFoundError:
            dataset.with_masks = False
    return _build(dataset)


def drop_missing_masks(cfg: Config, *keys: str) -> None:
    """Leave scoring out where the images have no masks.

    Concerns data sets with ``with_masks='auto'``. Without masks nothing is
    scored: transforms that load masks go, and so do the metrics. Everything
    else happens as usual, so that class maps are drawn and written.

    Args:
        cfg (Config): Changed in place.
        *keys (str): 'val', 'test' or both.

    Raises:
        FileNotFoundError: If data are missing, or some masks are.
    """
    for key in keys:
        dataset = (cfg.get(f'{key}_dataloader') or {}).get('dataset') or {}
        while 'dataset' in dataset:
            dataset = dataset.dataset
        if dataset.get('with_masks') != 'auto':
            continue
        init_default_scope(cfg.get('default_scope', 'mmseg'))
        built = _build(ConfigDict(dataset, pipeline=[]))
        dataset.with_masks = built.with_masks
        if built.with_masks:
            continue
        dataset.pipeline = _without_loaders(dataset.pipeline)
        cfg[f'{key}_evaluator'] = []
        checkpoint = cfg.get('default_hooks', {}).get('checkpoint')
        if checkpoint is not None and checkpoint.get('save_best'):
            checkpoint.save_best = None
        print_log(
            f'{dict(val="Validation", test="Test")[key]}: there are no masks '
            f'in {built.data_prefix["seg_map_path"]}, so the {len(built)} '
            'images are looked at, not scored. With masks of all of them '
            'there (docs/data.md), they will be.',
            logger='current')


def _without_loaders(steps: Sequence) -> list:
    """A pipeline without what loads masks, those inside others included."""
    kept = []
    for step in steps:
        if isinstance(step, (list, tuple)):
            inner = _without_loaders(step)
            # One way less to augment, not one that does nothing.
            kept += [inner] if inner or not step else []
        elif step['type'].split('.')[-1] not in MASK_LOADERS:
            if 'transforms' in step:
                step = ConfigDict(
                    step, transforms=_without_loaders(step['transforms']))
            kept.append(step)
    return kept


def _build(dataset: ConfigDict):
    built = DATASETS.build(dataset)
    built.full_init()
    return built
