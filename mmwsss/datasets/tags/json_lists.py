"""JSON that people write: mappings, lists of objects, JSON lines."""
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmwsss.utils.io import read_text

from .images import nfc
from .table import (
    CELLS,
    IMAGE_NAMES,
    TAG_NAMES,
    UNKNOWN_NAMES,
    Separator,
    pick,
    plain,
)
from .tag_file import Look, ReadOptions, TagCollector, TagFile, TagReader


class JsonReader(TagReader):
    """``{"image": ["tag", ..]}`` or ``[{"image": .., "tags": [..]}, ..]``."""
    name = 'json'
    title = 'a list of tags in JSON'
    expects = ('{"IMG_1.jpg": ["dog", "cat"], ..} or [{"image": "IMG_1.jpg", '
               '"tags": ["dog", "cat"]}, ..]')

    def matches(self, look: Look) -> bool:
        return look.suffix == '.json'

    def read(self, path: Path, options: ReadOptions) -> TagFile:
        content = load_json(path)
        if isinstance(content, list):
            if not content:
                raise ValueError(f'Label file {path} is an empty list.')
            if not any(isinstance(entry, dict) for entry in content):
                raise ValueError(f'Label file {path} holds a list, not a '
                                 'mapping from image id to tags.')
            entries = [(f'entry {i}', i, entry)
                       for i, entry in enumerate(content, 1)]
            return read_entries(path, self.name, entries, options)
        if not isinstance(content, dict):
            raise ValueError(f'Label file {path} holds a '
                             f'{type(content).__name__}, not a mapping from '
                             'image id to tags.')
        collector = TagCollector(path, options.root)
        separator = Separator(path)
        for name, value in content.items():
            where = f'The entry of image {name}'
            tags, unknown = entry_tags(value, where, path, separator, 0)
            collector.add(name, tags, where, unknown)
        return collector.finish(self.name)


class JsonLinesReader(TagReader):
    """A JSON object per line."""
    name = 'jsonl'
    title = 'JSON lines'
    expects = 'one object per line, {"image": "IMG_1.jpg", "tags": ["dog"]}'

    def matches(self, look: Look) -> bool:
        return look.suffix in ('.jsonl', '.ndjson')

    def read(self, path: Path, options: ReadOptions) -> TagFile:
        entries = []
        for number, line in enumerate(read_text(path).split('\n'), 1):
            if line.strip():
                try:
                    entry = json.loads(line, object_pairs_hook=once)
                except ValueError as error:
                    raise ValueError(f'Line {number} of {path} is no JSON: '
                                     f'{error}.') from error
                entries.append((f'line {number}', number, entry))
        if not entries:
            raise ValueError(f'{path} names no image.')
        return read_entries(path, self.name, entries, options, lines=True)


def once(pairs: list[tuple[str, object]]) -> dict:
    """Build a dict from JSON pairs and refuse a key that stands twice."""
    result = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f'{key!r} stands there twice')
        result[key] = value
    return result


def load_json(path: Path) -> Any:
    """The content of a JSON file.

    Args:
        path (Path): The file.

    Returns:
        Any: Its content.

    Raises:
        ValueError: If it is no JSON, or a key stands twice in an object.
    """
    try:
        return json.loads(read_text(path), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f'Label file {path}: {error}.') from error


def read_entries(path: Path,
                 format: str,
                 entries: Iterable[tuple[str, int, Any]],
                 options: ReadOptions,
                 lines: bool = False) -> TagFile:
    """Tags of objects that name an image each.

    Args:
        path (Path): Where they stand.
        format (str): Name of the format.
        entries (Iterable[tuple]): Place, number and object.
        options (ReadOptions): Keys that a person named.
        lines (bool): Whether the numbers are lines. Defaults to False.

    Returns:
        TagFile: What they say.

    Raises:
        ValueError: If an object has no image or no tags.
    """
    collector = TagCollector(path, options.root)
    separator = Separator(path)
    for where, number, entry in entries:
        keys = list(entry) if isinstance(entry, dict) else []
        image = _key(keys, (options.image, ) if options.image else
                     IMAGE_NAMES)
        tags = _key(keys, options.labels or TAG_NAMES)
        name = entry[image] if image is not None else None
        if not isinstance(name, str) or tags is None:
            raise ValueError(
                f"Label file {path}: {where} must have "
                f"{options.image or 'image'!r} (a name) and "
                f"{','.join(options.labels) or 'tags'!r} (a list), is "
                f'{str(entry)[:60]}. Other keys can be said: --columns '
                'image=KEY labels=KEY.')
        place = f'{where} (image {name})'
        found, unknown = entry_tags(entry[tags], place, path, separator,
                                    number)
        doubt = _key(keys, UNKNOWN_NAMES)
        if doubt is not None:
            unknown += entry_tags(entry[doubt], place, path, separator,
                                  number)[0]
        collector.add(name, found, where, unknown,
                      number if lines else None)
    return collector.finish(format)


def _key(keys: list[str], known: Iterable[str]) -> Any:
    index = pick(keys, [plain(k) for k in known])
    return None if index is None else keys[index]


def entry_tags(value: Any, where: str, path: Path, separator: Separator,
               number: int) -> tuple[list[str], list[str]]:
    """Tags of a value: a list, a name, or a mapping to 1, 0, -1.

    Args:
        value (Any): What stands there.
        where (str): Where, for messages.
        path (Path): The file.
        separator (Separator): Splits a single text.
        number (int): Of the line or entry, for messages.

    Returns:
        tuple[list[str], list[str]]: Tags, and classes that nobody knows
        about.

    Raises:
        ValueError: If it is none of these.
    """
    if isinstance(value, str):
        return separator.split(nfc(value), number), []
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return list(value), []
    if isinstance(value, dict) and value and all(
            flag(v) is not NotImplemented for v in value.values()):
        states: dict[str, Any] = {k: flag(v) for k, v in value.items()}
        return ([k for k, v in states.items() if v],
                [k for k, v in states.items() if v is None])
    raise ValueError(f'{where} in {path}: the tags are {str(value)[:60]}, '
                     'not a list of class names.')


def flag(value: Any) -> Any:
    """True, False, None (unknown), or NotImplemented for anything else."""
    if isinstance(value, (bool, int, float, str)):
        return CELLS.get(str(value).lower(), NotImplemented)
    return NotImplemented
