"""Objects of COCO annotations as pixels: polygons and run lengths.

The pixels of a polygon are those of COCO's own tools, which no fill of OpenCV
or Pillow reproduces. Run lengths are read here: COCO's tools trust them, and
wrong ones would let them write beyond the image.
"""
from typing import Any, NamedTuple

import numpy as np
from pycocotools import mask as coco_mask


class RunLengths(NamedTuple):
    """A region as alternating runs outside and inside, column by column.

    Attributes:
        height (int): Of the image.
        width (int): Of the image.
        counts (ndarray): int32 (r,), the first run lies outside.
    """
    height: int
    width: int
    counts: np.ndarray


#: Either float64 (n, 2) outlines, whose union is meant, or run lengths.
Region = list[np.ndarray] | RunLengths


def parse_region(segmentation: Any) -> Region:
    """Check the ``segmentation`` of an annotation and make it compact.

    Args:
        segmentation (list | dict): Polygons ``[[x, y, x, y, ...], ...]``, or
            ``{'size': [height, width], 'counts': ...}`` with run lengths as
            a list or as the text that pycocotools makes of them.

    Returns:
        list[ndarray] | RunLengths: The region.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(segmentation, dict):
        return _parse_runs(segmentation)
    if not isinstance(segmentation, list):
        raise ValueError('neither a list of polygons nor run lengths')
    polygons = []
    for numbers in segmentation:
        try:
            polygon = np.array(numbers, dtype=np.float64)
        except (TypeError, ValueError):
            polygon = np.zeros(0)
        if polygon.ndim != 1 or not polygon.size or polygon.size % 2:
            raise ValueError('a polygon is no list of x, y, x, y, ...')
        if not np.isfinite(polygon).all():
            raise ValueError('a polygon has coordinates that are no numbers')
        polygons.append(polygon.reshape(-1, 2))
    return polygons


def _parse_runs(segmentation: dict) -> RunLengths:
    size, counts = segmentation.get('size'), segmentation.get('counts')
    if not (isinstance(size, list) and len(size) == 2
            and all(type(s) is int and s > 0 for s in size)):
        raise ValueError("'size' is not [height, width]")
    if isinstance(counts, str):
        counts = _unpack(counts)
    if not (isinstance(counts, list)
            and all(type(c) is int and c >= 0 for c in counts)):
        raise ValueError("'counts' are no run lengths")
    if sum(counts) != size[0] * size[1]:
        raise ValueError(f"'counts' add up to {sum(counts)}, not to the "
                         f'{size[0]} x {size[1]} pixels of its size')
    return RunLengths(*size, np.array(counts, dtype=np.int32))


def _unpack(text: str) -> list[int]:
    """Run lengths from their text.

    A number is written in groups of five bits, lowest first, one per
    character from '0' on; 32 marks that another group follows, and 16 in the
    last one that the number is negative. From the fourth run on the number
    is the difference to the run before last.
    """
    counts: list[int] = []
    number = shift = 0
    for char in text:
        code = ord(char) - 48
        if not 0 <= code < 64:
            raise ValueError(f"'counts' hold the character {char!r}")
        number |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            number -= 1 << shift
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
        number = shift = 0
    if shift:
        raise ValueError("'counts' end in the middle of a number")
    return counts


def paint_region(mask: np.ndarray, region: Region, value: int) -> None:
    """Set the pixels of a region.

    Args:
        mask (ndarray): uint8 (h, w), changed in place.
        region (list[ndarray] | RunLengths): See :func:`parse_region`.
        value (int): What to set them to.

    Raises:
        ValueError: If run lengths belong to another image size.
    """
    height, width = mask.shape
    if isinstance(region, RunLengths):
        if (region.height, region.width) != (height, width):
            raise ValueError(
                f'its run lengths are for {region.height} x {region.width} '
                f'pixels, the image has {height} x {width}')
        inside = np.arange(len(region.counts)) % 2 == 1
        inside = np.repeat(inside, region.counts).reshape(width, height)
        mask.T[inside] = value
        return
    # One or two points enclose nothing.
    outlines = [p.ravel().tolist() for p in region if len(p) > 2]
    if outlines:
        runs = coco_mask.frPyObjects(outlines, height, width)
        mask[coco_mask.decode(coco_mask.merge(runs)).astype(bool)] = value
