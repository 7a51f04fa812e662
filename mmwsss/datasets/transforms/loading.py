"""Images and masks from files, with errors that name the image."""
import io
from pathlib import Path
from typing import Any, Dict, Optional, Union

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from PIL import UnidentifiedImageError

from mmwsss.datasets.image_labels import labels_from_mask
from mmwsss.registry import TRANSFORMS
from mmwsss.utils.io import open_picture

#: What Pillow raises at files that are no whole image.
_BROKEN = (UnidentifiedImageError, OSError, SyntaxError, ValueError)


def read_image(path: Union[str, Path], img_id: str) -> np.ndarray:
    """Read any image file as 8-bit BGR.

    Grey, 16-bit, palette, RGBA and CMYK files are converted; EXIF rotation is
    not applied, because masks and boxes belong to the stored pixels.

    Args:
        path (str | Path): The file.
        img_id (str): Named in errors.

    Returns:
        np.ndarray: uint8 (h, w, 3).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no complete image.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'Image {img_id!r}: no file {path}. Restore it or take the id '
            'off the list.') from error
    except OSError as error:  # A folder, no permission, ..
        raise ValueError(f'Image {img_id!r}: {path} cannot be read '
                         f'({error.strerror}). Replace the file or take the '
                         'id off the list.') from error
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        # OpenCV fills the rows that a cut-off file lacks with grey and says
        # nothing; Pillow raises, but decoding twice is only worth it where
        # the end of the file looks wrong.
        if not _ends_well(data):
            with open_picture(io.BytesIO(data)) as probe:
                probe.load()
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
        if image is None:
            raise ValueError('OpenCV cannot decode it')
    except (*_BROKEN, cv2.error) as error:
        reason = 'unknown format' if isinstance(
            error, UnidentifiedImageError) else error
        raise ValueError(
            f'Image {img_id!r}: {path} is corrupt or no image ({reason}). '
            'Replace the file or take the id off the list.') from error
    return image


def read_saliency(path: Union[str, Path], img_id: str) -> np.ndarray:
    """Read a saliency map.

    Args:
        path (str | Path): 8-bit image, PNG or JPEG, grey or in equal
            colours; of a palette image the indices count. White of a 1-bit
            image is 255.
        img_id (str): Named in errors.

    Returns:
        np.ndarray: uint8 (h, w).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no 8-bit image.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f'Image {img_id!r}: no saliency map {path}. Restore it or take '
            'the id off the list.')
    try:
        with open_picture(path) as picture:
            mode = picture.mode
            saliency = np.array(
                picture.convert('L') if mode in ('RGB', '1') else picture)
    except _BROKEN as error:
        raise ValueError(f'Image {img_id!r}: the saliency map {path} is '
                         f'corrupt ({error}).') from error
    if mode not in ('1', 'L', 'P', 'RGB'):
        raise ValueError(
            f'Image {img_id!r}: the saliency map {path} has mode {mode}; '
            'saliency maps are 8-bit grey images. Save it as one.')
    return saliency.astype(np.uint8)


def _ends_well(data: bytes) -> bool:
    """Whether a file is a JPEG or PNG with its end marker in place."""
    for begin, end in ((b'\xff\xd8', b'\xff\xd9'), (b'\x89PNG', b'IEND')):
        if data.startswith(begin):
            return end in data[-64:]
    return False


def read_mask(path: Union[str, Path], img_id: str) -> np.ndarray:
    """Read a mask of class indices.

    Args:
        path (str | Path): 8-bit palette or grey PNG.
        img_id (str): Named in errors.

    Returns:
        np.ndarray: uint8 (h, w), values as stored.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no single-channel 8-bit image.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'Image {img_id!r}: no mask {path}.')
    try:
        with open_picture(path) as picture:
            mode = picture.mode
            mask = np.array(picture)
    except _BROKEN as error:
        raise ValueError(f'Image {img_id!r}: the mask {path} is corrupt '
                         f'({error}).') from error
    if mode not in ('P', 'L') or mask.ndim != 2:
        raise ValueError(
            f'Image {img_id!r}: the mask {path} has mode {mode}; masks are '
            '8-bit palette or grey images of class indices, not colours.')
    return mask


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Load ``img_path`` as 8-bit BGR; errors name ``img_id``.

    Adds ``img``, ``img_shape``, ``ori_shape``.

    Args:
        to_float32 (bool): Whether the image becomes float32, so that resizing
            does not round. Defaults to False.
    """

    def __init__(self, to_float32: bool = False) -> None:
        self.to_float32 = to_float32

    def transform(self, results: Dict[str, Any]) -> Dict[str, Any]:
        """Load one image."""
        path = results['img_path']
        image = read_image(path, results.get('img_id', Path(path).stem))
        results['ori_shape'] = results['img_shape'] = image.shape[:2]
        results['img'] = image.astype(np.float32) if self.to_float32 else image
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(to_float32={self.to_float32})'


@TRANSFORMS.register_module()
class LoadMask(BaseTransform):
    """Load ``seg_map_path`` to measure against; errors name ``img_id``.

    Adds ``gt_seg_map`` (h, w), unresized. Training datasets of stage 1 have
    no ``seg_map_path``; this transform refuses to run on them.

    Args:
        ignore_index (int): Value that is not measured. Defaults to 255.
    """

    def __init__(self, ignore_index: int = 255) -> None:
        self.ignore_index = ignore_index

    def transform(self, results: Dict[str, Any]) -> Dict[str, Any]:
        """Load one mask.

        Raises:
            KeyError: If the dataset gives no masks.
            ValueError: If size or values are wrong.
        """
        img_id = results.get('img_id', '?')
        if 'seg_map_path' not in results:
            raise KeyError(
                f'Image {img_id!r} comes without a mask. To measure, set '
                'with_masks=True in the dataset; training from tags must not '
                'load masks.')
        mask = read_mask(results['seg_map_path'], img_id)
        # Without an image there is nothing to compare with.
        size = tuple(results.get('ori_shape', mask.shape))
        if mask.shape != size:
            raise ValueError(
                f'Image {img_id!r} is {size} (height, width) but its mask '
                f'{results["seg_map_path"]} is {mask.shape}.')
        if 'num_classes' in results:
            # Raises on values that stand for no class.
            labels_from_mask(mask, results['num_classes'], self.ignore_index,
                             img_id)
        results['gt_seg_map'] = mask
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(ignore_index={self.ignore_index})'


@TRANSFORMS.register_module()
class LoadSaliency(BaseTransform):
    """Load ``saliency_path``; errors name ``img_id``.

    Adds ``gt_saliency`` (h, w), 1 = salient, as a seg field, so that
    what resizes, flips or crops the image takes it along: put it right after
    ``LoadImage``, in a test pipeline after the resize, because results are
    compared at the image's own size.

    Args:
        threshold (int, optional): Values above it are salient, and the
            result is uint8, 0 or 1. Raise it for soft maps, and for JPEG
            files, which are not quite 0 beside an object. None keeps the
            grey levels, float32 in [0, 1], as EPS wants them.
            Defaults to 0, as in GETAM.
    """

    def __init__(self, threshold: Optional[int] = 0) -> None:
        if threshold is not None and not 0 <= threshold < 255:
            raise ValueError('LoadSaliency: threshold must lie in [0, 255), '
                             f'is {threshold}.')
        self.threshold = threshold

    def transform(self, results: Dict[str, Any]) -> Dict[str, Any]:
        """Load one saliency map.

        Raises:
            KeyError: If the dataset names no saliency maps.
            ValueError: If it has another size than the image.
        """
        img_id = results.get('img_id', '?')
        if 'saliency_path' not in results:
            raise KeyError(
                f'Image {img_id!r} comes without a saliency map. Say where '
                'they are in the dataset: data_prefix=dict(saliency_path='
                "'FOLDER').")
        path = results['saliency_path']
        saliency = read_saliency(path, img_id)
        size = tuple(results.get('ori_shape', saliency.shape))
        if saliency.shape != size:
            raise ValueError(
                f'Image {img_id!r} is {size} (height, width) but its saliency '
                f'map {path} is {saliency.shape}. Resize the map to the '
                'image, to the nearest.')
        if self.threshold is None:
            saliency = saliency.astype(np.float32) / 255
        else:
            saliency = (saliency > self.threshold).astype(np.uint8)
        results['gt_saliency'] = saliency
        results.setdefault('seg_fields', []).append('gt_saliency')
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(threshold={self.threshold})'
