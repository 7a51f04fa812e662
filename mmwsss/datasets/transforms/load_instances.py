"""True instances, to measure against."""
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from mmwsss.registry import TRANSFORMS
from mmwsss.utils.read_images import read_mask


def separate_instances(numbers: np.ndarray,
                       mask: np.ndarray,
                       ignore_index: int = 255
                       ) -> tuple[np.ndarray, np.ndarray]:
    """Mask and class of every numbered object.

    Args:
        numbers (np.ndarray): Integers (H, W): 0 background, i the i-th
            object, ``ignore_index`` ignored.
        mask (np.ndarray): Integers (H, W): 0 background, c + 1 class c,
            ``ignore_index`` ignored.
        ignore_index (int): Defaults to 255.

    Returns:
        tuple[np.ndarray, np.ndarray]: Masks bool (n, H, W) and classes int64
        (n,), that of most pixels. An object whose class is ignored at all its
        pixels is left out.

    Raises:
        ValueError: If most of an object does not lie on one class.
    """
    masks, labels = [], []
    for number in np.unique(numbers):
        if number in (0, ignore_index):
            continue
        own = numbers == number
        values = mask[own]
        values, count = np.unique(
            values[values != ignore_index], return_counts=True)
        if not len(values):
            continue
        value = int(values[count.argmax()])
        if value == 0 or 2 * count.max() <= count.sum():
            raise ValueError(
                f'object {number} lies on the values {values.tolist()} of the '
                'mask instead of on one class; the two files do not belong '
                'together')
        masks.append(own)
        labels.append(value - 1)
    return (np.array(masks, bool).reshape(-1, *mask.shape),
            np.array(labels, np.int64))


@TRANSFORMS.register_module()
class LoadInstances(BaseTransform):
    """Load ``instance_path`` to measure against; errors name ``img_id``.

    The file numbers the objects, like VOC's ``SegmentationObject``; the mask
    says of which class each is. Adds ``gt_instances``, a dictionary of
    ``masks`` bool (n, H, W) and ``labels`` int64 (n,), at the size of the
    file: put it after ``mmwsss.LoadMask``.

    Args:
        ignore_index (int): Value that is not measured. Defaults to 255.
    """

    def __init__(self, ignore_index: int = 255) -> None:
        self.ignore_index = ignore_index

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load the instances of one image.

        Raises:
            KeyError: If the dataset names no instances or the mask was not
                loaded.
            ValueError: If the file does not fit the mask.
        """
        img_id = results.get('img_id', '?')
        if 'instance_path' not in results:
            raise KeyError(
                f'Image {img_id!r} comes without instances. To measure, set '
                'with_masks=True and data_prefix=dict(instance_path='
                "'SegmentationObject') in the dataset; training must not "
                'load them.')
        if 'gt_seg_map' not in results:
            raise KeyError(
                f'Image {img_id!r}: the mask tells the classes of instances. '
                "Put dict(type='mmwsss.LoadMask') before LoadInstances.")
        path, mask = results['instance_path'], results['gt_seg_map']
        numbers = read_mask(path, img_id)
        if numbers.shape != mask.shape:
            raise ValueError(
                f'Image {img_id!r}: its mask is {mask.shape} (height, width) '
                f'but its instances {path} are {numbers.shape}.')
        try:
            masks, labels = separate_instances(numbers, mask,
                                               self.ignore_index)
        except ValueError as error:
            raise ValueError(f'Image {img_id!r}: {path}: {error}.') from error
        results['gt_instances'] = dict(masks=masks, labels=labels)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(ignore_index={self.ignore_index})'
