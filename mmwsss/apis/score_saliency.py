"""Score saliency maps: the work of tools/evaluate_saliency.py."""
import json
from pathlib import Path

import numpy as np

from mmwsss.pseudo_labels.mask_file import mask_path
from mmwsss.utils.io import atomic_write, read_lines
from mmwsss.utils.read_images import read_mask, read_saliency

from .run import PathLike
from .score_masks import mask_confusion


def evaluate_saliency(saliency_dir: PathLike,
                      gt: PathLike,
                      split: PathLike,
                      threshold: int = 127,
                      out: PathLike | None = None) -> dict[str, float]:
    """Compare saliency maps with where true masks show any class.

    Args:
        saliency_dir (str | Path): Folder of ``{img_id}.png``.
        gt (str | Path): Folder of true masks; 0 is background, and pixels
            of 255 do not count.
        split (str | Path): File of image ids.
        threshold (int): Values above it are salient. Defaults to 127.
        out (str | Path, optional): A JSON file for the numbers.

    Returns:
        dict: In percent: ``IoU``, ``precision`` and ``recall`` of all pixels
        of all images together, ``mean_IoU`` over images and ``nothing``,
        the share of maps without a salient pixel; and ``num_images``.

    Raises:
        FileNotFoundError: If a map, a mask or the list is missing.
        ValueError: If a map and its mask differ in size, or no mask shows an
            object.
    """
    ids = read_lines(split)
    if not ids:
        raise ValueError(f'{split} lists no images.')
    counts = []
    for img_id in ids:
        path = mask_path(saliency_dir, img_id)
        salient = read_saliency(path, img_id) > threshold
        mask = read_mask(mask_path(gt, img_id), img_id)
        if salient.shape != mask.shape:
            raise ValueError(
                f'Image {img_id}: the saliency map {path} is {salient.shape} '
                f'(height, width), the true mask is {mask.shape}.')
        true = np.where(mask == 255, 255, mask > 0).astype(np.uint8)
        counts.append(mask_confusion(salient.astype(np.uint8), true, 1))
    # Images x truth x map, without the column of ignored pixels.
    pixels = np.array(counts)[:, :, :2]
    hit = pixels[:, 1, 1]
    union = hit + pixels[:, 0, 1] + pixels[:, 1, 0]
    salient, true = hit + pixels[:, 0, 1], hit + pixels[:, 1, 0]
    if not true.sum():
        raise ValueError(f'The masks in {gt} show no object in any image of '
                         f'{split}.')
    shares = dict(
        IoU=hit.sum() / union.sum(),
        precision=hit.sum() / max(salient.sum(), 1),
        recall=hit.sum() / true.sum(),
        # Nothing found where nothing is: right.
        mean_IoU=np.where(union, hit / np.maximum(union, 1), 1).mean(),
        nothing=(salient == 0).mean())
    result = {name: float(100 * value) for name, value in shares.items()}
    result['num_images'] = len(ids)
    if out is not None:
        with atomic_write(Path(out)) as temp:
            temp.write_text(json.dumps(result, indent=2) + '\n')
    return result
