"""Score a folder of masks: the work of tools/evaluate_masks.py."""
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import (
    Any,
)

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.datasets import PascalVOCDataset
from prettytable import PrettyTable

from mmwsss.datasets.mask_values import parse_mask_values
from mmwsss.datasets.transforms.load_images import read_true_mask
from mmwsss.evaluation.functional import (
    curve_from_confusion,
    mean_of,
    unmeasured,
    unmeasured_text,
)
from mmwsss.pseudo_labels.class_names import check_stage_classes
from mmwsss.pseudo_labels.mask_file import labels_from_mask, mask_path
from mmwsss.registry import DATASETS
from mmwsss.utils.io import atomic_write, read_lines
from mmwsss.utils.read_images import read_mask

from .evaluation_data import check_dataset_masks, evaluation_dataset
from .run import ConfigLike, PathLike, load_config


def mask_confusion(pred: np.ndarray,
                   gt: np.ndarray,
                   num_classes: int,
                   ignore_index: int = 255) -> np.ndarray:
    """Confusions of one image; pixels without true label do not count.

    Args:
        pred (ndarray): uint8 (H, W): 0..K or ``ignore_index``.
        gt (ndarray): uint8 (H, W), likewise.
        num_classes (int): K, background not counted.
        ignore_index (int): Defaults to 255.

    Returns:
        ndarray: int64 (K + 1, K + 2), true label by mask; the last column
        counts what the mask ignores.
    """
    counted = gt != ignore_index
    truth = gt[counted].astype(np.int64)
    shown = pred[counted].astype(np.int64)
    shown[shown == ignore_index] = num_classes + 1
    columns = num_classes + 2
    counts = np.bincount(
        truth * columns + shown, minlength=(num_classes + 1) * columns)
    return counts.reshape(num_classes + 1, columns)


def summarize(confusion: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Numbers of a data set from the summed confusions.

    Args:
        confusion (ndarray): int64 (K + 1, K + 2), see
            :func:`mask_confusion`.
        classes (Sequence[str]): K + 1 names, background first.

    Returns:
        dict: In percent, ``mIoU``, ``mFP`` and ``mFN`` (shares of the union,
        averaged over the classes), ``IoU`` per class name (None where a
        class neither occurs nor is predicted, which leaves it out of the
        means), and ``ignored``, the share of pixels that the masks ignore.
        These pixels count for nothing above, except in
        ``mIoU_ignored_as_background``, the convention of IRN.
    """
    curve = curve_from_confusion(confusion[:, :-1])
    filled = confusion[:, :-1].copy()
    filled[:, 0] += confusion[:, -1]
    iou = curve.iou[0]
    return dict(
        mIoU=float(curve.miou[0]),
        mFP=float(curve.mfp[0]),
        mFN=float(curve.mfn[0]),
        ignored=float(100 * confusion[:, -1].sum() / max(confusion.sum(), 1)),
        mIoU_ignored_as_background=float(
            mean_of(curve_from_confusion(filled).iou[0])),
        IoU={
            name: None if np.isnan(x) else float(x)
            for name, x in zip(classes, iou)
        })


def score_masks(mask_dir: str,
                truth: Iterable[tuple[str, str]],
                classes: Sequence[str],
                ignore_index: int = 255,
                values: dict[int, int] | None = None,
                tags: dict[str, Sequence[int]] | None = None,
                values_of: dict[str, dict[int, int] | None] | None = None
                ) -> dict[str, Any]:
    """Compare a folder of masks with true ones.

    Args:
        mask_dir (str): Folder of ``{img_id}.png``.
        truth (Iterable[tuple[str, str]]): Image ids and paths of the true
            masks.
        classes (Sequence[str]): K + 1 names, background first.
        ignore_index (int): Defaults to 255.
        values (dict[int, int], optional): What values of the true masks
            stand for, see
            :func:`~mmwsss.datasets.mask_values.parse_mask_values`.
        tags (dict[str, Sequence[int]], optional): Classes of the images,
            which true masks must show.
        values_of (dict[str, dict], optional): Instead of ``values``, those
            of each image: joined data sets may differ.

    Returns:
        dict: See :func:`summarize`, and ``num_images``.

    Raises:
        FileNotFoundError: If masks are missing, naming images.
        ValueError: If a mask has another size than the true one or values
            that stand for no class, naming the image; if the true masks
            never show the classes, or the masks ignore all pixels, so that
            there is nothing to average; if the masks were made for other
            classes.
    """
    check_stage_classes(mask_dir, classes)
    truth = list(truth)
    paths = {img_id: mask_path(mask_dir, img_id) for img_id, _ in truth}
    missing = [i for i, path in paths.items() if not path.is_file()]
    if missing:
        more = f' and {len(missing) - 5} more' if len(missing) > 5 else ''
        raise FileNotFoundError(
            f'{len(missing)} of {len(truth)} image(s) have no mask in '
            f'{mask_dir}: {", ".join(missing[:5])}{more}. Write them with '
            'tools/refine_cams.py or tools/test.py --out. Masks of the '
            'training images of a config are scored with --train-images, '
            'those of another list with --split.')
    num_classes = len(classes) - 1
    confusion = np.zeros((num_classes + 1, num_classes + 2), np.int64)
    for img_id, true_path in truth:
        pred = read_mask(paths[img_id], img_id)
        own = values if values_of is None else values_of[img_id]
        gt = read_true_mask(
            dict(seg_map_path=true_path, img_id=img_id, label_map=own))
        if pred.shape != gt.shape:
            raise ValueError(
                f'Image {img_id}: the mask {paths[img_id]} is {pred.shape} '
                f'(height, width), the true one {true_path} is {gt.shape}.')
        for mask in (pred, gt):
            # Raises on values that stand for no class.
            labels_from_mask(mask, num_classes, ignore_index, img_id)
        confusion += mask_confusion(pred, gt, num_classes, ignore_index)
    pixels = confusion.sum(axis=1)
    tagged = np.zeros(num_classes + 1, np.int64)
    for img_id, _ in truth:
        tagged[1:][list((tags or {}).get(img_id, ()))] += 1
    lacking = unmeasured(pixels, tagged)
    if lacking:
        raise ValueError(
            unmeasured_text(classes, pixels, tagged, lacking, len(truth)))
    if not confusion[:, :-1].any():
        raise ValueError(
            f'The masks in {mask_dir} ignore (255) every pixel that has a '
            'true label, so there is nothing to average. Are 255 and a class '
            'mixed up in them?')
    return dict(summarize(confusion, classes), num_images=len(truth))


def read_classes(source: str) -> list[str]:
    """Class names, background first.

    Args:
        source (str): ``'voc'``, or a file with a name per line; a first line
            'background' may be left out.

    Returns:
        list[str]: K + 1 names.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has no names.
    """
    if source == 'voc':
        return list(PascalVOCDataset.METAINFO['classes'])
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"There is no list of class names {path}; "
                                "'voc' stands for those of PASCAL VOC.")
    names = read_lines(path)
    if names[:1] != ['background']:
        names.insert(0, 'background')
    if len(names) < 2:
        raise ValueError(f'{path} names no class.')
    return names


def _from_config(cfg: Config, train_images: bool,
                 split: str | None) -> tuple[list[dict], list[str]]:
    """Images with true masks, and class names, of a config's data set."""
    if cfg.get('refine_dataset') is None or train_images:
        dataset = evaluation_dataset(cfg, train_images, split)
    else:
        init_default_scope(cfg.get('default_scope', 'mmseg'))
        source = {**cfg.refine_dataset, 'with_masks': True, 'pipeline': []}
        if split is not None:
            source['ann_file'] = split
        dataset = DATASETS.build(source)
    for part in getattr(dataset, 'datasets', [dataset]):
        check_dataset_masks(part)
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return infos, list(dataset.metainfo['classes'])


def _from_folder(gt: PathLike, split: PathLike) -> list[tuple[str, Path]]:
    """Ids of a list, with true masks of a folder."""
    path = Path(split)
    if not path.is_file():
        raise FileNotFoundError(f'There is no split list {path}.')
    ids = read_lines(path)
    if not ids:
        raise ValueError(f'The split {path} is empty.')
    if not Path(gt).is_dir():
        raise FileNotFoundError(f'There is no folder of true masks {gt}.')
    return [(i, mask_path(gt, i)) for i in ids]


def subset_iou(iou: dict[str, float | None],
               names: Sequence[str]) -> float:
    """Mean IoU of some classes.

    Args:
        iou (dict[str, float | None]): IoU per class; None where a class
            neither occurs nor is predicted, which leaves it out.
        names (Sequence[str]): The classes that count.

    Returns:
        float: NaN if none of them occurs.

    Raises:
        ValueError: If there is no such class.
    """
    unknown = [name for name in names if name not in iou]
    if unknown:
        raise ValueError(f'--report-classes: there is no class {unknown[0]!r} '
                         f'among {", ".join(iou)}.')
    values = [iou[name] for name in names if iou[name] is not None]
    return float(np.mean(values)) if values else float('nan')


def result_table(result: dict[str, Any]) -> PrettyTable:
    """A result as a table.

    Args:
        result (dict): Of :func:`score_masks`.

    Returns:
        PrettyTable: IoU per class in percent.
    """
    table = PrettyTable(['class', 'IoU'])
    table.align, table.align['class'] = 'r', 'l'
    for name, iou in result['IoU'].items():
        table.add_row([name, '-' if iou is None else f'{iou:.2f}'])
    return table


def summary(result: dict[str, Any]) -> str:
    """A result in one line.

    Args:
        result (dict): Of :func:`evaluate_masks`.

    Returns:
        str: Percentages.
    """
    text = (f'{result["num_images"]} images: mIoU {result["mIoU"]:.2f}, '
            f'mFP {result["mFP"]:.2f}, mFN {result["mFN"]:.2f}')
    if 'mIoU_subset' in result:
        text += ('; mIoU of the reported classes '
                 f'{result["mIoU_subset"]:.2f}')
    if result['ignored']:
        text += (f'; {result["ignored"]:.2f} % of the pixels are ignored, '
                 'mIoU with these as background '
                 f'{result["mIoU_ignored_as_background"]:.2f}')
    return text


def evaluate_masks(mask_dir: PathLike,
                   config: ConfigLike | None = None,
                   *,
                   train_images: bool = False,
                   gt: PathLike | None = None,
                   split: PathLike | None = None,
                   classes: str | Sequence[str] | None = None,
                   mask_values: Sequence[str] | None = None,
                   report_classes: Sequence[str] | None = None,
                   out: PathLike | None = None,
                   cfg_options: Mapping[str, Any] | None = None
                   ) -> dict[str, Any]:
    """Score a folder of masks.

    Args:
        mask_dir (str | Path): The folder.
        config (str | Path | Config, optional): Says where the true masks are
            and what the classes are called; else ``gt``, ``split`` and
            ``classes`` do.
        train_images (bool): Whether the training images of the config are
            meant instead of the test images. Defaults to False.
        gt (str | Path, optional): Folder of true masks.
        split (str | Path, optional): List of images; with ``config`` relative
            to its data root.
        classes (Sequence[str] | str, optional): Class names, background
            first, or what :func:`read_classes` takes.
        mask_values (Sequence[str], optional): ``VALUE=CLASS`` of true masks
            whose values are others.
        report_classes (Sequence[str], optional): Classes whose mean IoU is
            reported as well, ``mIoU_subset``.
        out (str | Path, optional): JSON file for the result.
        cfg_options (Mapping[str, Any], optional): See ``load_config``.

    Returns:
        dict: See :func:`score_masks`.

    Raises:
        FileNotFoundError: If folders, lists or masks are missing.
        ValueError: If arguments are missing or a mask does not fit.
    """
    if config is not None:
        if gt is not None or classes is not None:
            raise ValueError('--config says where the true masks are and '
                             'what the classes are called; leave --gt and '
                             '--classes out.')
        if mask_values:
            raise ValueError('--config says what the values of the true '
                             'masks stand for (mask_values of its data set); '
                             'leave --mask-values out.')
        infos, classes = _from_config(
            load_config(config, cfg_options), train_images, split)
        truth = [(x['img_id'], x['seg_map_path']) for x in infos]
        tags = {x['img_id']: x['gt_label'] for x in infos}
        values, values_of = None, {x['img_id']: x['label_map'] for x in infos}
    elif None in (gt, split, classes):
        raise ValueError('Give either --config, or all of --gt, --split and '
                         '--classes.')
    else:
        truth = _from_folder(gt, split)
        if isinstance(classes, str):
            classes = read_classes(classes)
        if not mask_values:
            check_stage_classes(gt, classes)
        tags, values, values_of = None, None, None
        if mask_values:
            values = parse_mask_values(mask_values, classes[1:])
    result = score_masks(
        mask_dir, truth, classes, values=values, tags=tags,
        values_of=values_of)
    if report_classes:
        result['mIoU_subset'] = subset_iou(result['IoU'], report_classes)
    if out is not None:
        content = dict(
            masks=str(mask_dir),
            config=str(config) if config else None,
            metrics=result)
        with atomic_write(out) as temp:
            temp.write_text(json.dumps(content, indent=2) + '\n')
    return result
