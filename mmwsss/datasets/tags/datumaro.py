"""Datumaro's JSON, which CVAT exports as well."""
from pathlib import Path
from typing import Any

from .images import ToolNames, nfc
from .json_lists import load_json
from .tag_file import Look, ReadOptions, TagCollector, TagFile, TagReader


class DatumaroReader(TagReader):
    """``annotations/default.json``; every annotation with a label counts."""
    name = 'datumaro'
    title = "Datumaro's JSON"
    expects = ('"categories" with "label" and "labels", and "items" with '
               '"id" and "annotations" that have a "label_id"')

    def matches(self, look: Look) -> bool:
        categories = look.members.get('categories')
        return 'items' in look.members and 'images' not in look.members or \
            isinstance(categories, dict) and 'label' in categories

    def read(self, path: Path, options: ReadOptions) -> TagFile:
        content = load_json(path)
        try:
            classes = [
                nfc(str(label['name']).strip())
                for label in content['categories']['label']['labels']
            ]
            items = list(content['items'])
        except (KeyError, TypeError) as error:
            raise ValueError(f'{path} has no list of labels or no items '
                             f'({error}).') from error
        collector = TagCollector(path, options.root)
        names = ToolNames(options.root)
        for number, item in enumerate(items):
            where = f'items[{number}]'
            if not isinstance(item, dict) or not isinstance(
                    item.get('id'), str):
                raise ValueError(f'{path}: {where} has no id.')
            tags = self._tags(item, classes, f'{path}: {where}')
            name = _image(item)
            collector.add(name, tags, where, img_id=names.id(name))
        return collector.finish(self.name, classes)

    @staticmethod
    def _tags(item: dict, classes: list[str], where: str) -> list[str]:
        tags = []
        for annotation in item.get('annotations') or ():
            if annotation.get('type') == 'caption':
                continue
            label = annotation.get('label_id')
            if label is None:
                continue  # A shape that nobody named.
            if not isinstance(label, int) or not 0 <= label < len(classes):
                raise ValueError(f"{where} has the label_id {label!r}; there "
                                 f'are {len(classes)} labels.')
            tags.append(classes[label])
        return tags


def _image(item: Any) -> str:
    """The path of an item's image; its id if it has none or an absolute."""
    for key in ('image', 'media'):
        path = (item.get(key) or {}).get('path')
        if isinstance(path, str) and path and not path.startswith('/'):
            return path
    return item['id']
