"""COCO's instances, of which only the categories count."""
from pathlib import Path
from typing import Any

from mmwsss.utils.json_stream import iter_members

from .images import ToolNames, image_id, nfc
from .tag_file import Look, ReadOptions, TagFile, TagReader

_NEEDED = dict(
    categories=('id', 'name'),
    images=('id', 'file_name'),
    annotations=('image_id', 'category_id'))


class CocoReader(TagReader):
    """``instances_*.json``; boxes and outlines are not needed."""
    name = 'coco'
    title = "COCO's instances"
    expects = ('the lists images (id, file_name), categories (id, name) and '
               'annotations (image_id, category_id)')

    def matches(self, look: Look) -> bool:
        return any(
            isinstance(look.members.get(key), list)
            and isinstance(look.members[key][0], dict) for key in _NEEDED)

    def read(self, path: Path, options: ReadOptions) -> TagFile:
        names: dict[Any, str] = {}
        images: dict[Any, str] = {}
        found: dict[Any, set[Any]] = {}
        ids: set[str] = set()
        tool = ToolNames(options.root)
        for key, index, item in iter_members(path):
            if key not in _NEEDED or index is None:
                continue
            where = f'{path}: {key}[{index}]'
            first, second = _pair(item, key, where)
            if key == 'annotations':
                found.setdefault(first, set()).add(second)
                continue
            table = names if key == 'categories' else images
            if first in table:
                raise ValueError(f'{where}: the id {first} stands there '
                                 'twice.')
            if key == 'images':
                second = _image(str(second), options, tool, where)
                if second in ids:
                    raise ValueError(f'{where}: the image {second!r} stands '
                                     'there twice.')
                ids.add(second)
            table[first] = nfc(str(second).strip())
        for key, table in (('images', images), ('categories', names)):
            if not table:
                raise ValueError(
                    f'{path}: the list {key!r} is missing or empty, so this '
                    "is no file of COCO's instances.")
        strange = [i for i in found if i not in images]
        if strange:
            raise ValueError(f"{path}: 'annotations' belong to "
                             f"{len(strange)} image_id(s) that 'images' "
                             f'lacks: {strange[:5]}.')
        strange = sorted({c for cs in found.values() for c in cs
                          if c not in names}, key=str)
        if strange:
            raise ValueError(f"{path}: 'annotations' have category_id(s) "
                             f"that 'categories' lacks: {strange[:5]}.")
        order = sorted(names, key=lambda c: (str(type(c)), c))
        tags = {
            img_id: tuple(names[c] for c in order
                          if c in found.get(number, ()))
            for number, img_id in images.items()
        }
        return TagFile(path, self.name, tuple(names[c] for c in order), True,
                       tags)


def _image(name: str, options: ReadOptions, tool: ToolNames,
           where: str) -> str:
    """The image's id; tools put folders and addresses in front of names."""
    found = tool.found or ()
    try:
        img_id = image_id(name, options.root)
    except ValueError as error:
        if tool.id(name) not in found:
            raise ValueError(f'{where}: {error}.') from error
        return tool.id(name)
    return tool.id(name) if tool.id(name) in found else img_id


def _pair(item: Any, key: str, where: str) -> tuple:
    """The two values of an entry that matter."""
    first, second = _NEEDED[key]
    if not isinstance(item, dict) or first not in item or second not in item:
        captions = key == 'annotations' and isinstance(
            item, dict) and 'caption' in item
        raise ValueError(
            f'{where} must have {first!r} and {second!r}, is '
            f'{str(item)[:60]}.' +
            (' Captions are sentences, no tags; take the file of instances.'
             if captions else ''))
    values = item[first], item[second]
    if any(isinstance(v, (list, dict)) for v in values):
        raise ValueError(f'{where}: {first!r} and {second!r} must be single '
                         f'values, are {str(list(values))[:60]}.')
    return values
