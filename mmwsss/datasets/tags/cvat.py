"""CVAT: the XML for images."""
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from .images import ToolNames, nfc
from .tag_file import Look, ReadOptions, TagCollector, TagFile, TagReader


class CvatReader(TagReader):
    """``annotations.xml`` of "CVAT for images"; shapes count as tags."""
    name = 'cvat'
    title = 'the XML of "CVAT for images"'
    expects = '<annotations> with <image name=".."><tag label=".."/></image>'

    def matches(self, look: Look) -> bool:
        return look.suffix == '.xml'

    def read(self, path: Path, options: ReadOptions) -> TagFile:
        try:
            root = ElementTree.parse(path).getroot()
        except (ElementTree.ParseError, LookupError, ValueError) as error:
            raise ValueError(f'{path} is no readable XML ({error}).') \
                from error
        if root.tag == 'annotation':
            raise ValueError(f"{path} is VOC's annotation of one image; name "
                             'the folder of these files.')
        if root.tag != 'annotations':
            raise ValueError(f'{path} begins with <{root.tag}>, not with '
                             '<annotations>.')
        if root.find('track') is not None and root.find('image') is None:
            raise ValueError(f'{path} holds tracks of a video. Export it as '
                             '"CVAT for images 1.1" instead.')
        collector = TagCollector(path, options.root)
        names = ToolNames(options.root)
        for number, image in enumerate(root.findall('image'), 1):
            name = image.get('name', '')
            where = f'image {name or number}'
            tags = [self._label(part, where, path) for part in image]
            collector.add(name, tags, where, img_id=names.id(name))
        if not collector.tags:
            raise ValueError(f'{path} names no image.')
        classes = [
            nfc((label.findtext('name') or '').strip())
            for labels in root.iterfind('meta//labels')
            for label in labels.findall('label')
            # Points of a skeleton are labels of their own.
            if not label.findtext('parent')
        ]
        classes = list(dict.fromkeys(classes))
        used = {t for tags in collector.tags.values() for t in tags}
        strange = sorted(used - set(classes))
        if classes and strange:
            raise ValueError(f'{path}: the label {strange[0]!r} is not among '
                             f'those of the task: {", ".join(classes)}.')
        return collector.finish(self.name, classes or None)

    @staticmethod
    def _label(part: Any, where: str, path: Path) -> str:
        label = (part.get('label') or '').strip()
        if not label:
            raise ValueError(f'{path}: <{part.tag}> of {where} has no label.')
        return label
