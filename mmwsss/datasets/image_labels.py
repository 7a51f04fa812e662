"""Image-level labels: class indices of tags.

Tags are read by :mod:`.tags`; the pickled multi-hot vectors
(``cls_labels.npy``) that WSSS code bases pass around, here.
"""
import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from .tags import (
    TagFile,
    find_format,
    read_tags,
    voc_xml_tags,
    write_image_labels,
)

__all__ = [
    'Labels', 'labels_from_voc_xml', 'read_image_labels',
    'select_labels', 'tags_to_indices', 'write_image_labels'
]
PathLike = str | Path


class Labels(dict[str, tuple[int, ...]]):
    """Image id -> sorted class indices, as a dict; and what is unknown.

    Args:
        labels (Mapping[str, tuple[int, ...]]): The classes of each image.
        unknown (Mapping[str, tuple[int, ...]], optional): Image id -> classes
            of which nobody knows whether the image shows them. Images of
            which all is known are left out. Classification losses leave
            unknown classes out.

    Attributes:
        unknown (dict[str, tuple[int, ...]]): The same.
    """

    def __init__(self,
                 labels: Mapping[str, tuple[int, ...]] = (),
                 unknown: Mapping[str, tuple[int, ...]] | None = None
                 ) -> None:
        super().__init__(labels)
        self.unknown = {i: u for i, u in (unknown or {}).items() if u}


def read_image_labels(path: PathLike,
                      classes: Sequence[str],
                      allow_pickle: bool = False,
                      format: str | None = None,
                      unknown: str = 'error',
                      root: PathLike | None = None) -> Labels:
    """Read the tags of a data set.

    Args:
        path (str | Path): A file or folder of any format of
            :func:`~mmwsss.datasets.tags.read_tags`, or ``.npy`` (pickled
            dict: image id -> multi-hot vector).
        classes (Sequence[str]): The K class names without background; a
            tag's index is its position here.
        allow_pickle (bool): Must be True for ``.npy``, because loading a
            pickle runs whatever code is in it. Defaults to False.
        format (str, optional): See ``read_tags``. None looks at the file.
        unknown (str): What to do with classes of the file that ``classes``
            lacks: 'error', or 'drop' as if nobody had tagged them.
            Defaults to 'error'.
        root (str | Path, optional): The image folder, for files that name
            images by absolute paths or as annotation tools do.

    Returns:
        Labels: Image id -> sorted class indices.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is none of these formats, names an image
            twice, or holds an unknown tag.
    """
    path, classes = Path(path), tuple(classes)
    if path.exists() and (format or find_format(path)) == 'npy':
        return _read_npy(path, classes, allow_pickle)
    file = read_tags(path, format, root, keep=classes)
    for note in file.notes:
        print_log(f'{path}: {note}', logger='current')
    return select_labels(file, classes, unknown)


def select_labels(file: TagFile, classes: Sequence[str],
                  unknown: str = 'error') -> Labels:
    """Class indices of what a file says.

    Args:
        file (TagFile): Of ``read_tags``.
        classes (Sequence[str]): See :func:`read_image_labels`.
        unknown (str): Likewise. Defaults to 'error'.

    Returns:
        Labels: Image id -> sorted class indices.

    Raises:
        ValueError: If the file has other classes, or ``unknown`` is neither.
    """
    if unknown not in ('error', 'drop'):
        raise ValueError(f"unknown tags are to be {unknown!r}, must be "
                         "'error' or 'drop'.")
    if unknown == 'error':
        lacking = sorted(set(file.classes) - set(classes))
        if file.declared and lacking:
            raise ValueError(
                f'Label file {file.path} was written for classes that the '
                f'dataset lacks: {lacking}. Its metainfo has: '
                f"{', '.join(classes)}. To leave the others out, set "
                "unknown_tags='drop' on the dataset.")
        return _indices(file, classes)
    dropped = Counter(
        name for names in file.tags.values() for name in names
        if name not in classes)
    if dropped:
        print_log(
            f'{file.path}: tags of {len(dropped)} other class(es) are left '
            'out: ' + ', '.join(f'{name} ({count})' for name, count in
                                dropped.most_common(10)) +
            (', ..' if len(dropped) > 10 else '') + '.',
            logger='current')
    return _indices(file, classes, set(classes))


def _indices(file: TagFile,
             classes: Sequence[str],
             known: set[str] | None = None) -> Labels:
    """Indices of all tags, or of those that are known."""

    def of(tags: Mapping[str, Sequence[str]]) -> dict[str, tuple[int, ...]]:
        return {
            i: tags_to_indices(
                [n for n in names if known is None or n in known], classes, i,
                file.where(i))
            for i, names in tags.items()
        }

    return Labels(of(file.tags), of(file.unknown))


def tags_to_indices(tags: Sequence[str], classes: Sequence[str], img_id: str,
                    source: object) -> tuple[int, ...]:
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
                        classes: Sequence[str]) -> tuple[int, ...]:
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
    return tags_to_indices(
        voc_xml_tags(xml_path), classes, Path(xml_path).stem, xml_path)


def _read_npy(path: Path, classes: tuple[str, ...],
              allow_pickle: bool) -> Labels:
    if not allow_pickle:
        raise ValueError(
            f'Label file {path} is a pickle, and loading a pickle runs '
            'whatever code is in it. If you trust where it comes from, set '
            'allow_pickle=True on the dataset; better, write a JSON file '
            'with `python tools/dataset_converters/voc.py VOC2012`.')
    try:
        content = np.load(path, allow_pickle=True)
        content = content.item() if content.shape == () else None
    except Exception as error:  # Whatever a damaged pickle leads to.
        raise ValueError(f'Label file {path} cannot be read '
                         f'({type(error).__name__}: {error}).') from error
    if not isinstance(content, dict):
        raise ValueError(f'Label file {path} holds no dictionary from image '
                         'id to multi-hot vector.')
    labels, unknown = {}, {}
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
        unknown[img_id] = tuple(int(i) for i in np.flatnonzero(vector < 0))
    return Labels(labels, unknown)
