"""Transforms that load images, masks and saliency maps of a dataset."""
import logging
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.logging import print_log

from mmwsss.datasets.mask_values import translate_mask
from mmwsss.pseudo_labels.mask_file import labels_from_mask
from mmwsss.registry import TRANSFORMS
from mmwsss.utils.read_images import read_image, read_mask, read_saliency


def read_true_mask(info: dict[str, Any]) -> np.ndarray:
    """Read the mask that a data set names, in the values that are used here.

    Args:
        info (dict): Of ``get_data_info``: ``seg_map_path``, ``img_id`` and
            ``label_map``, the data set's ``mask_values``.

    Returns:
        np.ndarray: uint8 (h, w).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no mask, or holds values that the data set's
            ``mask_values`` do not name.
    """
    img_id = info.get('img_id', '?')
    mask = read_mask(info['seg_map_path'], img_id)
    if info.get('label_map'):
        mask = translate_mask(mask, info['label_map'], img_id)
    return mask


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Load ``img_path`` as 8-bit BGR; errors name ``img_id``.

    ``window``, where the dataset has one, says which values of images of
    more than 8 bits are black and white. Adds ``img``, ``img_shape``,
    ``ori_shape``.

    Args:
        to_float32 (bool): Whether the image becomes float32, so that resizing
            does not round. Defaults to False.
    """

    def __init__(self, to_float32: bool = False) -> None:
        self.to_float32 = to_float32

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load one image."""
        path = results['img_path']
        image = read_image(path, results.get('img_id', Path(path).stem),
                           results.get('window'))
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

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load one mask.

        Raises:
            KeyError: If the dataset gives no masks.
            ValueError: If size or values are wrong.
        """
        img_id = results.get('img_id', '?')
        if 'seg_map_path' not in results:
            if 'img_id' not in results:
                # An image from nowhere, as mmseg.apis give it: the test
                # pipeline then serves to predict.
                return results
            raise KeyError(
                f'Image {img_id!r} comes without a mask. To measure, set '
                'with_masks=True in the dataset; training from tags must not '
                'load masks.')
        mask = read_true_mask(results)
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
            grey levels, float32 in [0, 1], as EPS does with maps that are
            nearly binary. A map that is nowhere 0 is soft; then 0 and None
            warn once.
            Defaults to 0, as in GETAM.
    """

    def __init__(self, threshold: int | None = 0) -> None:
        if threshold is not None and not 0 <= threshold < 255:
            raise ValueError('LoadSaliency: threshold must lie in [0, 255), '
                             f'is {threshold}.')
        self.threshold = threshold
        self._warned = False

    def _warn_of_soft_map(self, saliency: np.ndarray, img_id: str) -> None:
        """Where nothing is quite 0, a detector gave probabilities."""
        if (self.threshold or self._warned or not saliency.size
                or not 0 < saliency.min() < saliency.max()):
            return
        self._warned = True
        print_log(
            f'The saliency map of image {img_id!r} is nowhere 0, its lowest '
            f'value is {saliency.min()}: it is a soft map. '
            + ('All of the image would be salient.' if self.threshold == 0
               else 'EPS learns its grey levels, also those of the '
               'background, and CAMs may spread over it.')
            + " Set dict(type='mmwsss.LoadSaliency', threshold=127).",
            logger='current',
            level=logging.WARNING)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load one saliency map.

        Raises:
            KeyError: If the dataset names no saliency maps.
            ValueError: If it has another size than the image.
        """
        img_id = results.get('img_id', '?')
        if 'saliency_path' not in results:
            if 'img_id' not in results:
                return results  # As in LoadMask.
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
        self._warn_of_soft_map(saliency, img_id)
        if self.threshold is None:
            saliency = saliency.astype(np.float32) / 255
        else:
            saliency = (saliency > self.threshold).astype(np.uint8)
        results['gt_saliency'] = saliency
        results.setdefault('seg_fields', []).append('gt_saliency')
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(threshold={self.threshold})'
