"""The images and true masks that files are scored with."""
from typing import Optional

from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope

from mmwsss.registry import DATASETS


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
            samples have none if any is missing. Defaults to 'needed'.

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
    dataset = ConfigDict(dataset, pipeline=[], with_masks=True)
    dataset.pop('class_less', None)
    if split is not None:
        dataset.ann_file = split
    if masks == 'optional':
        try:
            return _build(dataset)
        except FileNotFoundError:
            dataset.with_masks = False
    return _build(dataset)


def _build(dataset: ConfigDict):
    built = DATASETS.build(dataset)
    built.full_init()
    return built
