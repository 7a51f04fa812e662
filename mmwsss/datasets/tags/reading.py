"""One function that reads tags of any format."""
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .coco import CocoReader
from .cvat import CvatReader
from .datumaro import DatumaroReader
from .excel import ExcelReader
from .folders import FoldersReader
from .images import PathLike
from .json_lists import JsonLinesReader, JsonReader
from .label_studio import LabelStudioReader
from .labelme import LabelMeReader
from .ours import OursReader
from .table import CsvReader, plain
from .tag_file import Look, ReadOptions, TagFile, TagReader
from .via import ViaReader
from .voc_xml import VocXmlReader

#: All readers; the first that a file looks like reads it.
READERS: dict[str, TagReader] = {
    reader.name: reader
    for reader in (OursReader(), LabelStudioReader(), ViaReader(),
                   DatumaroReader(), CocoReader(), LabelMeReader(),
                   CvatReader(), CsvReader(), JsonLinesReader(),
                   ExcelReader(), JsonReader(), VocXmlReader(),
                   FoldersReader())
}
#: Their names, and that of pickled vectors, which know no names of classes.
FORMATS = (*READERS, 'npy')
#: Labels of pixels, not of objects, as LabelMe calls them.
SPECIAL = ('__ignore__', '_background_')
#: What people write between tags beside the separators of a table.
JOINTS = ('/', '+', '&', ' and ', ' ', '_', '-')
#: Tags that say that an image shows none of the classes, letters alone.
NO_CLASS = ('nofinding', 'nofindings', 'none', 'nothing')
#: The same, unless an image has another tag beside it.
PERHAPS_NO_CLASS = ('background', 'good', 'ok', 'okay', 'normal', 'nodefect',
                    'nodefects')


def read_tags(path: PathLike,
              format: str | None = None,
              root: PathLike | None = None,
              columns: Mapping[str, Any] | None = None,
              keep: Sequence[str] = ()) -> TagFile:
    """Read tags of any format, without being told the classes.

    Args:
        path (str | Path): A file or folder.
        format (str, optional): One of ``FORMATS`` except 'npy', which knows
            no names. None looks at the ending and the content.
        root (str | Path, optional): The image folder, if the file names
            images by absolute paths or as annotation tools do.
        columns (Mapping, optional): Names of columns or keys: ``image``, and
            ``labels``, one or several. What is not given is guessed.
        keep (Sequence[str]): Names that are classes although they sound as
            if an image showed none, such as 'good'. Others that do are left
            out, which the result's ``notes`` say.

    Returns:
        TagFile: Ids and names of classes are NFC.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is none of these, names two images alike, has
            no image, or if class names are empty, double, 'background', or
            differ in case only. Names the file, the place, as what it was
            read, and what that format holds.
    """
    path = Path(path)
    options = ReadOptions.of(root, columns)
    if not path.exists():
        raise FileNotFoundError(
            f'There is no label file {path}. Set labels_file of the dataset, '
            'or write one, e.g. with '
            '`python tools/dataset_converters/voc.py VOC2012` or, for your '
            'own images, tools/dataset_converters/custom.py.')
    if format is None:
        format = find_format(path)
    if format not in READERS:
        raise ValueError(f'The format of tags is {format!r}, must be one of '
                         f'{", ".join(READERS)}.')
    reader = READERS[format]
    if reader.folder is not None and path.is_dir() != reader.folder:
        raise ValueError(
            f'{path} is a {"folder" if path.is_dir() else "file"}, which '
            f'tags of the format {format!r} are not.')
    try:
        result = reader.read(path, options)
        if format != 'mmwsss':
            _leave_out_no_class(result, set(keep))
            _note_strange_names(result)
        _check_names(result)
    except ValueError as error:
        text = str(error)
        if str(path) not in text:
            text = f'{path}: {text}'
        raise ValueError(
            f'{text}\n{path} was read as {reader.title}: {reader.expects}. '
            'If it is something else, say its format '
            f'({", ".join(READERS)}).') from error
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
    look = Look(Path(path))
    if look.suffix == '.npy':
        return 'npy'
    found = [r.name for r in READERS.values() if (
        r.folder is None or r.folder == look.is_dir) and r.matches(look)]
    if look.is_dir:
        return _find_folder(look, found)
    if found:
        return found[0]
    if look.suffix in ('.zip', '.tar', '.gz', '.7z', '.rar'):
        raise ValueError(f'Label file {path} is an archive. Unpack it and '
                         'name the file of annotations in it.')
    raise ValueError(
        f'Label file {path} ends in {look.suffix!r}; known are .json, .jsonl, '
        '.csv, .tsv, .xml, .xlsx and .npy. If it is one of these, rename it.')


def _find_folder(look: Look, found: list[str]) -> str:
    if len(found) == 1:
        return found[0]
    if set(found) == {'labelme', 'folders'} and \
            look.first_json.parent == look.path:
        return 'labelme'  # Further files lie in folders.
    if found:
        kinds = dict(xml='XML files', folders='folders', labelme='JSON files')
        raise ValueError(
            f'{look.path} holds both '
            f'{" and ".join(kinds[f] for f in found)}. Name the folder or '
            'file of annotations itself, or say which of the formats '
            f'{" and ".join(found)} it is.')
    tables = [n for n in look.names if Path(n).suffix.lower() in (
        '.csv', '.tsv', '.jsonl', '.xlsx')]
    raise ValueError(
        f'{look.path} holds neither XML annotations nor JSON files of LabelMe '
        'nor a folder of images per class.' +
        (f' Did you mean {look.path / tables[0]}?' if tables else ''))


# ----------------------------------------------------------------- all files
def _leave_out_no_class(file: TagFile, keep: set[str]) -> None:
    """Take names off that say that there is none of the classes."""
    counts: dict[str, int] = {}
    beside: set[str] = set()
    for names in file.tags.values():
        for name in names:
            counts[name] = counts.get(name, 0) + 1
            if len(names) > 1:
                beside.add(name)
    drop = {
        name
        for name in file.classes if name not in keep and (
            plain(name) in NO_CLASS
            or plain(name) in PERHAPS_NO_CLASS and name not in beside)
    }
    if drop >= set(file.classes):
        drop = set()  # Without another class these must be meant.
    drop.update(SPECIAL)

    def rest(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(n for n in names if n not in drop)

    file.classes = rest(file.classes)
    file.tags = {i: rest(names) for i, names in file.tags.items()}
    file.unknown = {
        i: rest(names)
        for i, names in file.unknown.items() if rest(names)
    }
    for name in sorted(drop - set(SPECIAL)):
        file.notes.append(
            f'{name!r} ({counts.get(name, 0)} image(s)) is no class here: '
            'such images show none of the others. To make it one, name it '
            'among the classes.')


def _note_strange_names(file: TagFile) -> None:
    """Note tags that are perhaps several tags, or numbers of classes."""
    if file.declared:
        return
    known = set(file.classes)
    for name in file.classes:
        for mark in JOINTS:
            parts = [part.strip() for part in name.split(mark)]
            if len(set(parts)) > 1 and set(parts) <= known:
                file.notes.append(
                    f'{name!r} ({_first(file, name)}) is a class of its own '
                    f'here, beside {", ".join(map(repr, parts))}. If these '
                    'are several tags, write ";" between them.')
                break
    if file.classes and all(name.isdecimal() for name in file.classes):
        file.notes.append(
            f'All classes have numbers as names: '
            f'{", ".join(file.classes[:8])}{", .." if len(known) > 8 else ""}.'
            f' In masks the first, {file.classes[0]!r}, is 1. If one of them '
            'says that no class is shown, leave it out (--no-class). Better '
            'write names.')


def _check_names(file: TagFile) -> None:
    """Refuse class names that nobody can mean."""
    path, classes = file.path, file.classes
    if not file.tags and file.format != 'mmwsss':
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
    seen: dict[str, str] = {}
    for name in () if file.declared else classes:
        other = seen.setdefault(''.join(name.lower().split()), name)
        if other != name:
            raise ValueError(
                f'{path}: the tags {other!r} ({_first(file, other)}) and '
                f'{name!r} ({_first(file, name)}) differ in spelling only. '
                'Write both the same way.')


def _first(file: TagFile, tag: str) -> str:
    """Where a tag stands first."""
    img_id = next((i for i, tags in file.tags.items()
                   if tag in tags or tag in file.unknown.get(i, ())), None)
    if img_id is None:
        return 'a flag'
    line = file.lines.get(img_id)
    return f'line {line}' if line else f'image {img_id}'
