"""Image-level labels (tags) as files.

Our format is JSON::

    {"format": "mmwsss-image-labels", "version": 1,
     "classes": ["cat", "dog"],
     "labels": {"2007_000063": ["dog"], "2007_000068": []}}

A bare mapping ``{"2007_000063": ["dog"]}``, a csv file and the pickled
multi-hot vectors (``cls_labels.npy``) that WSSS code bases pass around are
read as well.
"""
import csv
import difflib
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, Sequence, Tuple, Union

import numpy as np

from mmwsss.utils.io import atomic_write

FORMAT = 'mmwsss-image-labels'
VERSION = 1
PathLike = Union[str, Path]
Labels = Dict[str, Tuple[int, ...]]


def read_image_labels(path: PathLike,
                      classes: Sequence[str],
                      allow_pickle: bool = False) -> Labels:
    """Read the tags of a data set.

    Args:
        path (str | Path): ``.json``, ``.csv`` (header ``image,tags``, tags
            separated by ``;``) or ``.npy`` (pickled dict: image id ->
            multi-hot vector).
        classes (Sequence[str]): The K class names without background; a
            tag's index is its position here.
        allow_pickle (bool): Must be True for ``.npy``, because loading a
            pickle runs whatever code is in it. Defaults to False.

    Returns:
        dict[str, tuple[int, ...]]: Image id -> sorted class indices.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is none of these formats, names an image
            twice, or holds an unknown tag.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f'There is no label file {path}. Set labels_file of the dataset, '
            'or write one, e.g. with '
            '`python tools/dataset_converters/voc.py VOC2012`.')
    classes = tuple(classes)
    if path.suffix == '.npy':
        return _read_npy(path, classes, allow_pickle)
    if path.suffix == '.csv':
        tags = _read_csv(path)
    elif path.suffix == '.json':
        tags = _read_json(path, classes)
    else:
        raise ValueError(f'Label file {path} ends in {path.suffix!r}; known '
                         'are .json, .csv and .npy.')
    return {
        img_id: tags_to_indices(names, classes, img_id, path)
        for img_id, names in tags.items()
    }


def write_image_labels(path: PathLike, classes: Sequence[str],
                       labels: Mapping[str, Iterable[int]]) -> None:
    """Write tags in our JSON format, one image per line, atomically.

    Args:
        path (str | Path): The file.
        classes (Sequence[str]): The K class names without background.
        labels (Mapping[str, Iterable[int]]): Image id -> class indices.

    Raises:
        ValueError: If an index is outside 0..K-1.
    """
    rows = []
    for img_id, indices in labels.items():
        indices = sorted({int(i) for i in indices})
        if indices and not 0 <= indices[0] <= indices[-1] < len(classes):
            raise ValueError(f'Image {img_id} has class indices {indices}, '
                             f'but there are {len(classes)} classes.')
        names = [classes[i] for i in indices]
        rows.append(f'    {json.dumps(str(img_id))}: {json.dumps(names)}')
    body = ',\n'.join(rows)
    with atomic_write(path) as temp:
        temp.write_text(
            '{\n'
            f'  "format": {json.dumps(FORMAT)},\n'
            f'  "version": {VERSION},\n'
            f'  "classes": {json.dumps(list(classes))},\n'
            '  "labels": {\n' + body + ('\n' if body else '') + '  }\n}\n',
            encoding='utf-8')


def tags_to_indices(tags: Sequence[str], classes: Sequence[str], img_id: str,
                    source: object) -> Tuple[int, ...]:
    """Class indices of one image's tags.

    Args:
        tags (Sequence[str]): Class names.
        classes (Sequence[str]): All K names.
        img_id (str): The image, for the error message.
        source (object): Where the tags stand, for the error message.

    Returns:
        tuple[int, ...]: Sorted, each once.

    Raises:
        ValueError: If a tag is unknown or ``tags`` is no list of names.
    """
    if isinstance(tags, str) or not all(isinstance(t, str) for t in tags):
        raise ValueError(f'The tags of image {img_id} in {source} are '
                         f'{tags!r}, not a list of class names.')
    for tag in tags:
        if tag not in classes:
            close = difflib.get_close_matches(
                tag.lower().replace(' ', ''), classes, 1, 0.5)
            raise ValueError(
                f'Image {img_id} has the unknown tag {tag!r} in {source}.' +
                (f' Did you mean {close[0]!r}?' if close else '') +
                f' Known tags: {", ".join(classes)}.')
    return tuple(sorted({classes.index(tag) for tag in tags}))


def labels_from_voc_xml(xml_path: PathLike,
                        classes: Sequence[str]) -> Tuple[int, ...]:
    """Tags of an image from its VOC annotation, difficult objects included.

    Args:
        xml_path (str | Path): ``Annotations/{id}.xml``.
        classes (Sequence[str]): The K class names without background.

    Returns:
        tuple[int, ...]: Sorted class indices.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no XML or names an unknown class.
    """
    xml_path = Path(xml_path)
    if not xml_path.is_file():
        raise FileNotFoundError(f'Image {xml_path.stem} has no annotation '
                                f'file {xml_path}.')
    try:
        root = ElementTree.parse(xml_path).getroot()
    except ElementTree.ParseError as error:
        raise ValueError(
            f'The annotation of image {xml_path.stem} is no readable XML '
            f'({error}): {xml_path}') from error
    # Direct children only: objects contain parts, which have names too.
    tags = [(o.findtext('name') or '').strip() for o in root.findall('object')]
    return tags_to_indices(tags, classes, xml_path.stem, xml_path)


def labels_from_mask(mask: np.ndarray,
                     num_classes: int,
                     ignore_index: int = 255,
                     img_id: str = '?') -> Tuple[int, ...]:
    """Classes that a mask shows.

    Args:
        mask (np.ndarray): uint8 (h, w); 0 = background, c + 1 = class c.
        num_classes (int): K, background not counted.
        ignore_index (int): Value of pixels without label. Defaults to 255.
        img_id (str): The image, for the error message. Defaults to '?'.

    Returns:
        tuple[int, ...]: Sorted class indices.

    Raises:
        ValueError: If another value occurs; names the image and the values.
    """
    values = np.flatnonzero(np.bincount(mask.ravel()))
    values = [int(v) for v in values if v not in (0, ignore_index)]
    bad = [v for v in values if v > num_classes]
    if bad:
        raise ValueError(
            f'The mask of image {img_id} holds {bad[:5]}; legal are 0 '
            f'(background), 1..{num_classes} (classes) and {ignore_index} '
            '(ignore). Check the mask and the classes in metainfo.')
    return tuple(v - 1 for v in values)


def _once(pairs: List[Tuple[str, object]]) -> dict:
    """Build a dict from JSON pairs and refuse a key that stands twice."""
    result = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f'{key!r} stands there twice')
        result[key] = value
    return result


def _read_json(path: Path, classes: Tuple[str, ...]) -> Dict[str, list]:
    try:
        content = json.loads(
            path.read_text(encoding='utf-8'), object_pairs_hook=_once)
    except ValueError as error:
        raise ValueError(f'Label file {path}: {error}.') from error
    if not isinstance(content, dict):
        raise ValueError(f'Label file {path} holds a '
                         f'{type(content).__name__}, not a mapping from '
                         'image id to tags.')
    if 'labels' in content and isinstance(content['labels'], dict):
        version = content.get('version', VERSION)
        if content.get('format', FORMAT) != FORMAT or version != VERSION:
            raise ValueError(
                f'Label file {path} is of format {content.get("format")!r} '
                f'version {version}; known is {FORMAT!r} version {VERSION}.')
        unknown = set(content.get('classes', ())) - set(classes)
        if unknown:
            raise ValueError(
                f'Label file {path} was written for classes that the '
                f'dataset lacks: {sorted(unknown)}. Its metainfo has: '
                f'{", ".join(classes)}.')
        content = content['labels']
    for img_id, tags in content.items():
        if not isinstance(tags, list):
            raise ValueError(f'The tags of image {img_id} in {path} are '
                             f'{tags!r}, not a list of class names.')
    return content


def _read_csv(path: Path) -> Dict[str, list]:
    tags = {}
    # Excel puts a byte order mark in front, which utf-8-sig drops.
    with path.open(encoding='utf-8-sig', newline='') as file:
        reader = csv.reader(file)
        header = [cell.strip() for cell in next(reader, [])]
        if header != ['image', 'tags']:
            raise ValueError(f'Label file {path} begins with {header}, the '
                             "header must be 'image,tags'.")
        for row in reader:
            if not row:
                continue
            if len(row) > 2:
                raise ValueError(
                    f'Line {reader.line_num} of {path} has {len(row)} '
                    'columns; separate tags by ";", not ",".')
            img_id = row[0].strip()
            if img_id in tags:
                raise ValueError(f'Image {img_id!r} stands twice in {path} '
                                 f'(line {reader.line_num}).')
            names = row[1].split(';') if len(row) == 2 else []
            tags[img_id] = [n.strip() for n in names if n.strip()]
    return tags


def _read_npy(path: Path, classes: Tuple[str, ...],
              allow_pickle: bool) -> Labels:
    if not allow_pickle:
        raise ValueError(
            f'Label file {path} is a pickle, and loading a pickle runs '
            'whatever code is in it. If you trust where it comes from, set '
            'allow_pickle=True on the dataset; better, write a JSON file '
            'with `python tools/dataset_converters/voc.py VOC2012`.')
    content = np.load(path, allow_pickle=True)
    content = content.item() if content.shape == () else None
    if not isinstance(content, dict):
        raise ValueError(f'Label file {path} holds no dictionary from image '
                         'id to multi-hot vector.')
    labels = {}
    for key, vector in content.items():
        img_id = str(key)
        if not isinstance(key, str) and len(img_id) == 10:
            # IRN stores 2007_000032 as the integer 2007000032.
            img_id = f'{img_id[:4]}_{img_id[4:]}'
        vector = np.asarray(vector)
        if vector.shape != (len(classes), ):
            raise ValueError(
                f'The label vector of image {img_id} in {path} has shape '
                f'{vector.shape}, expected ({len(classes)},) for '
                f'{len(classes)} classes without background.')
        labels[img_id] = tuple(int(i) for i in np.flatnonzero(vector > 0))
    return labels
