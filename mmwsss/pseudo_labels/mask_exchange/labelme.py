"""LabelMe: a JSON file of outlines per image."""
import base64
import io
import json
import os.path
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from mmwsss.utils.io import atomic_write

from .regions import (
    AnnotatedImage,
    Region,
    box_points,
    ellipse_points,
    fill,
    outlines,
    split_mask,
)

VERSION = '5.5.0'


def write_labelme(out: Path, images: Iterable[tuple[str, np.ndarray]],
                  classes: Sequence[str], root: Path,
                  tolerance: float = 1.) -> int:
    """Write masks as files of LabelMe, ``{out}/{name}.json``.

    Args:
        out (Path): The folder.
        images (Iterable[tuple[str, ndarray]]): File name and mask.
        classes (Sequence[str]): The K names.
        root (Path): Folder of the images, which the files point to.
        tolerance (float): Of outlines, in pixels. Defaults to 1.

    Returns:
        int: Number of outlines.
    """
    count = 0
    for name, mask in images:
        path = out / PurePosixPath(name).with_suffix('.json')
        shapes = [
            dict(label=label, points=line.tolist(), group_id=None,
                 description='', shape_type='polygon', flags={}, mask=None)
            for label, region in split_mask(mask, classes)
            for line in outlines(region, tolerance)
        ]
        count += len(shapes)
        image = Path(os.path.relpath((root / name).resolve(),
                                     path.parent.resolve())).as_posix()
        content = dict(
            version=VERSION, flags={}, shapes=shapes, imagePath=image,
            imageData=None, imageHeight=mask.shape[0],
            imageWidth=mask.shape[1])
        with atomic_write(path) as temp:
            temp.write_text(
                json.dumps(content, indent=1, ensure_ascii=False) + '\n',
                encoding='utf-8')
    return count


def read_labelme(path: Path) -> Iterator[AnnotatedImage]:
    """Regions of files of LabelMe; later shapes are on top.

    Args:
        path (Path): A file, or a folder of them.

    Yields:
        AnnotatedImage: One per file.

    Raises:
        ValueError: If a file is none of LabelMe's, or has a broken shape.
    """
    files = [path] if path.is_file() else sorted(
        p for p in path.rglob('*') if p.suffix.lower() == '.json'
        and not any(x.startswith('.') for x in p.relative_to(path).parts))
    for file in files:
        try:
            content = json.loads(file.read_text(encoding='utf-8-sig'))
            size = int(content['imageHeight']), int(content['imageWidth'])
            # Its place relative to the file tells images of one name apart.
            name = os.path.normpath(os.path.join(
                file.parent, content['imagePath'].replace('\\', '/')))
            result = AnnotatedImage(Path(name).as_posix(), size, [])
            for shape in content['shapes']:
                mask = _pixels(shape, size)
                if mask is None:
                    result.notes.append(f'{shape["shape_type"]} '
                                        f'({shape["label"]})')
                else:
                    result.regions.append(Region(shape['label'], mask))
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise ValueError(f'{file} cannot be read as a file of LabelMe '
                             f'({type(error).__name__}: {error}).') from error
        yield result


def _pixels(shape: dict[str, Any],
            size: tuple[int, int]) -> np.ndarray | None:
    """The pixels of a shape; None for one without area."""
    kind = shape.get('shape_type') or 'polygon'
    points = np.asarray(shape['points'], np.float64)
    if kind in ('polygon', 'oriented_rectangle'):
        return fill(points, size)
    if kind == 'rectangle':
        (left, top), (right, bottom) = points.min(0), points.max(0)
        return fill(box_points(left, top, right - left, bottom - top), size)
    if kind == 'circle':
        radius = float(np.hypot(*(points[1] - points[0])))
        return fill(ellipse_points(*points[0], radius, radius), size)
    if kind == 'mask':
        data = io.BytesIO(base64.b64decode(shape['mask']))
        with Image.open(data) as picture:
            inner = np.array(picture.convert('L')) > 0
        left, top = points.min(0).astype(int)
        mask = np.zeros(size, bool)
        if left < 0 or top < 0 or mask[top:top + inner.shape[0], left:left +
                                       inner.shape[1]].shape != inner.shape:
            raise ValueError('a mask reaches over the edge of the image')
        mask[top:top + inner.shape[0], left:left + inner.shape[1]] = inner
        return mask
    return None
