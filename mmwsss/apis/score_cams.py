"""Score files of CAMs at every threshold."""
import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.progress import track

from mmwsss.datasets.transforms.load_images import read_true_mask
from mmwsss.evaluation import CAMIoUMetric
from mmwsss.pseudo_labels.cam_file import cam_path, read_cam
from mmwsss.pseudo_labels.class_names import check_stage_classes
from mmwsss.utils.io import atomic_write
from mmwsss.visualization import plot_curve

from .evaluation_data import check_dataset_masks, evaluation_dataset
from .run import ConfigLike, PathLike, load_config


def score_cams(folder: Path, dataset: Any, **metric: Any) -> dict[str, Any]:
    """mIoU of CAMs on disk for all background thresholds.

    Maps smaller than their mask are enlarged bilinearly.

    Args:
        folder (Path): Of CAM files, one for every image of the data.
        dataset (ImageLevelDataset): With masks.
        **metric: Arguments of :class:`~mmwsss.evaluation.CAMIoUMetric`.

    Returns:
        dict: ``CAMIoUMetric.curve``.

    Raises:
        FileNotFoundError: If an image has no file; names it.
        ValueError: If a file is damaged or belongs to another image, or the
            maps were made for other classes.
    """
    check_stage_classes(folder, dataset.metainfo['classes'])
    metric.setdefault('split', getattr(dataset, 'split', None))
    scorer = CAMIoUMetric(**metric)
    scorer.dataset_meta = dataset.metainfo
    for i in track(range(len(dataset)), 'scoring CAMs'):
        info = dataset.get_data_info(i)
        mask = read_true_mask(info)
        content = read_cam(
            cam_path(folder, info['img_id']), info['num_classes'], mask.shape)
        cams = torch.from_numpy(content.cam)
        if cams.shape[1:] != mask.shape:
            cams = F.interpolate(
                cams[None], mask.shape, mode='bilinear',
                align_corners=False)[0] if len(cams) else cams.new_zeros(
                    0, *mask.shape)
        scorer.process({}, [
            dict(
                img_id=info['img_id'],
                cams=cams,
                class_ids=content.class_ids,
                gt_sem_seg=dict(data=mask[None]),
                gt_label=dict(label=info['gt_label']))
        ])
    scorer.evaluate(len(dataset))
    return scorer.curve


def evaluate_cams(cams: PathLike,
                  config: ConfigLike,
                  *,
                  train_images: bool = False,
                  split: str | None = None,
                  threshold: float | None = None,
                  out: PathLike | None = None) -> dict[str, Any]:
    """Score a folder of CAMs with the true masks of a config's data.

    Args:
        cams (str | Path): The folder.
        config (str | Path | Config): The config.
        train_images (bool): Whether the training images are meant instead of
            the test images. Defaults to False.
        split (str, optional): Another list of images, relative to the data
            root.
        threshold (float, optional): Fixed background threshold. Defaults to
            that of the config's ``CAMIoUMetric``.
        out (str | Path, optional): JSON file for the result; the curve is
            drawn beside it.

    Returns:
        dict: ``CAMIoUMetric.curve``.

    Raises:
        FileNotFoundError: If the config or files of the data are missing.
        ValueError: If CAMs are missing, damaged or of other classes.
    """
    cfg = load_config(config)
    dataset = evaluation_dataset(cfg, train_images, split)
    for part in getattr(dataset, 'datasets', [dataset]):
        check_dataset_masks(part)
    settings = dict(cfg.test_evaluator) if cfg.get('test_evaluator') else {}
    if settings.pop('type', None) != 'mmwsss.CAMIoUMetric':
        settings = {}
    if threshold is not None:
        settings['fixed_threshold'] = threshold
    curve = score_cams(Path(cams), dataset, **settings)
    if out is not None:
        out = Path(out)
        content = dict(cams=str(cams), config=cfg.filename, metrics=curve)
        with atomic_write(out) as temp:
            temp.write_text(json.dumps(content, indent=2) + '\n')
        plot_curve(out.with_suffix('.png'), curve)
    return curve
