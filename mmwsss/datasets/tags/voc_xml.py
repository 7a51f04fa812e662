"""A folder of VOC's XML annotations."""
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from .images import PathLike, nfc
from .tag_file import Look, ReadOptions, TagCollector, TagFile, TagReader


class VocXmlReader(TagReader):
    """A folder with ``{id}.xml`` for every image."""
    name = 'xml'
    title = "a folder of VOC's annotations"
    expects = 'a file {id}.xml per image, <annotation> with <object><name>'
    folder = True

    def matches(self, look: Look) -> bool:
        return any(n.lower().endswith('.xml') for n in look.names)

    def read(self, path: Path, options: ReadOptions) -> TagFile:
        collector = TagCollector(path)
        for file in sorted(path.iterdir()):
            if file.suffix.lower() == '.xml' and not file.name.startswith(
                    '.'):
                collector.add(file.stem, voc_xml_tags(file), file.name,
                              img_id=nfc(file.stem))
        if not collector.tags:
            raise ValueError(f'{path} holds no XML annotation.')
        return collector.finish(self.name)


def voc_xml_tags(path: PathLike) -> tuple[str, ...]:
    """Names of the objects in a VOC annotation, difficult ones included.

    Args:
        path (str | Path): ``Annotations/{id}.xml``.

    Returns:
        tuple[str, ...]: Each once.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no XML, no such annotation, or an object has no
            name.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'Image {path.stem} has no annotation '
                                f'file {path}.')
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        # The latter two at encodings that Python does not know.
        raise ValueError(
            f'The annotation of image {path.stem} is no readable XML '
            f'({error}): {path}') from error
    if root.tag != 'annotation':
        raise ValueError(
            f'{path} begins with <{root.tag}>, not <annotation>, so it is no '
            'VOC annotation of an image.' +
            (' It looks like an export of CVAT: name the file itself, not '
             'its folder.' if root.tag == 'annotations' else ''))
    # Direct children only: objects contain parts, which have names too.
    names = [nfc((o.findtext('name') or '').strip())
             for o in root.findall('object')]
    if '' in names:
        raise ValueError(f'An object of image {path.stem} has no name: '
                         f'{path}')
    return tuple(dict.fromkeys(names))
