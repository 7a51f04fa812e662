"""Label maps that AffinityNet and IRNet learn pixel affinities from."""
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from mmwsss.pseudo_labels.cam_file import cam_path, read_cam
from mmwsss.pseudo_labels.mask_file import IGNORE, labels_from_mask, mask_path
from mmwsss.registry import TRANSFORMS
from mmwsss.utils.read_images import read_mask
from mmwsss.utils.stage_folder import stage_folder


def pool_planes(planes: np.ndarray, stride: int) -> np.ndarray:
    """Mean over square cells.

    Args:
        planes (np.ndarray): (k, H, W), both sides multiples of the stride.
        stride (int): Side of a cell in pixels.

    Returns:
        np.ndarray: (k, H / stride, W / stride).

    Raises:
        ValueError: If a side is no multiple of the stride.
    """
    count, h, w = planes.shape
    if h % stride or w % stride:
        raise ValueError(f'Scores of {h}x{w} pixels do not divide into cells '
                         f'of {stride}x{stride}; choose another crop size.')
    cells = planes.reshape(count, h // stride, stride, w // stride, stride)
    return cells.mean(axis=(2, 4))


def confident_planes(low: np.ndarray,
                     high: np.ndarray,
                     stride: int = 8) -> np.ndarray:
    """Where two refined score maps are sure, and of what (PSA, Sec. 3.2).

    A cell is foreground where the scores made with a strong background
    (``low``) say so, background where those with a weak background say so,
    and ignored otherwise or where there are no scores.

    Args:
        low (np.ndarray): (k + 1, H, W), background first; background scores
            with the low exponent.
        high (np.ndarray): (k + 1, H, W), with the high exponent.
        stride (int): Side of a cell in pixels. Defaults to 8.

    Returns:
        np.ndarray: uint8 (H / stride, W / stride): 0 background, i the
        image's i-th class, 255 ignored.

    Raises:
        ValueError: If a side is no multiple of the stride.
    """
    low, high = (pool_planes(planes, stride) for planes in (low, high))
    label = low.argmax(0).astype(np.uint8)
    label[label == 0] = IGNORE
    label[high.argmax(0) == 0] = 0
    label[np.maximum(low.max(0), high.max(0)) < 1e-5] = IGNORE
    return label


@TRANSFORMS.register_module()
class LoadScores(BaseTransform):
    """Load the refined scores of two background exponents.

    Adds ``low_scores`` and ``high_scores``, float32 (k + 1, H, W) with the
    background first, names them in ``plane_fields`` so that crops and flips
    take them along, and sets ``class_ids`` int64 (k,).

    Score files are CAM files of the foreground planes. Those made with the
    low exponent, the strong background, lie in the dataset's
    ``low_score_dir``, those made with the high one in its
    ``high_score_dir``.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load the scores of one image.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If the dataset names no folder, or a file is damaged
                or belongs to other classes or an image of another size.
        """
        img_id = results['img_id']
        size = tuple(results['ori_shape'])
        files = []
        folders = [
            stage_folder(results, f'{kind}_score_dir', self)
            for kind in ('low', 'high')
        ]
        for folder in folders:
            path = cam_path(folder, img_id)
            if not path.is_file():
                raise FileNotFoundError(
                    f'Image {img_id!r}: no scores {path}. Write them with: '
                    'python tools/refine_cams.py CONFIG --cams CAM_FOLDER '
                    '--out FOLDER')
            scores = read_cam(path, results.get('num_classes'), size)
            if scores.cam.shape[1:] != size:
                raise ValueError(
                    f'Image {img_id!r} is {size} (height, width), the scores '
                    f'{path} are {scores.cam.shape[1:]}. Write them at full '
                    'size with tools/refine_cams.py.')
            files.append(scores)
        low, high = files
        if not np.array_equal(low.class_ids, high.class_ids):
            raise ValueError(
                f'Image {img_id!r}: scores of classes '
                f'{low.class_ids.tolist()} in {folders[0]}, but '
                f'{high.class_ids.tolist()} in {folders[1]}. Both must be '
                'made from the same CAMs.')
        results['class_ids'] = low.class_ids
        for key, scores in (('low_scores', low), ('high_scores', high)):
            background = (1 - scores.cam.sum(0, keepdims=True)).clip(0)
            results[key] = np.concatenate((background, scores.cam))
        results.setdefault('plane_fields', []).extend(
            ('low_scores', 'high_scores'))
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


@TRANSFORMS.register_module()
class AffinityLabel(BaseTransform):
    """Make the label map that AffinityNet trains with.

    Replaces ``low_scores`` and ``high_scores`` by ``gt_seg_map``, see
    :func:`confident_planes`. Must come after all crops and flips.

    Args:
        stride (int): Pixels per cell of the network's features.
            Defaults to 8.
    """

    def __init__(self, stride: int = 8) -> None:
        self.stride = stride

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Make the labels of one sample.

        Raises:
            ValueError: If the image does not divide into cells.
        """
        low, high = (results.pop(key) for key in ('low_scores', 'high_scores'))
        results['plane_fields'] = _without(results['plane_fields'],
                                           ('low_scores', 'high_scores'))
        results['gt_seg_map'] = confident_planes(low, high, self.stride)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(stride={self.stride})'


def _without(names: list[str], gone: tuple) -> list[str]:
    return [name for name in names if name not in gone]


@TRANSFORMS.register_module()
class LoadPseudoMask(BaseTransform):
    """Load ``{mask_dir}/{img_id}.png``, with the dataset's ``mask_dir``.

    Args:
        key (str): What to load it as: ``'gt_seg_map'`` is what a model is
            trained on, ``'seed_map'`` what it starts from at inference,
            beside the true mask. Defaults to 'gt_seg_map'.

    Raises:
        ValueError: If ``key`` is neither.
    """

    def __init__(self, key: str = 'gt_seg_map') -> None:
        if key not in ('gt_seg_map', 'seed_map'):
            raise ValueError("LoadPseudoMask: key is 'gt_seg_map' or "
                             f"'seed_map', not {key!r}.")
        self.key = key

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load one mask.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If the dataset names no folder, or the mask's size or
                values are wrong.
        """
        img_id = results['img_id']
        folder = stage_folder(results, 'mask_dir', self)
        path = mask_path(folder, img_id)
        if not path.is_file():
            raise FileNotFoundError(
                f'Image {img_id!r}: no pseudo mask {path}. Write it with: '
                'python tools/refine_cams.py CONFIG --cams CAM_FOLDER '
                f'--out {folder}')
        mask = read_mask(path, img_id)
        size = tuple(results['ori_shape'])
        if mask.shape != size:
            raise ValueError(
                f'Image {img_id!r} is {size} (height, width) but its pseudo '
                f'mask {path} is {mask.shape}.')
        if 'num_classes' in results:
            # Raises on values that stand for no class.
            labels_from_mask(mask, results['num_classes'], IGNORE, img_id)
        results[self.key] = mask
        results.setdefault('seg_fields', []).append(self.key)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(key={self.key!r})'


@TRANSFORMS.register_module()
class DownscaleLabel(BaseTransform):
    """Shrink ``gt_seg_map`` to the network's grid, to the nearest label.

    As Pillow does it: a cell takes the label of the pixel at its middle. Must
    come after all crops and flips; the image stays as it is.

    Args:
        factor (int): Pixels per cell. Defaults to 4.
    """

    def __init__(self, factor: int = 4) -> None:
        self.factor = factor

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Shrink one label map."""
        label = Image.fromarray(results['gt_seg_map'])
        size = [max(round(s / self.factor), 1) for s in label.size]
        results['gt_seg_map'] = np.asarray(
            label.resize(size, Image.Resampling.NEAREST))
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(factor={self.factor})'
