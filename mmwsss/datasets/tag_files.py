"""Tags in the formats that people have.

``read_tags`` reads, without being told the classes:

- csv (or tsv) with the header ``image,tags``, tags separated by ``;``, ``|``
  or, in quotes, ``,``;
- csv with the header ``image,dog,cat,..`` and 0 or 1 in every cell;
- JSON: our own format (:mod:`.image_labels`), ``{"image": ["tag", ..]}`` or
  ``[{"image": .., "tags": [..]}, ..]``;
- JSON of COCO's instances, of which only the categories count;
- a folder of VOC's XML annotations;
- a folder with a folder of images per class. One called ``background`` holds
  images without any class.

An image is named by its path below the image folder without ending, with
``/`` between folders. Names and tags are compared as Unicode NFC: file names
of a Mac come decomposed.
"""
import csv
import difflib
import io
import json
import os
import unicodedata
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import (Any, Dict, Iterable, List, Mapping, Optional, Sequence,
                    Set, Tuple, Union)

from mmwsss.utils.image_formats import (IMAGE_SUFFIXES, UNREAD_SUFFIXES,
                                        missing_reader)
from mmwsss.utils.io import read_text
from mmwsss.utils.json_stream import iter_members

PathLike = Union[str, Path]

FORMAT = 'mmwsss-image-labels'
VERSION = 1
FORMATS = ('csv', 'json', 'coco', 'xml', 'folders', 'npy')
#: What columns and keys may be called.
IMAGE_NAMES = ('image', 'img', 'id', 'image_id', 'img_id', 'imageid',
               'image_name', 'file', 'file_name', 'filename', 'name', 'path')
TAG_NAMES = ('tags', 'tag', 'labels', 'label', 'classes', 'class')
#: Between two tags in a cell.
SEPARATORS = ';|,'
#: Cells of a csv file with a column per class.
CELLS = {'1': True, '1.0': True, 'true': True,
         '0': False, '0.0': False, 'false': False, '': False}
_HEADER = ("must be 'image,tags' (tags separated by ';') or 'image' and one "
           'column per class with 0 or 1')


@dataclass
class TagFile:
    """What a file says about images.

    Attributes:
        path (Path): The file or folder.
        format (str): One of ``FORMATS``.
        classes (tuple[str, ...]): Names without background: as declared, or
            all that occur, sorted.
        declared (bool): Whether the file lists its classes, not only tags.
        tags (dict[str, tuple[str, ...]]): Image id -> tags, in the order of
            the file.
        lines (dict[str, int]): Image id -> line, in csv files.
    """
    path: Path
    format: str
    classes: Tuple[str, ...]
    declared: bool
    tags: Dict[str, Tuple[str, ...]]
    lines: Dict[str, int] = field(default_factory=dict)

    def where(self, img_id: str) -> str:
        """Where an image stands, for messages."""
        line = self.lines.get(img_id)
        return f'{self.path}' if line is None else f'{self.path}, line {line}'


def nfc(text: str) -> str:
    """Composed letters, as keyboards of most systems type them."""
    return unicodedata.normalize('NFC', text)


def image_id(name: str, root: Optional[PathLike] = None) -> str:
    """What an image is called here.

    Args:
        name (str): Its path below the image folder; with or without ending,
            with ``/`` or Windows' ``\\``.
        root (str | Path, optional): The image folder, if ``name`` may be an
            absolute path in it.

    Returns:
        str: E.g. ``holidays/IMG 1`` for ``.\\holidays\\IMG 1.JPG``.

    Raises:
        ValueError: If the path leads out of the image folder.
    """
    path = PurePosixPath(name.strip().replace('\\', '/'))
    if root is not None and path.is_absolute():
        root = PurePosixPath(Path(root).resolve().as_posix())
        if root in path.parents:
            path = path.relative_to(root)
    if (path.is_absolute() or PureWindowsPath(name).drive
            or '..' in path.parts):
        raise ValueError(
            f'{name!r} lies outside the image folder; give paths relative '
            'to it')
    if not path.name:
        raise ValueError('an image has no name')
    if path.suffix.lower() in (*IMAGE_SUFFIXES, *UNREAD_SUFFIXES):
        path = path.with_suffix('')
    return nfc(str(path))


def is_image(name: str) -> bool:
    """Whether a file name is that of an image.

    What systems leave in folders beside images (``._IMG_1.jpg`` of a Mac) is
    none.
    """
    return (not name.startswith('.')
            and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES)


def find_images(root: PathLike,
                wanted: Optional[Iterable[str]] = None) -> Dict[str, str]:
    """All images in a folder and the folders in it.

    Args:
        root (str | Path): The folder.
        wanted (Iterable[str], optional): The ids that matter; of others two
            files may have the same. Defaults to all.

    Returns:
        dict[str, str]: Id -> path relative to ``root``, of all images,
        sorted by id.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If two files would have one id, such as ``a.jpg`` and
            ``a.png``.
    """
    if not os.path.isdir(root):
        raise FileNotFoundError(f'There is no image folder {root}.')
    wanted = None if wanted is None else set(wanted)
    found: Dict[str, str] = {}
    visited: Set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:  # A link to a folder above it.
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(f for f in folders
                            if not f.startswith('.') and f != '__MACOSX')
        for name in sorted(filter(is_image, names)):
            path = Path(folder, name).relative_to(root).as_posix()
            key = nfc(os.path.splitext(path)[0])
            if key in found and (wanted is None or key in wanted):
                raise ValueError(
                    f'{found[key]!r} and {path!r} in {root} differ in their '
                    f'endings only, so both would be image {key!r}. Rename '
                    'one of them, or move masks to a folder of their own.')
            found[key] = path
    return dict(sorted(found.items()))


def find_unread(root: PathLike) -> Dict[str, str]:
    """Pictures in a folder that are of kinds which are not read here.

    Args:
        root (str | Path): The folder.

    Returns:
        dict[str, str]: Id -> path relative to ``root``.
    """
    return {
        nfc(os.path.splitext(path)[0]): path
        for path in sorted(
            p.relative_to(root).as_posix() for p in Path(root).rglob('*')
            if missing_reader(p) and not p.name.startswith('.'))
    }


def missing_images(missing: Sequence[str],
                   root: PathLike,
                   found: Iterable[str],
                   source: PathLike,
                   lines: Mapping[str, int],
                   limit: int = 5) -> str:
    """Say which images a folder lacks, and what was perhaps meant.

    Args:
        missing (Sequence[str]): Ids without a file.
        root (str | Path): The image folder.
        found (Iterable[str]): The ids that it has.
        source (str | Path): Where the ids stand.
        lines (Mapping[str, int]): In which lines, as far as known.
        limit (int): Ids to name. Defaults to 5.

    Returns:
        str: Some sentences.
    """
    found = list(found)
    names = []
    for img_id in missing[:limit]:
        line = f' (line {lines[img_id]})' if img_id in lines else ''
        names.append(repr(img_id) + line)
    more = len(missing) - limit
    text = (f'{len(missing)} image(s) of {source} are not in {root}: '
            f'{", ".join(names)}{f" and {more} more" if more > 0 else ""}.')
    first = missing[0]
    folder = Path(root, first).parent
    others = sorted(
        p.name for p in (folder.iterdir() if folder.is_dir() else ())
        if nfc(p.stem) == nfc(PurePosixPath(first).name) and p.is_file())
    base = PurePosixPath(first).name
    elsewhere = [i for i in found if PurePosixPath(i).name == base]
    close = difflib.get_close_matches(first, found[:10000], 1, 0.8)
    if others:
        how = missing_reader(others[0])
        text += (f' There is {others[0]!r}, whose ending is none of '
                 f'{", ".join(IMAGE_SUFFIXES)}: ' +
                 (f'{how}.' if how else 'convert such files.'))
    elif elsewhere:
        text += (f' There is {elsewhere[0]!r}: names are paths below the '
                 'image folder.')
    elif close:
        text += f' There is {close[0]!r}: did you mean that?'
    elif found:
        text += f' It has {len(found)} images, e.g. {found[0]!r}.'
    else:
        text += ' It holds no image at all.'
    return text


def read_tags(path: PathLike,
              format: Optional[str] = None,
              root: Optional[PathLike] = None) -> TagFile:
    """Read tags of any format; see the module.

    Args:
        path (str | Path): A file or folder.
        format (str, optional): One of ``FORMATS`` except 'npy', which knows
            no names. None looks at the ending and the content.
        root (str | Path, optional): The image folder, if the file names
            images by absolute paths.

    Returns:
        TagFile: Ids and names of classes are NFC.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is none of these, names an image twice, has
            no image, or if class names are empty, double, 'background', or
            differ in case only. Names the line where there are lines.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f'There is no label file {path}. Set labels_file of the dataset, '
            'or write one, e.g. with '
            '`python tools/dataset_converters/voc.py VOC2012` or, for your '
            'own images, tools/dataset_converters/custom.py.')
    if format is None:
        format = find_format(path)
    readers = dict(csv=_read_csv, json=_read_json, coco=_read_coco,
                   xml=_read_xml, folders=_read_folders)
    if format not in readers:
        raise ValueError(f'The format of tags is {format!r}, must be one of '
                         f'{", ".join(readers)}.')
    if path.is_dir() != (format in ('xml', 'folders')):
        raise ValueError(
            f'{path} is a {"folder" if path.is_dir() else "file"}, which '
            f'tags of the format {format!r} are not.')
    result = readers[format](path, root)
    _check_names(result)
    return result


def find_format(path: PathLike) -> str:
    """The format of a file or folder of tags.

    Args:
        path (str | Path): It exists.

    Returns:
        str: One of ``FORMATS``.

    Raises:
        ValueError: If it looks like none.
    """
    path = Path(path)
    if path.is_dir():
        names = sorted(os.listdir(path))
        xml = any(n.lower().endswith('.xml') for n in names)
        folders = [n for n in names
                   if not n.startswith('.') and (path / n).is_dir()]
        if xml and not folders:
            return 'xml'
        if folders and not xml:
            return 'folders'
        if xml:
            raise ValueError(
                f'{path} holds both XML files and folders. Name the folder '
                'of XML files itself, or say which of the formats xml and '
                'folders it is.')
        raise ValueError(f'{path} holds neither XML annotations nor a folder '
                         'of images per class.')
    suffix = path.suffix.lower()
    if suffix == '.npy':
        return 'npy'
    if suffix in ('.csv', '.tsv'):
        return 'csv'
    if suffix == '.json':
        return 'coco' if _is_coco(path) else 'json'
    raise ValueError(f'Label file {path} ends in {path.suffix!r}; known are '
                     '.json, .csv, .tsv and .npy. If it is one of these, '
                     'rename it.')


# ----------------------------------------------------------------- all files
def _check_names(file: TagFile) -> None:
    """Refuse class names that nobody can mean."""
    path, classes = file.path, file.classes
    if not file.tags and file.format != 'json':
        raise ValueError(f'{path} names no image.')
    for name in classes:
        if not name.strip():
            raise ValueError(f'{path}: a class has no name.')
        if len(name.splitlines()) > 1:
            raise ValueError(f'{path}: a class is called {name!r}, with a '
                             'line break. Is a quotation mark missing, or a '
                             'separator between two tags?')
        if name.lower() == 'background':
            raise ValueError(
                f"{path}: 'background' is no class; it is what has no other. "
                'An image that shows none of the classes has no tag.')
    if len(set(classes)) < len(classes):
        double = sorted({c for c in classes if classes.count(c) > 1})
        raise ValueError(f'{path}: two classes are called {double[0]!r}.')
    seen: Dict[str, str] = {}
    for name in () if file.declared else classes:
        other = seen.setdefault(''.join(name.lower().split()), name)
        if other != name:
            raise ValueError(
                f'{path}: the tags {other!r} ({_first(file, other)}) and '
                f'{name!r} ({_first(file, name)}) differ in spelling only. '
                'Write both the same way.')


def _first(file: TagFile, tag: str) -> str:
    """Where a tag stands first."""
    img_id = next(i for i, tags in file.tags.items() if tag in tags)
    line = file.lines.get(img_id)
    return f'line {line}' if line else f'image {img_id}'


def _collected(tags: Dict[str, Tuple[str, ...]]) -> Tuple[str, ...]:
    return tuple(sorted({name for names in tags.values() for name in names}))


# ----------------------------------------------------------------------- csv
def _read_csv(path: Path, root: Optional[PathLike]) -> TagFile:
    text = read_text(path)
    first = text.lstrip('\r\n').split('\n', 1)[0]
    # Excel separates columns by what the country does not use in numbers.
    delimiter = max(',;\t', key=first.count)
    reader = csv.reader(
        io.StringIO(text, newline=''), delimiter=delimiter, strict=True)
    rows: List[Tuple[int, List[str]]] = []
    try:
        for row in reader:
            cells = [nfc(cell.strip()) for cell in row]
            if any(cells):
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise ValueError(f'Line {reader.line_num} of {path} is no csv '
                         f'({error}).') from error
    header = list(rows[0][1]) if rows else []
    while header and not header[-1]:  # Excel's empty columns
        header.pop()
    if header and not header[0] and len(header) > 2:
        # A column of row numbers, as pandas writes it.
        rows = [(line, cells[1:]) for line, cells in rows]
        header = header[1:]
    lower = [cell.lower() for cell in header]
    if len(header) < 2 or lower[0] not in IMAGE_NAMES:
        raise ValueError(f'Label file {path} begins with {header}, the header '
                         f'{_HEADER}.')
    if lower[1] in TAG_NAMES and len(header) > 2:
        raise ValueError(
            f'Label file {path} has further columns beside {header[0]!r} and '
            f'{header[1]!r}: {header[2:]}. Take them out; the header '
            f'{_HEADER}.')
    if len(rows) < 2:
        raise ValueError(f'Label file {path} has a header but no image.')
    result = TagFile(path, 'csv', (), lower[1] not in TAG_NAMES, {})
    names: List[Tuple[str, int, List[str]]] = []
    for line, cells in rows[1:]:
        try:
            img_id = image_id(cells[0], root)
        except ValueError as error:
            raise ValueError(f'Line {line} of {path}: {error}.') from error
        if img_id in result.lines:
            raise ValueError(
                f'Image {img_id!r} stands twice in {path} (line '
                f'{result.lines[img_id]} and line {line}). Give all its tags '
                'in one row.')
        result.lines[img_id] = line
        names.append((img_id, line, cells))
    if result.declared:
        result.classes = tuple(header[1:])
        tags = {i: _flags(cells, header, line, path)
                for i, line, cells in names}
    else:
        tags = _split_cells(names, delimiter, path)
        result.classes = _collected(tags)
    result.tags = tags
    return result


def _flags(cells: Sequence[str], header: Sequence[str], line: int,
           path: Path) -> Tuple[str, ...]:
    """Tags of a row with a cell per class."""
    while len(cells) > len(header) and not cells[-1]:
        cells = cells[:-1]
    if len(cells) != len(header):
        raise ValueError(f'Line {line} of {path} has {len(cells)} columns, '
                         f'the header {len(header)}.')
    tags = []
    for name, cell in zip(header[1:], cells[1:]):
        if cell.lower() not in CELLS:
            raise ValueError(
                f'Line {line} of {path}: {cell!r} in the column {name!r} is '
                f'neither 0 nor 1. The header {_HEADER}.')
        if CELLS[cell.lower()]:
            tags.append(name)
    return tuple(tags)


def _split_cells(names: Sequence[Tuple[str, int, List[str]]], delimiter: str,
                 path: Path) -> Dict[str, Tuple[str, ...]]:
    """Tags of rows with one cell for all."""
    separator, since = '', 0
    tags = {}
    for img_id, line, cells in names:
        while len(cells) > 2 and not cells[-1]:
            cells = cells[:-1]
        if len(cells) > 2:
            other = ';' if delimiter != ';' else '|'
            raise ValueError(
                f'Line {line} of {path} has {len(cells)} columns; separate '
                f'tags by "{other}", not "{delimiter}", or put them in '
                'quotes.')
        cell = cells[1] if len(cells) == 2 else ''
        for mark in SEPARATORS:
            if mark in cell and mark != separator:
                if separator:
                    raise ValueError(
                        f'{path} separates tags by {separator!r} in line '
                        f'{since} and has {mark!r} in line {line}. Use one '
                        'separator; names that hold one go into a JSON file.')
                separator, since = mark, line
        parts = cell.split(separator) if separator else [cell]
        tags[img_id] = tuple(
            dict.fromkeys(p.strip() for p in parts if p.strip()))
    return tags


# ---------------------------------------------------------------------- JSON
def _once(pairs: List[Tuple[str, object]]) -> dict:
    """Build a dict from JSON pairs and refuse a key that stands twice."""
    result = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f'{key!r} stands there twice')
        result[key] = value
    return result


def _is_coco(path: Path) -> bool:
    """Whether a JSON file has COCO's lists; reads no more than it must."""
    try:
        for key, index, item in iter_members(path):
            if index is not None:
                known = key in ('images', 'annotations', 'categories')
                if known and isinstance(item, dict):
                    return True
                if not isinstance(item, dict):
                    return False
    except ValueError:
        pass  # Who reads the file will say what is wrong.
    return False


def _read_json(path: Path, root: Optional[PathLike]) -> TagFile:
    try:
        content = json.loads(read_text(path), object_pairs_hook=_once)
    except ValueError as error:
        raise ValueError(f'Label file {path}: {error}.') from error
    if isinstance(content, list):
        content = _from_list(content, path)
    if not isinstance(content, dict):
        raise ValueError(f'Label file {path} holds a '
                         f'{type(content).__name__}, not a mapping from '
                         'image id to tags.')
    declared, ours = None, isinstance(content.get('labels'), dict)
    if ours:
        version = content.get('version', VERSION)
        if content.get('format', FORMAT) != FORMAT or version != VERSION:
            raise ValueError(
                f'Label file {path} is of format {content.get("format")!r} '
                f'version {version}; known is {FORMAT!r} version {VERSION}.')
        declared = content.get('classes')
        content = content['labels']
    tags: Dict[str, Tuple[str, ...]] = {}
    for name, names in content.items():
        if not isinstance(names, list) or not all(
                isinstance(n, str) for n in names):
            raise ValueError(f'The tags of image {name} in {path} are '
                             f'{names!r}, not a list of class names.')
        try:
            # Ours is written by programs: ids are what they are.
            img_id = name if ours else image_id(name, root)
        except ValueError as error:
            raise ValueError(f'Label file {path}: {error}.') from error
        if img_id in tags:
            raise ValueError(f'Label file {path}: two entries name the image '
                             f'{img_id!r}.')
        tags[img_id] = tuple(dict.fromkeys(nfc(n.strip()) for n in names))
    if declared is None:
        return TagFile(path, 'json', _collected(tags), False, tags)
    if isinstance(declared, str) or not all(
            isinstance(n, str) for n in declared):
        raise ValueError(f"Label file {path}: 'classes' is {declared!r}, not "
                         'a list of names.')
    return TagFile(path, 'json', tuple(nfc(n) for n in declared), True, tags)


def _from_list(entries: list, path: Path) -> Any:
    """``[{"image": .., "tags": [..]}, ..]`` as a mapping."""
    content: Dict[str, Any] = {}
    for number, entry in enumerate(entries, 1):
        lower = {str(k).lower(): v for k, v in entry.items()} if isinstance(
            entry, dict) else {}
        name = next((lower[k] for k in IMAGE_NAMES if k in lower), None)
        tags = next((lower[k] for k in TAG_NAMES if k in lower), None)
        if not isinstance(name, str) or tags is None:
            if not lower:
                return entries  # No list of objects at all.
            raise ValueError(
                f"Label file {path}: entry {number} must have 'image' (a "
                f"name) and 'tags' (a list), is {str(entry)[:60]}.")
        if name in content:
            raise ValueError(f'Label file {path}: image {name!r} stands there '
                             f'twice (entry {number}).')
        content[name] = tags
    if not entries:
        raise ValueError(f'Label file {path} is an empty list.')
    return content


def _read_coco(path: Path, root: Optional[PathLike]) -> TagFile:
    names: Dict[Any, str] = {}
    images: Dict[Any, str] = {}
    found: Dict[Any, Set[Any]] = {}
    ids: Set[str] = set()
    needed = dict(
        categories=('id', 'name'),
        images=('id', 'file_name'),
        annotations=('image_id', 'category_id'))
    for key, index, item in iter_members(path):
        if key not in needed or index is None:
            continue
        where = f'{path}: {key}[{index}]'
        first, second = needed[key]
        if not isinstance(item, dict) or first not in item or \
                second not in item:
            raise ValueError(f'{where} must have {first!r} and {second!r}, is '
                             f'{str(item)[:60]}.')
        first, second = item[first], item[second]
        if isinstance(first, (list, dict)) or isinstance(second,
                                                         (list, dict)):
            raise ValueError(f'{where}: {needed[key][0]!r} and '
                             f'{needed[key][1]!r} must be single values, are '
                             f'{str([first, second])[:60]}.')
        if key == 'annotations':
            found.setdefault(first, set()).add(second)
            continue
        table = names if key == 'categories' else images
        if first in table:
            raise ValueError(f'{where}: the id {first} stands there twice.')
        if key == 'images':
            try:
                second = image_id(str(second), root)
            except ValueError as error:
                raise ValueError(f'{where}: {error}.') from error
            if second in ids:
                raise ValueError(f'{where}: the image {second!r} stands '
                                 'there twice.')
            ids.add(second)
        table[first] = nfc(str(second).strip())
    for key, table in (('images', images), ('categories', names)):
        if not table:
            raise ValueError(f'{path}: the list {key!r} is missing or empty, '
                             "so this is no file of COCO's instances.")
    strange = [i for i in found if i not in images]
    if strange:
        raise ValueError(f"{path}: 'annotations' belong to {len(strange)} "
                         f"image_id(s) that 'images' lacks: {strange[:5]}.")
    strange = sorted({c for cs in found.values() for c in cs
                      if c not in names}, key=str)
    if strange:
        raise ValueError(f"{path}: 'annotations' have category_id(s) that "
                         f"'categories' lacks: {strange[:5]}.")
    order = sorted(names, key=lambda c: (str(type(c)), c))
    tags = {
        img_id: tuple(names[c] for c in order if c in found.get(number, ()))
        for number, img_id in images.items()
    }
    return TagFile(path, 'coco', tuple(names[c] for c in order), True, tags)


# ------------------------------------------------------------------- folders
def voc_xml_tags(path: PathLike) -> Tuple[str, ...]:
    """Names of the objects in a VOC annotation, difficult ones included.

    Args:
        path (str | Path): ``Annotations/{id}.xml``.

    Returns:
        tuple[str, ...]: Each once.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no XML or an object has no name.
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
    # Direct children only: objects contain parts, which have names too.
    names = [nfc((o.findtext('name') or '').strip())
             for o in root.findall('object')]
    if '' in names:
        raise ValueError(f'An object of image {path.stem} has no name: '
                         f'{path}')
    return tuple(dict.fromkeys(names))


def _read_xml(path: Path, root: Optional[PathLike]) -> TagFile:
    tags = {}
    for file in sorted(path.iterdir()):
        if file.suffix.lower() == '.xml' and not file.name.startswith('.'):
            tags[nfc(file.stem)] = voc_xml_tags(file)
    if not tags:
        raise ValueError(f'{path} holds no XML annotation.')
    return TagFile(path, 'xml', _collected(tags), False, tags)


def _read_folders(path: Path, root: Optional[PathLike]) -> TagFile:
    images = find_images(path)
    loose = [file for file in images.values() if '/' not in file]
    if loose:
        raise ValueError(
            f'{len(loose)} image(s) lie in {path} itself, e.g. {loose[0]!r}, '
            'not in the folder of a class. Move them there; images without '
            'any class go into a folder called background.')
    if not images:
        raise ValueError(f'{path} holds no image ({", ".join(IMAGE_SUFFIXES)}'
                         ') in any folder.')
    tags = {}
    for img_id in images:
        name = img_id.split('/')[0]
        tags[img_id] = () if name.lower() == 'background' else (name, )
    classes = _collected(tags)
    if not classes:
        raise ValueError(f'{path} holds no folder of a class but background.')
    return TagFile(path, 'folders', classes, True, tags)
