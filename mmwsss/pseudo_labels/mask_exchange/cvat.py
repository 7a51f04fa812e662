"""CVAT: the XML for images, with masks or outlines."""
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmwsss.utils.io import atomic_write

from .regions import (
    IGNORE_LABEL,
    AnnotatedImage,
    Region,
    box_points,
    ellipse_points,
    fill,
    outlines,
    runs_of,
    split_mask,
)


def write_cvat(out: Path, images: Iterable[tuple[str, np.ndarray]],
               classes: Sequence[str], polygons: bool = False,
               tolerance: float = 1.) -> int:
    """Write masks as "CVAT for images 1.1".

    Args:
        out (Path): The XML file.
        images (Iterable[tuple[str, ndarray]]): File name and mask.
        classes (Sequence[str]): The K names. Ignored pixels have the label
            ``__ignore__``.
        polygons (bool): An outline per connected part in place of a mask per
            class. Defaults to False.
        tolerance (float): Of outlines, in pixels. Defaults to 1.

    Returns:
        int: Number of shapes.
    """
    root = ElementTree.Element('annotations')
    _child(root, 'version', '1.1')
    labels = _child(_child(_child(root, 'meta'), 'task'), 'labels')
    for name in (*classes, IGNORE_LABEL):
        label = _child(labels, 'label')
        _child(label, 'name', name)
        _child(label, 'type', 'any')
        _child(label, 'attributes')
    count = 0
    for number, (name, mask) in enumerate(images):
        height, width = mask.shape
        image = _child(root, 'image', id=str(number), name=name,
                       width=str(width), height=str(height))
        for label, region in split_mask(mask, classes):
            facts = dict(label=label, source='auto', occluded='0')
            for shape in _shapes(region, polygons, tolerance):
                tag = 'polygon' if 'points' in shape else 'mask'
                _child(image, tag, **facts, **shape, z_order='0')
                count += 1
    ElementTree.indent(root)
    with atomic_write(out) as temp:
        ElementTree.ElementTree(root).write(
            temp, encoding='utf-8', xml_declaration=True)
    return count


def _child(parent: Any, tag: str, text: str | None = None,
           **attributes: str) -> Any:
    child = ElementTree.SubElement(parent, tag, attributes)
    child.text = text
    return child


def _shapes(region: np.ndarray, polygons: bool,
            tolerance: float) -> Iterator[dict]:
    if polygons:
        for line in outlines(region, tolerance):
            yield dict(points=';'.join(f'{x:.2f},{y:.2f}' for x, y in line))
        return
    rows, columns = (np.flatnonzero(region.any(axis)) for axis in (1, 0))
    top, left = int(rows[0]), int(columns[0])
    part = region[top:rows[-1] + 1, left:columns[-1] + 1]
    lengths, values = runs_of(part.ravel())
    # The first run is outside.
    counts = ([0] if values[0] else []) + lengths.tolist()
    yield dict(rle=', '.join(map(str, counts)), left=str(left), top=str(top),
               width=str(part.shape[1]), height=str(part.shape[0]))


def read_cvat(path: Path) -> Iterator[AnnotatedImage]:
    """Regions of "CVAT for images"; a higher ``z_order`` is on top.

    Args:
        path (Path): The XML file.

    Yields:
        AnnotatedImage: Each image.

    Raises:
        ValueError: If the file is none of CVAT's, or a shape is broken.
    """
    try:
        tree = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise ValueError(f'{path} is no readable XML ({error}).') from error
    if tree.tag != 'annotations' or tree.find('track') is not None:
        raise ValueError(f'{path} is no export of "CVAT for images 1.1".')
    for image in tree.findall('image'):
        name = image.get('name', '')
        try:
            size = int(image.get('height')), int(image.get('width'))
            result = AnnotatedImage(name, size, [])
            found: list[tuple[int, Region]] = []
            for shape in image:
                mask = _pixels(shape, size)
                if mask is not None:
                    found.append((int(shape.get('z_order', 0)),
                                  Region(shape.get('label', ''), mask)))
                elif shape.tag != 'tag':
                    result.notes.append(f'{shape.tag} ({shape.get("label")})')
        except (TypeError, ValueError) as error:
            raise ValueError(f'{path}: the image {name!r} or one of its '
                             f'shapes is wrong ({error}).') from error
        result.regions = [r for _, r in sorted(found, key=lambda f: f[0])]
        yield result


def _pixels(shape: Any, size: tuple[int, int]) -> np.ndarray | None:
    """The pixels of a shape; None for one without area."""

    def number(key: str) -> float:
        return float(shape.get(key, 0))

    if shape.tag == 'polygon':
        points = [p.split(',') for p in shape.get('points', '').split(';')]
        return fill(points, size)
    if shape.tag == 'box':
        left, top = number('xtl'), number('ytl')
        return fill(box_points(left, top, number('xbr') - left,
                               number('ybr') - top, number('rotation')), size)
    if shape.tag == 'ellipse':
        return fill(ellipse_points(*map(number, ('cx', 'cy', 'rx', 'ry',
                                                 'rotation'))), size)
    if shape.tag == 'mask':
        left, top, width, height = (int(number(k)) for k in (
            'left', 'top', 'width', 'height'))
        counts = [int(c) for c in shape.get('rle', '').split(',')]
        if sum(counts) != width * height or min(counts) < 0:
            raise ValueError(f'run lengths of a mask of {width} x {height} '
                             f'pixels have {sum(counts)}')
        part = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
        mask = np.zeros(size, bool)
        if min(left, top) < 0 or left + width > size[1] or \
                top + height > size[0]:
            raise ValueError('a mask reaches over the edge of the image')
        mask[top:top + height, left:left + width] = part.reshape(
            height, width)
        return mask
    return None
