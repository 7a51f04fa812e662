"""Label Studio: brush strokes and outlines, as predictions to correct."""
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import (
    Any,
)
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

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

#: Bits of the four kinds of run lengths.
_SIZES = (3, 4, 8, 16)
#: Where Label Studio serves files of a folder of the server.
LOCAL_FILES = '/data/local-files/?d='


def encode_rle(mask: np.ndarray) -> list[int]:
    """Label Studio's run lengths of a region.

    They are a stream of bits: 32 for the number of values, 5 for the bits of
    a value less one, four times 4 for the bits of a run length less one; then
    runs: 1 bit (1, a repeated value), 2 bits for which of the four, the
    length less one, the value. The values are those of an RGBA image, row by
    row, in which all four channels are 255 inside.

    Args:
        mask (ndarray): bool (H, W).

    Returns:
        list[int]: Bytes.
    """
    pixels = np.asarray(mask, bool).ravel()
    bits = [f'{pixels.size * 4:032b}', f'{7:05b}',
            *(f'{size - 1:04b}' for size in _SIZES)]
    for length, value in zip(*runs_of(pixels)):
        rest = int(length) * 4
        while rest:
            run = min(rest, 1 << _SIZES[-1])
            kind = next(k for k, s in enumerate(_SIZES) if run <= 1 << s)
            bits.append(f'1{kind:02b}{run - 1:0{_SIZES[kind]}b}'
                        f'{255 if value else 0:08b}')
            rest -= run
    stream = ''.join(bits)
    stream += '0' * (-len(stream) % 8)
    return list(int(stream, 2).to_bytes(len(stream) // 8, 'big'))


def decode_rle(rle: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """The region of Label Studio's run lengths, see :func:`encode_rle`.

    Args:
        rle (Sequence[int]): Bytes.
        size (tuple[int, int]): Height and width.

    Returns:
        ndarray: bool (H, W), where the fourth channel is half or more.

    Raises:
        ValueError: If they do not fit the size or end early.
    """
    data = np.asarray(rle)
    if data.ndim != 1 or data.dtype.kind not in 'iu' or not data.size or \
            data.min() < 0 or data.max() > 255:
        raise ValueError('run lengths must be bytes')
    stream = ''.join(f'{byte:08b}' for byte in data.tolist())
    place = 0

    def take(bits: int) -> int:
        nonlocal place
        if place + bits > len(stream):
            raise ValueError('run lengths end early')
        place += bits
        return int(stream[place - bits:place], 2)

    count, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    if count != size[0] * size[1] * 4:
        raise ValueError(f'run lengths are of {count} values, the image has '
                         f'{size[0] * size[1]} pixels of 4')
    values: list[int] = []
    lengths: list[int] = []
    done = 0
    while done < count:
        repeated = take(1)
        length = take(sizes[take(2)]) + 1
        if repeated:
            values.append(take(word))
            lengths.append(length)
        else:
            values += [take(word) for _ in range(length)]
            lengths += [1] * length
        done += length
    if done != count:
        raise ValueError('run lengths are longer than the image')
    pixels = np.repeat(np.array(values) >= 1 << word - 1, lengths)
    return pixels.reshape(*size, 4)[..., 3]


def write_label_studio(out: Path,
                       images: Iterable[tuple[str, np.ndarray]],
                       classes: Sequence[str],
                       polygons: bool = False,
                       tolerance: float = 1.,
                       url: str = LOCAL_FILES) -> int:
    """Write masks as tasks with predictions, and the labelling interface.

    Args:
        out (Path): The JSON file to import; beside it ``{name}.xml``, the
            interface that the project needs.
        images (Iterable[tuple[str, ndarray]]): File name and mask.
        classes (Sequence[str]): The K names. Ignored pixels have the label
            ``__ignore__``.
        polygons (bool): Outlines in place of brush strokes.
            Defaults to False.
        tolerance (float): Of outlines, in pixels. Defaults to 1.
        url (str): What stands before the names of the images.

    Returns:
        int: Number of regions.
    """
    kind = 'polygonlabels' if polygons else 'brushlabels'
    count, tasks = 0, []
    for number, (name, mask) in enumerate(images):
        results = []
        for label, region in split_mask(mask, classes):
            for value in _values(region, polygons, tolerance):
                value[kind] = [label]
                results.append(dict(
                    id=f'm{number}-{len(results)}', type=kind, value=value,
                    from_name='label', to_name='image', image_rotation=0,
                    original_width=mask.shape[1],
                    original_height=mask.shape[0]))
        count += len(results)
        tasks.append(dict(
            data=dict(image=url + quote(name)),
            predictions=[dict(model_version='mmwsss', result=results)]))
    with atomic_write(out) as temp:
        temp.write_text(
            json.dumps(tasks, separators=(',', ':'), ensure_ascii=False) +
            '\n', encoding='utf-8')
    tag = 'PolygonLabels' if polygons else 'BrushLabels'
    lines = [f'    <Label value={quoteattr(name)}/>'
             for name in (*classes, IGNORE_LABEL)]
    with atomic_write(out.with_suffix('.xml')) as temp:
        temp.write_text(
            '<View>\n  <Image name="image" value="$image" zoom="true"/>\n'
            f'  <{tag} name="label" toName="image">\n' + '\n'.join(lines) +
            f'\n  </{tag}>\n</View>\n', encoding='utf-8')
    return count


def _values(region: np.ndarray, polygons: bool,
            tolerance: float) -> Iterator[dict[str, Any]]:
    if not polygons:
        yield dict(format='rle', rle=encode_rle(region))
        return
    percent = 100. / np.array(region.shape[::-1])
    for line in outlines(region, tolerance):
        yield dict(points=(line * percent).tolist(), closed=True)


def read_label_studio(path: Path) -> Iterator[AnnotatedImage]:
    """Regions of Label Studio's JSON export; later ones are on top.

    Only annotations count, the last of each task: predictions are what
    nobody has looked at.

    Args:
        path (Path): The export.

    Yields:
        AnnotatedImage: Each task with an annotation.

    Raises:
        ValueError: If it is no such file, or a region is broken.
    """
    tasks = json.loads(path.read_text(encoding='utf-8-sig'))
    if not isinstance(tasks, list) or not all(
            isinstance(t, dict) and isinstance(t.get('data'), dict)
            for t in tasks):
        raise ValueError(f'{path} is no JSON export of Label Studio (a list '
                         'of tasks with "data"). Masks are in that one only, '
                         'not in JSON-MIN and CSV.')
    for task in tasks:
        done = [a for a in task.get('annotations') or ()
                if not a.get('was_cancelled')]
        if not done:
            continue
        last = max(done, key=lambda a: str(a.get('updated_at', '')))
        name = _image(task['data'], path)
        try:
            result = _annotated(name, last.get('result') or ())
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f'{path}: a region of {name} is wrong ({error}).'
                             ) from error
        if len(done) > 1:
            result.notes.append('several annotations, the last is used')
        yield result


def _image(data: dict[str, Any], path: Path) -> str:
    if isinstance(data.get('image'), str):
        return data['image']
    texts = [v for v in data.values() if isinstance(v, str)]
    if len(texts) != 1:
        raise ValueError(f'{path}: a task has no "image", only '
                         f'{", ".join(data)}.')
    return texts[0]


def _annotated(name: str, results: Iterable[Any]) -> AnnotatedImage:
    image = AnnotatedImage(name, (0, 0), [])
    for result in results:
        if 'original_height' in result:
            image.size = (int(result['original_height']),
                          int(result['original_width']))
        kind, value = result.get('type', ''), result.get('value') or {}
        labels = value.get(kind) or value.get('labels') or ()
        mask = _pixels(value, image.size)
        if mask is None or len(labels) != 1:
            image.notes.append(kind)
        else:
            image.regions.append(Region(labels[0], mask))
    return image


def _pixels(value: dict[str, Any],
            size: tuple[int, int]) -> np.ndarray | None:
    """The pixels of a value; None for one without area."""
    if value.get('format') == 'rle' or 'rle' in value:
        return decode_rle(value['rle'], size)
    scale = np.array(size[::-1]) / 100.
    if 'points' in value:
        return fill(np.asarray(value['points'], float) * scale, size)
    if 'radiusX' in value:
        middle = np.array([value['x'], value['y']]) * scale
        radius = np.array([value['radiusX'], value['radiusY']]) * scale
        return fill(ellipse_points(*middle, *radius, value.get(
            'rotation', 0)), size)
    if 'width' in value and 'height' in value:
        left, top = value['x'] * scale[0], value['y'] * scale[1]
        return fill(box_points(
            left, top, value['width'] * scale[0], value['height'] * scale[1],
            value.get('rotation', 0), (left, top)), size)
    return None
