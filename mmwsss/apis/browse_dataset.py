"""Pictures of training samples: the work of tools/.../browse_dataset.py."""
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import DATASETS, init_default_scope
from rich.progress import track
from torch import Tensor

from mmwsss.datasets.transforms.load_images import read_true_mask
from mmwsss.pseudo_labels.mask_file import IGNORE, class_lut, voc_palette
from mmwsss.utils.read_images import read_image, read_saliency
from mmwsss.visualization import Gallery, overlay_cam, overlay_mask

from .config_edits import drop_missing_masks
from .run import ConfigLike, PathLike, load_config

#: Classes in the table on top of the page.
TOP_CLASSES = 30
Pictures = list[tuple[np.ndarray, str]]


def input_picture(inputs: Tensor) -> np.ndarray:
    """What a pipeline hands to the model, as a picture.

    Args:
        inputs (Tensor): (3, h, w), BGR in grey levels, integers or floats;
            the model's preprocessor normalises it only later.

    Returns:
        ndarray: BGR uint8 (h, w, 3).
    """
    array = inputs.float().round().clamp(0, 255).byte().numpy()
    return np.ascontiguousarray(array.transpose(1, 2, 0))


def fit_mask(mask: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A mask at the size of a picture, to the nearest.

    Args:
        mask (ndarray): (h, w). Labels for AffinityNet are smaller than their
            image, masks to measure with may be larger.
        size (Sequence[int]): Height and width.

    Returns:
        ndarray: (height, width), of the same type.
    """
    if mask.shape == tuple(size):
        return mask
    return cv2.resize(
        mask, (size[1], size[0]), interpolation=cv2.INTER_NEAREST)


def sample_pictures(packed: dict,
                    classes: Sequence[str],
                    palette: Sequence[Sequence[int]],
                    mask_name: str = 'mask to learn',
                    local_labels: bool = False) -> Pictures:
    """All that a sample holds, after its pipeline.

    Args:
        packed (dict): ``inputs`` and ``data_samples``, of one image.
        classes (Sequence[str]): K + 1 names, background first.
        palette (Sequence[Sequence[int]]): RGB, K + 1.
        mask_name (str): What ``gt_sem_seg`` is. Defaults to 'mask to learn'.
        local_labels (bool): Whether ``gt_sem_seg`` counts the classes of the
            image instead of all, as ``AffinityLabel`` does.
            Defaults to False.

    Returns:
        list[tuple[ndarray, str]]: Pictures with captions: the network input,
        then, where present, masks, seeds, saliency, CAMs and objects
        drawn over it.
    """
    image = input_picture(packed['inputs'])
    sample, size = packed['data_samples'], image.shape[:2]

    def pixels(name: str) -> np.ndarray | None:
        if name not in sample:
            return None
        array = sample.get(name).data[0].numpy()
        return fit_mask(array.astype(np.float32), size)

    caption = f'network input, {size[0]} x {size[1]}'
    valid = pixels('valid_mask')
    if valid is not None and valid.min() == 0:
        caption += f', {100 * (1 - valid.mean()):.0f}% padding'
    pictures = [(image, caption)]
    for name, title in (('gt_sem_seg', mask_name), ('seed_sem_seg', 'seeds')):
        mask = pixels(name)
        if mask is None:
            continue
        mask = mask.astype(np.uint8)
        if local_labels and name == 'gt_sem_seg':
            lut = np.full(256, IGNORE, np.uint8)
            own = class_lut(sample.gt_label.label.tolist())
            lut[:len(own)] = own
            mask = lut[mask]
        ignored = 100 * np.mean(mask == IGNORE)
        pictures.append((overlay_mask(image, mask, palette),
                         f'{title}, {ignored:.0f}% ignored'))
    saliency = pixels('gt_saliency')
    if saliency is not None:
        pictures.append((overlay_cam(image, saliency), 'saliency'))
    if 'cams' in sample:
        for c, cam in zip(sample.class_ids.tolist(), sample.cams.numpy()):
            cam = cv2.resize(cam, (size[1], size[0]))
            pictures.append((overlay_cam(image, cam),
                             f'map of {classes[c + 1]}, max {cam.max():.2f}'))
    if 'gt_instances' in sample:
        masks = sample.gt_instances.masks.numpy()
        numbered = np.zeros(masks.shape[1:], np.uint8)
        for number, mask in enumerate(masks, 1):
            numbered[mask] = number % (IGNORE - 1)
        pictures.append((overlay_mask(image, fit_mask(numbered, size),
                                      voc_palette()[:IGNORE].tolist()),
                         f'{len(masks)} objects'))
    return pictures


def file_pictures(info: dict, palette: Sequence[Sequence[int]],
                  mask_name: str) -> Pictures:
    """What the files of an image hold, before any pipeline.

    Args:
        info (dict): With ``img_path``, ``img_id`` and, if known,
            ``seg_map_path`` and ``saliency_path``.
        palette (Sequence[Sequence[int]]): RGB, K + 1.
        mask_name (str): What the mask is.

    Returns:
        list[tuple[ndarray, str]]: Pictures with captions.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged or of another size than its image.
    """
    img_id = info['img_id']
    image = read_image(info['img_path'], img_id, info.get('window'))
    height, width = image.shape[:2]
    pictures = [(image, f'{Path(info["img_path"]).name}, {height} x {width}')]
    if 'seg_map_path' in info:
        mask = read_true_mask(info)
        pictures.append((overlay_mask(image, mask, palette), mask_name))
    if 'saliency_path' in info:
        saliency = read_saliency(info['saliency_path'], img_id)
        pictures.append((overlay_cam(image, saliency / 255), 'saliency'))
    return pictures


def count_tags(dataset: Any, classes: Sequence[str]) -> dict[str, Any]:
    """Numbers of a data set of images with tags.

    Args:
        dataset (Dataset): Of images with tags, wrapped or not.
        classes (Sequence[str]): K + 1 names, background first.

    Returns:
        dict[str, int | float]: Images, tags per image, and images of each
        class, the most frequent first.
    """
    numbers: Counter = Counter()
    bare = 0
    for i in range(len(dataset)):
        tags = _tags(dataset.get_data_info(i))
        numbers.update(tags)
        bare += not tags
    facts: dict[str, Any] = {
        'images': len(dataset),
        'tags per image': sum(numbers.values()) / max(len(dataset), 1),
        'images without tag': bare
    }
    order = sorted(range(len(classes) - 1), key=lambda c: -numbers[c])
    for c in order[:TOP_CLASSES]:
        facts[f'images of {classes[c + 1]}'] = numbers[c]
    if order[TOP_CLASSES:]:
        facts[f'of {len(order) - TOP_CLASSES} rarer classes, up to'] = \
            numbers[order[TOP_CLASSES]]
    return facts


def spread(total: int, number: int) -> list[int]:
    """Indices that are spread evenly over a data set.

    Args:
        total (int): Its length.
        number (int): How many, at most.

    Returns:
        list[int]: Increasing, without repetition.
    """
    number = min(number, total)
    return [i * total // number for i in range(number)]


def dataset_config(cfg: Config, test_images: bool = False) -> dict:
    """The data set of a config that somebody wants to look at.

    Args:
        cfg (Config): Changed in place where there are no masks.
        test_images (bool): Whether the test images are meant.
            Defaults to False.

    Returns:
        dict: For ``DATASETS.build``.

    Raises:
        ValueError: If the config has no such images.
    """
    if test_images:
        drop_missing_masks(cfg, 'test')
    key = 'test_dataloader' if test_images else 'train_dataloader'
    if cfg.get(key) is None:
        raise ValueError(
            f'{cfg.filename} has no {key}. Look at the config of a training, '
            'e.g. configs/cam/cam_r18_shapes.py.')
    return cfg[key].dataset


def browse_dataset(config: ConfigLike,
                   *,
                   out: PathLike | None = None,
                   test_images: bool = False,
                   raw: bool = False,
                   number: int = 24,
                   views: int = 2,
                   seed: int = 0,
                   cfg_options: Mapping[str, Any] | None = None) -> Path:
    """Write a page of what a config's pipeline makes of its images.

    Args:
        config (str | Path | Config): The config.
        out (str | Path, optional): Folder for the page. Defaults to
            ``{work_dir}/dataset``.
        test_images (bool): Whether the test images are meant instead of the
            training images. Defaults to False.
        raw (bool): Whether to show files as they are. Defaults to False.
        number (int): Images. Defaults to 24.
        views (int): Random views of each. Defaults to 2.
        seed (int): Of the views. Defaults to 0.
        cfg_options (Mapping[str, Any], optional): See
            :func:`~mmwsss.apis.load_config`.

    Returns:
        Path: The page.

    Raises:
        FileNotFoundError: If the config or files of the data are missing.
        ValueError: If the config has no such data, or data are damaged.
    """
    for name, value in (('number', number), ('views', views)):
        if value < 1:
            raise ValueError(f'--{name} must be at least 1, is {value}.')
    cfg = load_config(config, cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    dataset = DATASETS.build(dataset_config(cfg, test_images))
    classes, palette = (dataset.metainfo[k] for k in ('classes', 'palette'))
    which = 'test' if test_images else 'training'
    mask_name = 'true mask' if test_images else 'mask to learn'
    local = any(type(step).__name__ == 'AffinityLabel'
                for step in _steps(dataset))
    gallery = Gallery(
        out or Path(cfg.work_dir) / 'dataset',
        f'{which.capitalize()} images: {Path(cfg.filename).stem}')
    indices = spread(len(dataset), number)
    for i in track(indices, 'drawing samples'):
        info = dataset.get_data_info(i)
        pictures = file_pictures(info, palette, mask_name)
        if not raw:
            # The file itself, then what the pipeline makes of it.
            pictures = pictures[:1]
            for view in range(1 if test_images else views):
                state = int(np.random.SeedSequence(
                    (seed, i, view)).generate_state(1)[0])
                random.seed(state)
                np.random.seed(state)
                torch.manual_seed(state)
                pictures += sample_pictures(dataset[i], classes, palette,
                                            mask_name, local)
        tags = [classes[c + 1] for c in _tags(info)]
        gallery.add_pictures(
            f'{info["img_id"]}: {", ".join(tags) or "no tag"}', pictures)
    note = (f'{len(indices)} of {len(dataset)} images, spread evenly. ' +
            ('As in their files.' if raw else
             'After the pipeline of the config, before normalisation.'))
    page = gallery.write_html(count_tags(dataset, classes), note=note)
    print_log(f'{len(indices)} {which} images: {page}', logger='current')
    return page


def _tags(info: dict[str, Any]) -> list[int]:
    """Class indices of an image."""
    # Wrappers such as ConcatDataset have no get_cat_ids.
    return [int(c) for c in info['gt_label']]


def _steps(dataset: Any) -> Sequence:
    """The transforms of a data set or of the first one that it wraps."""
    while hasattr(dataset, 'dataset') or hasattr(dataset, 'datasets'):
        dataset = getattr(dataset, 'dataset', None) or dataset.datasets[0]
    return dataset.pipeline.transforms
