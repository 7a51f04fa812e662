"""Regions of masks: outlines and run lengths, there and back.

Coordinates are those of continuous images: the pixel in row y and column x
covers [x, x + 1) x [y, y + 1), so that an outline of whole numbers is exact.
"""
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from pycocotools import mask as coco_mask

#: Labels that are no classes, as LabelMe calls them; and their mask values.
SPECIAL = {'_background_': 0, '__ignore__': 255}
IGNORE_LABEL = '__ignore__'


@dataclass
class Region:
    """Some pixels of an image.

    Attributes:
        label (str): Name of the class, or one of ``SPECIAL``.
        mask (ndarray): bool (H, W).
    """
    label: str
    mask: np.ndarray


@dataclass
class AnnotatedImage:
    """What an annotation file says about an image.

    Attributes:
        name (str): As the file names it.
        size (tuple[int, int]): Height and width.
        regions (list[Region]): Later ones lie on top.
        notes (list[str]): What could not be used.
    """
    name: str
    size: tuple[int, int]
    regions: list[Region]
    notes: list[str] = field(default_factory=list)


def label_values(classes: Sequence[str]) -> dict[str, int]:
    """Mask values of labels.

    Args:
        classes (Sequence[str]): The K names without background.

    Returns:
        dict[str, int]: c + 1 for class c, 0 and 255 for ``SPECIAL``.
    """
    values = {name: c for c, name in enumerate(classes, 1)}
    return {**SPECIAL, 'background': 0, **values}


def split_mask(mask: np.ndarray,
               classes: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    """A region per class.

    Args:
        mask (ndarray): uint8 (H, W), 0 background, c + 1 class c, 255
            ignored.
        classes (Sequence[str]): The K names.

    Yields:
        tuple[str, ndarray]: Label and bool (H, W); ignored pixels last.
    """
    for value in np.unique(mask):
        if value:
            label = IGNORE_LABEL if value == 255 else classes[value - 1]
            yield label, mask == value


def paint(regions: Iterable[Region], size: tuple[int, int],
          values: Mapping[str, int], where: str) -> np.ndarray:
    """Put regions into a mask, one over the other.

    Args:
        regions (Iterable[Region]): The last is on top.
        size (tuple[int, int]): Height and width.
        values (Mapping[str, int]): Of :func:`label_values`.
        where (str): The image, for messages.

    Returns:
        ndarray: uint8 (H, W).

    Raises:
        ValueError: If a label is unknown.
    """
    mask = np.zeros(size, np.uint8)
    for region in regions:
        if region.label not in values:
            names = [n for n in values if n not in SPECIAL]
            raise ValueError(f'{where} has a region of the unknown class '
                             f'{region.label!r}. Known classes: '
                             f'{", ".join(names)}.')
        mask[region.mask] = values[region.label]
    return mask


# ------------------------------------------------------------------ outlines
def outlines(mask: np.ndarray, tolerance: float = 0.) -> list[np.ndarray]:
    """Outlines of the connected parts of a region.

    A part's holes are joined with its outside by a cut without width, so
    that one closed line, filled by the even-odd rule, gives the part.

    Args:
        mask (ndarray): bool (H, W).
        tolerance (float): How far, in pixels, a simplified outline may be
            from the true one. 0 is exact. Defaults to 0.

    Returns:
        list[ndarray]: float (n, 2) of x and y per part, n >= 3.
    """
    count, parts = cv2.connectedComponents(
        np.ascontiguousarray(mask, np.uint8), connectivity=4)
    result = []
    for number in range(1, count):
        rows, columns = (np.flatnonzero((parts == number).any(axis))
                         for axis in (1, 0))
        top, left = rows[0], columns[0]
        part = parts[top:rows[-1] + 1, left:columns[-1] + 1] == number
        rings = [_simplified(ring, tolerance) for ring in _rings(part)]
        result.append(_joined(rings) + (left, top))
    return result


def _rings(part: np.ndarray) -> list[np.ndarray]:
    """Corners of the outside, then of the holes; int (n, 2) of x and y."""
    # OpenCV's contours run through the middle of border pixels. Of pixels
    # three times as large, the corners can be told from them.
    large = np.repeat(np.repeat(part.astype(np.uint8), 3, 0), 3, 1)
    large = np.pad(large, 1)
    found, tree = cv2.findContours(large, cv2.RETR_CCOMP,
                                   cv2.CHAIN_APPROX_NONE)[-2:]
    rings = []
    for contour, (_, _, _, parent) in zip(found, tree.reshape(-1, 4)):
        corners = contour.reshape(-1, 2) // 3  # 1 for the padding, 1 for +1
        rings.append((parent >= 0, _without_middle(corners)))
    return [ring for _, ring in sorted(rings, key=lambda r: r[0])]


def _without_middle(points: np.ndarray) -> np.ndarray:
    """Corners alone of a closed line of horizontal and vertical pieces."""
    points = points[(points != np.roll(points, 1, 0)).any(1)]
    before = points - np.roll(points, 1, 0)
    after = np.roll(points, -1, 0) - points
    turns = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
    # A line that goes back on itself turns, too.
    turns |= (before * after).sum(1) < 0
    return points[turns]


def _simplified(ring: np.ndarray, tolerance: float) -> np.ndarray:
    if tolerance <= 0 or len(ring) <= 4:
        return ring
    simple = cv2.approxPolyDP(
        ring.astype(np.float32).reshape(-1, 1, 2), tolerance, True)
    return simple.reshape(-1, 2) if len(simple) > 2 else ring


def _joined(rings: list[np.ndarray]) -> np.ndarray:
    """One closed line of an outside and its holes."""
    line = rings[0].astype(np.float64)
    for hole in rings[1:]:
        hole = hole.astype(np.float64)
        apart = np.abs(line[:, None] - hole[None]).sum(2)
        i, j = np.unravel_index(apart.argmin(), apart.shape)
        hole = np.concatenate((hole[j:], hole[:j + 1]))
        line = np.concatenate((line[:i + 1], hole, line[i:]))
    return line


def fill(points: Sequence[Sequence[float]],
         size: tuple[int, int]) -> np.ndarray:
    """The pixels inside an outline, by COCO's rule.

    Args:
        points (Sequence): (n, 2) of x and y, n >= 3.
        size (tuple[int, int]): Height and width.

    Returns:
        ndarray: bool (H, W).

    Raises:
        ValueError: If there are less than three points, or no numbers.
    """
    try:
        points = np.asarray(points, np.float64).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise ValueError(f'an outline is no list of points ({error})') \
            from error
    if len(points) < 3 or not np.isfinite(points).all():
        raise ValueError('an outline needs three points at least, all of '
                         'them finite')
    runs = coco_mask.frPyObjects([points.ravel().tolist()], *size)
    return coco_mask.decode(runs)[..., 0].astype(bool)


def box_points(left: float,
               top: float,
               width: float,
               height: float,
               degrees: float = 0.,
               pivot: tuple[float, float] | None = None) -> np.ndarray:
    """Corners of a box, turned clockwise about a point.

    Args:
        left (float): In pixels, as all of these.
        top (float): Of the box before it is turned.
        width (float): Likewise.
        height (float): Likewise.
        degrees (float): By how much. Defaults to 0.
        pivot (tuple, optional): x and y. Defaults to the box's middle.

    Returns:
        ndarray: float64 (4, 2).
    """
    corners = np.array([[left, top], [left + width, top],
                        [left + width, top + height], [left, top + height]],
                       np.float64)
    return turned(corners, degrees,
                  pivot or (left + width / 2, top + height / 2))


def ellipse_points(x: float, y: float, radius_x: float, radius_y: float,
                   degrees: float = 0.) -> np.ndarray:
    """Points of an ellipse, turned clockwise about its middle.

    Args:
        x (float): Of the middle, in pixels, as all of these.
        y (float): Likewise.
        radius_x (float): Half of the width before it is turned.
        radius_y (float): Half of the height.
        degrees (float): By how much it is turned. Defaults to 0.

    Returns:
        ndarray: float64 (90, 2).
    """
    angles = np.arange(90) * (2 * np.pi / 90)
    points = np.stack((x + radius_x * np.cos(angles),
                       y + radius_y * np.sin(angles)), 1)
    return turned(points, degrees, (x, y))


def turned(points: np.ndarray, degrees: float,
           pivot: tuple[float, float]) -> np.ndarray:
    """Turn points clockwise, with y pointing down.

    Args:
        points (ndarray): (n, 2) of x and y.
        degrees (float): By how much.
        pivot (tuple[float, float]): About which point.

    Returns:
        ndarray: float64 (n, 2).
    """
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)],
                     [-np.sin(angle), np.cos(angle)]])
    return (points - pivot) @ turn + pivot


# --------------------------------------------------------------- run lengths
def runs_of(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Run lengths of values.

    Args:
        pixels (ndarray): (n,), n >= 1.

    Returns:
        tuple[ndarray, ndarray]: Lengths and values.
    """
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    starts = np.concatenate(([0], changes))
    return np.diff(np.append(starts, len(pixels))), pixels[starts]
