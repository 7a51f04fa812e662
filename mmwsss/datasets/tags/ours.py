"""Our own format of tags, read and written.

It is JSON that people can edit::

    {"format": "mmwsss-image-labels", "version": 1,
     "classes": ["cat", "dog"],
     "unknown": {"2007_000068": ["cat"]},
     "labels": {"2007_000063": ["dog"], "2007_000068": []}}

``unknown`` may be absent. It names classes of which nobody knows whether an
image shows them.
"""
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmwsss.utils.io import atomic_write

from .images import PathLike, nfc
from .json_lists import load_json
from .tag_file import Look, ReadOptions, TagFile, TagReader

FORMAT = 'mmwsss-image-labels'
VERSION = 1


class OursReader(TagReader):
    """What :func:`write_image_labels` wrote."""
    name = 'mmwsss'
    title = 'the label file of mmwsss'
    expects = ('{"format": "mmwsss-image-labels", "version": 1, "classes": '
               '[..], "labels": {"IMG_1": ["dog"], ..}}')

    def matches(self, look: Look) -> bool:
        return (look.members.get('format') == FORMAT
                or isinstance(look.members.get('labels'), dict))

    def read(self, path: Path, options: ReadOptions) -> TagFile:
        content = load_json(path)
        if not isinstance(content, dict) or not isinstance(
                content.get('labels'), dict):
            raise ValueError(f"Label file {path} has no 'labels', a mapping "
                             'from image id to tags.')
        version = content.get('version', VERSION)
        if content.get('format', FORMAT) != FORMAT or version != VERSION:
            raise ValueError(
                f'Label file {path} is of format {content.get("format")!r} '
                f'version {version}; known is {FORMAT!r} version {VERSION}.')
        tags = _names(content['labels'], path)
        unknown = _names(content.get('unknown', {}), path)
        strange = [i for i in unknown if i not in tags]
        if strange:
            raise ValueError(f"Label file {path}: 'unknown' names the image "
                             f"{strange[0]!r}, which 'labels' lacks.")
        both = [i for i in unknown if set(unknown[i]) & set(tags[i])]
        if both:
            raise ValueError(f'Label file {path}: a tag of image {both[0]!r} '
                             'is known and unknown.')
        declared = content.get('classes')
        if declared is None:
            used = {n for d in (tags, unknown) for t in d.values() for n in t}
            return TagFile(path, self.name, tuple(sorted(used)), False, tags,
                           unknown=unknown)
        if isinstance(declared, str) or not all(
                isinstance(n, str) for n in declared):
            raise ValueError(f"Label file {path}: 'classes' is {declared!r}, "
                             'not a list of names.')
        return TagFile(path, self.name, tuple(nfc(n) for n in declared), True,
                       tags, unknown=unknown)


def _names(content: Any, path: Path) -> dict[str, tuple[str, ...]]:
    """Image id -> names; written by programs, so ids are what they are."""
    result = {}
    for img_id, names in content.items():
        if not isinstance(names, list) or not all(
                isinstance(n, str) for n in names):
            raise ValueError(f'The tags of image {img_id} in {path} are '
                             f'{names!r}, not a list of class names.')
        result[img_id] = tuple(dict.fromkeys(nfc(n.strip()) for n in names))
    return result


def write_image_labels(
        path: PathLike,
        classes: Sequence[str],
        labels: Mapping[str, Iterable[int]],
        unknown: Mapping[str, Iterable[int]] | None = None) -> None:
    """Write tags in our JSON format, one image per line, atomically.

    Args:
        path (str | Path): The file.
        classes (Sequence[str]): The K class names without background.
        labels (Mapping[str, Iterable[int]]): Image id -> class indices.
        unknown (Mapping[str, Iterable[int]], optional): Image id -> indices
            of classes that nobody knows about. Defaults to those that
            ``labels`` carries, see
            :class:`~mmwsss.datasets.image_labels.Labels`.

    Raises:
        ValueError: If an index is outside 0..K-1.
    """
    if unknown is None:
        unknown = getattr(labels, 'unknown', {})
    unknown = {i: u for i, u in unknown.items() if tuple(u)}
    doubts = ',\n'.join(_rows(classes, unknown))
    body = ',\n'.join(_rows(classes, labels))
    with atomic_write(path) as temp:
        temp.write_text(
            '{\n'
            f'  "format": {_json(FORMAT)},\n'
            f'  "version": {VERSION},\n'
            f'  "classes": {_json(list(classes))},\n' +
            ('  "unknown": {\n' + doubts + '\n  },\n' if doubts else '') +
            '  "labels": {\n' + body + ('\n' if body else '') + '  }\n}\n',
            encoding='utf-8')


def _rows(classes: Sequence[str],
          labels: Mapping[str, Iterable[int]]) -> Iterable[str]:
    for img_id, indices in labels.items():
        indices = sorted({int(i) for i in indices})
        if indices and not 0 <= indices[0] <= indices[-1] < len(classes):
            raise ValueError(f'Image {img_id} has class indices {indices}, '
                             f'but there are {len(classes)} classes.')
        names = [classes[i] for i in indices]
        yield f'    {_json(str(img_id))}: {_json(names)}'


def _json(value: Any) -> str:
    """JSON that people can read in any language."""
    return json.dumps(value, ensure_ascii=False)
