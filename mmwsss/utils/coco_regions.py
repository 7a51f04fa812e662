"""Objects of COCO annotations as pixels: polygons and run lengths.

The pixels of a polygon are those of COCO's own tools, which no fill of OpenCV
or Pillow reproduces; nothing has to be compiled for it.
"""
from typing import Any, NamedTuple

import numpy as np

#: Outlines are walked in fifths of a pixel.
_FINE = 5


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
    for polygon in region:
        _paint_polygon(mask, polygon, value)


def _paint_polygon(mask: np.ndarray, polygon: np.ndarray, value: int) -> None:
    """Walk the outline and turn inside out wherever it crosses a column.

    The outline runs through whole fifths of pixels. A column of pixels is
    crossed in the middle of its third fifth; the first pixel whose own third
    fifth is not above the crossing is the first one on the other side.
    """
    height, width = mask.shape
    begin = (_FINE * polygon + 0.5).astype(np.int64)  # Towards zero.
    end = np.roll(begin, -1, axis=0)
    # Each edge steps along its longer axis, towards larger numbers.
    along = (np.abs(end - begin)[:, 1] > np.abs(end - begin)[:, 0]).astype(int)
    rows = np.arange(len(begin))
    back = begin[rows, along] > end[rows, along]
    begin, end = (np.where(back[:, None], a, b)
                  for a, b in ((end, begin), (begin, end)))
    steps = (end - begin)[rows, along]
    slope = (end - begin)[rows, 1 - along] / np.maximum(steps, 1)
    edge = np.repeat(rows, steps)
    t = np.arange(len(edge)) - np.repeat(np.cumsum(steps) - steps, steps)
    across = begin[edge, 1 - along[edge]]
    here = (across + slope[edge] * t + 0.5).astype(np.int64)
    there = (across + slope[edge] * (t + 1) + 0.5).astype(np.int64)
    lower = np.minimum(here, there)
    ahead = begin[edge, along[edge]] + t
    upright = along[edge] == 1
    x = np.where(upright, lower, ahead)
    y = np.where(upright, ahead, lower)
    middle = _FINE // 2
    crosses = (~upright | (here != there)) & (x % _FINE == middle)
    x, y = x[crosses] // _FINE, y[crosses]
    inside = (x >= 0) & (x < width)
    x, y = x[inside], y[inside]
    if not len(x):
        return
    y = np.clip(-((middle - y) // _FINE), 0, height)  # Rounded up.
    left, right = x.min(), x.max() + 1
    size = (right - left) * height
    turns = np.bincount((x - left) * height + y, minlength=size + 1)[:size]
    filled = (np.cumsum(turns) % 2 == 1).reshape(-1, height)
    mask.T[left:right][filled] = value
