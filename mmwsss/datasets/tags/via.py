"""VGG Image Annotator 2: its project, and its JSON and CSV exports."""
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .images import ToolNames
from .json_lists import load_json
from .table import TAG_NAMES, csv_rows, plain
from .tag_file import Look, ReadOptions, TagCollector, TagFile, TagReader

#: File, its attributes, and the attributes of its regions.
_Entry = tuple[str, dict[str, Any], list[dict[str, Any]]]


class ViaReader(TagReader):
    """One attribute of regions and files holds the tags."""
    name = 'via'
    title = 'annotations of the VGG Image Annotator (VIA 2)'
    expects = ('a file per entry with "filename", "regions" (with '
               '"region_attributes") and "file_attributes"')

    def matches(self, look: Look) -> bool:
        if look.header:
            return 'region_attributes' in look.header
        members = look.members
        if any(k.startswith('_via_') for k in members) or {
                'project', 'attribute', 'metadata'} <= set(members):
            return True
        first = next(iter(members.values()), None)
        return isinstance(first, dict) and {'filename', 'regions'} <= set(
            first)

    def read(self, path: Path, options: ReadOptions) -> TagFile:
        if path.suffix.lower() == '.csv':
            entries = _from_csv(path)
        else:
            entries = _from_json(path)
        attributes = _attributes(path, entries, options)
        collector = TagCollector(path, options.root)
        names = ToolNames(options.root)
        bare = 0
        for name, own, regions in entries:
            tags = []
            for values in (own, *regions):
                found = [t for a in attributes for t in _names(values.get(a))]
                bare += not found and values is not own
                tags += found
            collector.add(name, tags, f'file {name}', img_id=names.id(name))
        collector.repeated.clear()  # The CSV has a row per region.
        if bare:
            collector.notes.append(f'{bare} region(s) have no '
                                   f'{" or ".join(attributes)}.')
        return collector.finish(self.name)


def _from_json(path: Path) -> list[_Entry]:
    content = load_json(path)
    if isinstance(content, dict) and {'project', 'attribute', 'metadata'} \
            <= set(content):
        raise ValueError(f'{path} is a project of VIA 3, which is not read. '
                         'Export it as COCO, or annotate with VIA 2.')
    if isinstance(content, dict):
        content = content.get('_via_img_metadata', content)
    entries = []
    for key, entry in content.items() if isinstance(content, dict) else ():
        if not isinstance(entry, dict) or not isinstance(
                entry.get('filename'), str):
            raise ValueError(f'{path}: the entry {key!r} has no filename.')
        regions = entry.get('regions') or []
        if isinstance(regions, dict):  # VIA 1
            regions = list(regions.values())
        entries.append((entry['filename'], entry.get('file_attributes') or {},
                        [r.get('region_attributes') or {} for r in regions]))
    if not entries:
        raise ValueError(f'{path} names no image.')
    return entries


def _from_csv(path: Path) -> list[_Entry]:
    (_, header), *body = csv_rows(path)[0]
    header = [h.lstrip('#').strip() for h in header]
    entries: list[_Entry] = []
    for line, cells in body:
        row = dict(zip(header, cells))
        try:
            own = json.loads(row.get('file_attributes') or '{}')
            region = json.loads(row.get('region_attributes') or '{}')
        except ValueError as error:
            raise ValueError(f'Line {line} of {path}: attributes are no JSON '
                             f'({error}).') from error
        if not row.get('filename'):
            raise ValueError(f'Line {line} of {path} has no filename.')
        has_region = row.get('region_count', '1') not in ('', '0')
        entries.append((row['filename'], own, [region] if has_region else []))
    if not entries:
        raise ValueError(f'{path} names no image.')
    return entries


def _names(value: Any) -> Iterable[str]:
    """Tags of an attribute: a text, or boxes that are ticked or not."""
    if isinstance(value, dict):
        return [k for k, v in value.items() if v is True or v == 'true']
    return [value] if isinstance(value, str) and value.strip() else []


def _attributes(path: Path, entries: list[_Entry],
                options: ReadOptions) -> tuple[str, ...]:
    """Which attributes hold the tags."""
    there = Counter(a for _, own, regions in entries
                    for values in (own, *regions) for a in values)
    if options.labels:
        lacking = [a for a in options.labels if a not in there]
        if lacking:
            raise ValueError(f'{path} has no attribute {lacking[0]!r}, only: '
                             f'{", ".join(there)}.')
        return options.labels
    if len(there) > 1:
        named = [a for a in there if plain(a) in TAG_NAMES]
        if len(named) != 1:
            raise ValueError(
                f'{path}: any of the attributes {", ".join(there)} could hold '
                'the tags. Say which: --columns labels=NAME.')
        return tuple(named)
    if not there:
        raise ValueError(f'{path}: no region and no file has an attribute, '
                         'so there are no tags.')
    return tuple(there)
