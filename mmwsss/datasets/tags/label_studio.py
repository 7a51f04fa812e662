"""Exports of Label Studio: JSON, JSON-MIN and CSV.

Choices count, and the labels of boxes, polygons, brush strokes and so on.
Tasks that nobody annotated are left out: an image without a tag would say
that it shows none of the classes. Predictions and cancelled annotations do
not count; annotations of several people are united.
"""
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .images import IMAGE_SUFFIXES, ToolNames, nfc
from .json_lists import load_json
from .table import IMAGE_NAMES, TAG_NAMES, Separator, csv_rows, pick, plain
from .tag_file import Look, ReadOptions, TagCollector, TagFile, TagReader

#: What a row of JSON-MIN and CSV has beside data and results.
_FACTS = frozenset({
    'id', 'annotator', 'annotation_id', 'created_at', 'updated_at',
    'lead_time'
})
#: Keys whose values are names of classes.
_VALUES = ('choices', 'labels', 'rectanglelabels', 'polygonlabels',
           'brushlabels', 'ellipselabels', 'keypointlabels', 'bitmasklabels',
           'vectorlabels', 'taxonomy')


class LabelStudioReader(TagReader):
    """Any of the three exports."""
    name = 'label_studio'
    title = 'an export of Label Studio'
    expects = ('JSON (tasks with "data" and "annotations"), JSON-MIN or CSV '
               '(rows with annotation_id, the image and what was chosen)')

    def matches(self, look: Look) -> bool:
        if look.header:
            return 'annotation_id' in look.header
        entry = look.entry
        return 'annotation_id' in entry or 'data' in entry and any(
            k in entry for k in ('annotations', 'completions', 'predictions'))

    def read(self, path: Path, options: ReadOptions) -> TagFile:
        collector = TagCollector(path, options.root)
        names = ToolNames(options.root)
        if path.suffix.lower() in ('.csv', '.tsv'):
            rows = self._csv(path)
        else:
            rows = load_json(path)
        if not isinstance(rows, list) or not rows or not all(
                isinstance(row, dict) for row in rows):
            raise ValueError(f'{path} is no list of tasks.')
        if 'data' in rows[0]:
            _read_tasks(path, rows, options, names, collector)
        else:
            _read_flat(path, rows, options, names, collector)
        return collector.finish(self.name)

    @staticmethod
    def _csv(path: Path) -> list[dict[str, Any]]:
        (_, header), *body = csv_rows(path)[0]
        rows = []
        for line, cells in body:
            if len(cells) != len(header):
                raise ValueError(f'Line {line} of {path} has {len(cells)} '
                                 f'columns, the header {len(header)}.')
            row = dict(zip(header, map(_parsed, cells)), line=line)
            rows.append({k: v for k, v in row.items() if v != ''})
        return rows


def _parsed(cell: str) -> Any:
    """A cell of the CSV export: JSON where it is no plain text."""
    if cell[:1] in ('{', '['):
        try:
            return json.loads(cell)
        except ValueError:
            pass  # A text that begins with a bracket.
    return cell


def _image_key(data: dict[str, Any], options: ReadOptions,
               where: str) -> str:
    """Which part of a task's data is the image."""
    if options.image is not None:
        if not isinstance(data.get(options.image), str):
            raise ValueError(f'{where} has no text {options.image!r}, only: '
                             f'{", ".join(data)}.')
        return options.image
    texts = {k: v for k, v in data.items() if isinstance(v, str)}
    pictures = [
        k for k, v in texts.items()
        if v.split('?')[0].lower().endswith(IMAGE_SUFFIXES)
        or v.lower().endswith(IMAGE_SUFFIXES)
    ]
    keys = pictures or [k for k in texts if plain(k) in IMAGE_NAMES[:-1]]
    if not keys:
        raise ValueError(f'{where} names no image, only: {", ".join(data)}. '
                         'Say where it stands: --columns image=KEY.')
    index = pick(keys, IMAGE_NAMES)
    if len(keys) > 1 and index is None:
        raise ValueError(f'{where} names several images: {", ".join(keys)}. '
                         'Say which: --columns image=KEY.')
    return keys[index or 0]


def _names_of(value: Any) -> Iterable[str]:
    """Class names of a result's value."""
    for key in _VALUES:
        listed = value.get(key) if isinstance(value, dict) else None
        for name in [listed] if isinstance(listed, str) else listed or ():
            # A taxonomy gives the way from the root to the leaf.
            yield str(name[-1] if isinstance(name, list) and name else name)


def _read_tasks(path: Path, tasks: list, options: ReadOptions,
                names: ToolNames, collector: TagCollector) -> None:
    """The JSON export."""
    bare, mute = 0, 0
    controls: dict[str, None] = {}
    for number, task in enumerate(tasks, 1):
        where = f'task {task.get("id", number)}'
        data = task.get('data')
        if not isinstance(data, dict):
            raise ValueError(f"{path}: {where} has no 'data'.")
        done = [
            a for a in task.get('annotations', task.get('completions')) or ()
            if not a.get('was_cancelled') and not a.get('skipped')
        ]
        if not done:
            bare += 1
            continue
        tags, answers = [], False
        for result in (r for a in done for r in a.get('result') or ()):
            control = result.get('from_name')
            if options.labels and control not in options.labels:
                continue
            names_here = list(_names_of(result.get('value')))
            tags += names_here
            answers = True
            if names_here and control:
                controls[str(control)] = None
        mute += answers and not tags
        name = data[_image_key(data, options, f'{path}: {where}')]
        collector.add(name, tags, where, img_id=names.id(name))
        if len(done) > 1:
            collector.repeated.add(names.id(name))
    if bare:
        collector.notes.append(f'{bare} task(s) have no annotation and are '
                               'left out.')
    if mute:
        collector.notes.append(
            f'{mute} task(s) were answered, but not with classes (by texts, '
            'numbers, ..); their images count as showing none.')
    if len(controls) > 1:
        collector.notes.append(
            f'Answers to {len(controls)} questions are taken for tags alike: '
            f'{", ".join(controls)}. To choose: --columns labels=NAME.')
    if not collector.tags:
        raise ValueError(f'{path}: no task has an annotation.')


def _read_flat(path: Path, rows: list, options: ReadOptions,
               names: ToolNames, collector: TagCollector) -> None:
    """JSON-MIN and CSV: results stand beside the data."""
    images = [
        _image_key({k: v for k, v in row.items() if k not in _FACTS}, options,
                   f'{path}: entry {n}') for n, row in enumerate(rows, 1)
    ]
    keys = _result_keys(path, rows, options, set(images))
    separator = Separator(path)
    for number, (row, image) in enumerate(zip(rows, images), 1):
        line = row.get('line')
        where = f'entry {number}' if line is None else f'line {line}'
        tags = []
        for key in keys:
            value = row.get(key)
            if isinstance(value, str):
                # A single choice is the name itself.
                tags += [nfc(value)] if line is None else \
                    separator.split(value, line)
            elif isinstance(value, list) and all(
                    isinstance(v, str) for v in value):
                tags += value
            else:
                for part in value if isinstance(value, list) else [value]:
                    tags += _names_of(part)
        collector.add(row[image], tags, where, line=line,
                      img_id=names.id(row[image]))


def _result_keys(path: Path, rows: list, options: ReadOptions,
                 images: set) -> tuple[str, ...]:
    """Which keys hold what was annotated, not data."""
    there: dict[str, list[Any]] = {}
    for row in rows:
        for key, value in row.items():
            if key not in _FACTS and key not in images and key != 'line':
                there.setdefault(key, []).append(value)
    if options.labels:
        lacking = [k for k in options.labels if k not in there]
        if lacking:
            raise ValueError(f'{path} has no key {lacking[0]!r}, only: '
                             f'{", ".join(there)}.')
        return options.labels
    sure = [k for k, values in there.items() if _is_result(values)]
    texts = [k for k in there if k not in sure]
    named = [k for k in texts if plain(k) in TAG_NAMES]
    if sure or named:
        return tuple(sure + [k for k in named if k not in sure])
    if len(texts) == 1:
        return (texts[0], )
    if not texts:
        raise ValueError(f'{path} holds no results beside the images.')
    raise ValueError(f'{path}: any of {", ".join(texts)} could hold the tags. '
                     'Say which: --columns labels=KEY.')


def _is_result(values: list[Any]) -> bool:
    """Whether a value has the form of choices or of regions."""
    for value in values:
        first: Any | None = value[0] if isinstance(
            value, list) and value else value
        if isinstance(first, dict) and any(k in first for k in _VALUES):
            return True
    return False
