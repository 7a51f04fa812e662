"""Tables: csv and tsv files, and the rows of other readers.

A table has a column that names images, and either a column of tags (or
several rows per image, with a tag each) or a column per class with 1, 0 or
-1. Other columns are left out, which is noted.
"""
import ast
import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmwsss.utils.io import read_text

from .images import nfc
from .tag_file import Look, ReadOptions, TagCollector, TagFile, TagReader

#: What columns and keys may be called, letters and digits alone; the first
#: that is there counts.
IMAGE_NAMES = ('image', 'imagename', 'imagefile', 'imagefilename',
               'imagepath', 'imageindex', 'imageid', 'img', 'imgname',
               'imgpath', 'imgid', 'filename', 'filepath', 'file', 'path',
               'photo', 'picture', 'name', 'id')
TAG_NAMES = ('tags', 'tag', 'labels', 'label', 'classes', 'class',
             'classname', 'labelname', 'findinglabels', 'findings',
             'categories', 'category', 'choices', 'choice', 'keywords')
UNKNOWN_NAMES = ('unknown', 'uncertain')
#: Beside a column of tags: whether the row's tag is shown.
STATE_NAMES = ('confidence', 'present', 'value')
#: Columns beside classes that are known to be none.
OTHER_NAMES = frozenset(
    'sex gender age patientage patientgender patientsex patientid patient '
    'frontallateral appa view viewposition followup split fold subset set '
    'width height imagewidth imageheight date time id imageid index source '
    'annotator user createdat updatedat leadtime url comment comments note '
    'notes caption description md5 sha256 studyid study subjectid dataset '
    'dicomid'.split())
#: Between two tags in a cell.
SEPARATORS = ';|,'
#: Cells of a column per class; None is unknown.
CELLS: dict[str, bool | None] = {
    **dict.fromkeys(('1', '1.0', 'true', 'yes', 'x'), True),
    **dict.fromkeys(('0', '0.0', 'false', 'no', ''), False),
    **dict.fromkeys(('-1', '-1.0'), None)
}
#: The same, with words that may well be tags elsewhere.
WIDE_CELLS: dict[str, bool | None] = {
    **CELLS, 'y': True, 'n': False,
    **dict.fromkeys(('u', '?', 'unknown', 'uncertain'), None)
}
_HEADER = ("must be 'image,tags' (tags separated by ';') or 'image' and one "
           'column per class with 0 or 1 (-1: unknown). Other names of '
           'columns can be said: --columns image=NAME labels=NAME')

Rows = Sequence[tuple[int, list[str]]]


def plain(name: str) -> str:
    """Letters and digits of a name, in lower case."""
    return ''.join(c for c in name.lower() if c.isalnum())


def pick(names: Sequence[str], known: Sequence[str]) -> int | None:
    """Position of the first known name.

    Args:
        names (Sequence[str]): Of columns or keys.
        known (Sequence[str]): The best first.

    Returns:
        int | None: Index into ``names``.
    """
    there = [plain(n) for n in names]
    return next((there.index(k) for k in known if k in there), None)


class CsvReader(TagReader):
    """A csv or tsv file."""
    name = 'csv'
    title = 'a table (csv, tsv)'
    expects = ('a header with a column for the image and either one for its '
               'tags or one per class')

    def matches(self, look: Look) -> bool:
        return look.suffix in ('.csv', '.tsv')

    def read(self, path: Path, options: ReadOptions) -> TagFile:
        rows, delimiter = csv_rows(path)
        return read_rows(path, self.name, rows, options, delimiter)


def csv_rows(path: Path) -> tuple[Rows, str]:
    """Rows of a csv file with their lines, and what separates columns.

    Args:
        path (Path): The file, UTF-8.

    Returns:
        tuple: Rows that are not empty, the header first, of NFC cells; and
        the delimiter.

    Raises:
        ValueError: If the file is no text or no csv.
    """
    text = read_text(path)
    first = text.lstrip('\r\n').split('\n', 1)[0]
    # Excel separates columns by what the country does not use in numbers.
    delimiter = max(',;\t', key=first.count)
    reader = csv.reader(
        io.StringIO(text, newline=''), delimiter=delimiter, strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        for row in reader:
            cells = [nfc(cell.strip()) for cell in row]
            if any(cells):
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise ValueError(f'Line {reader.line_num} of {path} is no csv '
                         f'({error}).') from error
    return rows, delimiter


def read_rows(path: Path, format: str, rows: Rows, options: ReadOptions,
              delimiter: str = ',') -> TagFile:
    """Tags of a table.

    Args:
        path (Path): Where it stands.
        format (str): Name of the format.
        rows (Sequence[tuple[int, list[str]]]): Line and cells, the header
            first.
        options (ReadOptions): What a person said about it.
        delimiter (str): What separates columns. Defaults to ','.

    Returns:
        TagFile: What the table says.

    Raises:
        ValueError: If no column holds images or tags, or a cell is wrong;
            with the line.
    """
    header = list(rows[0][1]) if rows else []
    while header and not header[-1]:  # Excel's empty columns
        header.pop()
    if header and not header[0] and len(header) > 2:
        # A column of row numbers, as pandas writes it.
        rows = [(line, cells[1:]) for line, cells in rows]
        header = header[1:]
    image = _column(header, options.image, path) if options.image else \
        pick(header, IMAGE_NAMES)
    if len(header) < 2 or image is None:
        raise ValueError(f'Label file {path} begins with {header}, the header '
                         f'{_HEADER}.')
    if len(rows) < 2:
        raise ValueError(f'Label file {path} has a header but no image.')
    body = [(line, _trimmed(cells, len(header))) for line, cells in rows[1:]]
    if options.labels:
        chosen = _chosen(header, options.labels, path)
        if len(chosen) == 1 and not _only_cells(body, chosen[0], WIDE_CELLS):
            return _read_lists(path, format, header, body, options, image,
                               chosen[0], delimiter)
    else:
        tag = [
            i for i, name in enumerate(header)
            if i != image and plain(name) in TAG_NAMES
        ]
        if len(tag) > 1:
            raise ValueError(
                f'{path}: the columns {[header[i] for i in tag]} could all '
                'hold the tags. Say which: --columns labels=NAME.')
        if tag:
            return _read_lists(path, format, header, body, options, image,
                               tag[0], delimiter)
        chosen = _class_columns(path, header, body, image)
    return _read_flags(path, format, header, body, options, image, chosen)


def _trimmed(cells: list[str], width: int) -> list[str]:
    while len(cells) > width and not cells[-1]:
        cells = cells[:-1]
    return cells


def _column(header: Sequence[str], name: str, path: Path) -> int:
    if name in header:
        return header.index(name)
    same = [i for i, h in enumerate(header) if plain(h) == plain(name)]
    if len(same) != 1:
        raise ValueError(f'{path} has no column {name!r}, only: '
                         f'{", ".join(header)}.')
    return same[0]


def _chosen(header: Sequence[str], names: Sequence[str],
            path: Path) -> list[int]:
    """Columns that a person named; a name may be several, with commas."""
    found = []
    for name in names:
        parts = [name] if name in header else name.split(',')
        found += [_column(header, part.strip(), path) for part in parts]
    return found


def _only_cells(body: Rows,
                column: int,
                words: Mapping[str, bool | None] = CELLS) -> bool:
    values = {row[column].lower() for _, row in body if len(row) > column}
    return values <= set(words) and values != {''}


# ------------------------------------------------------------ lists of tags
def _read_lists(path: Path, format: str, header: Sequence[str], body: Rows,
                options: ReadOptions, image: int, column: int,
                delimiter: str) -> TagFile:
    """A column holds the tags of its row."""
    if _only_cells(body, column) and plain(header[column]) in TAG_NAMES:
        raise ValueError(
            f'{path}: the column {header[column]!r} holds nothing but 0, 1 '
            'and the like. If it is yes or no, call the column like the '
            'class; if these are numbers of classes, write their names.')
    collector = TagCollector(path, options.root)
    # Some lists say of each image and class whether it is shown.
    state = pick(header, STATE_NAMES)
    if state in (image, column) or not (state is not None
                                        and _only_cells(body, state)):
        state = None
    doubt = pick(header, UNKNOWN_NAMES)
    if doubt in (image, column, state):
        doubt = None
    others = [
        name for i, name in enumerate(header)
        if i not in (image, column, state, doubt) and name
    ]
    if others:
        collector.notes.append(_left_out(others))
    separator = Separator(path)
    for line, cells in body:
        if len(cells) > len(header):
            other = ';' if delimiter != ';' else '|'
            raise ValueError(
                f'Line {line} of {path} has {len(cells)} columns; separate '
                f'tags by "{other}", not "{delimiter}", or put them in '
                'quotes.')
        cells = cells + [''] * (len(header) - len(cells))
        tags, unknown = separator.split(cells[column], line), []
        if state is not None:
            shown = CELLS[cells[state].lower()]
            tags, unknown = (tags if shown else [],
                             tags if shown is None else [])
        if doubt is not None:
            unknown = unknown + separator.split(cells[doubt], line)
        collector.add(cells[image], tags, f'Line {line}', unknown, line)
    result = collector.finish(format)
    blanks = [name for name in result.classes if len(name.split()) > 1]
    if not separator.mark and len(blanks) > max(
            2, len(result.classes) / 2):
        result.notes.append(
            f'{len(blanks)} of {len(result.classes)} tags hold blanks, such '
            f'as {blanks[0]!r}. If a blank stands between two tags, write ";"'
            ' there.')
    return result


class Separator:
    """Splits cells into tags, by one separator per file.

    Args:
        path (Path): The file, for messages.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.mark, self.since = path, '', 0

    def split(self, cell: str, line: int) -> list[str]:
        """Tags of a cell; also of a list as Python or JSON writes it.

        Args:
            cell (str): E.g. ``dog;cat``, ``dog|cat`` or ``["dog", "cat"]``.
            line (int): For messages.

        Returns:
            list[str]: The tags.

        Raises:
            ValueError: If another line has another separator, or the list
                cannot be read.
        """
        if cell.startswith('['):
            return self._listed(cell, line)
        for mark in SEPARATORS:
            if mark in cell and mark != self.mark:
                if self.mark:
                    raise ValueError(
                        f'{self.path} separates tags by {self.mark!r} in '
                        f'line {self.since} and has {mark!r} in line {line}. '
                        'Use one separator; names that hold one go into a '
                        'JSON file.')
                self.mark, self.since = mark, line
        parts = cell.split(self.mark) if self.mark else [cell]
        return [p.strip() for p in parts if p.strip()]

    def _listed(self, cell: str, line: int) -> list[str]:
        for read in (json.loads, ast.literal_eval):
            try:
                value = read(cell)
            except (ValueError, SyntaxError):
                continue
            if isinstance(value, list) and all(
                    isinstance(v, str) for v in value):
                return [v for v in value if v.strip()]
        raise ValueError(f'Line {line} of {self.path}: {cell[:60]!r} begins '
                         'like a list but is no list of names.')


# -------------------------------------------------------- columns of classes
def _class_columns(path: Path, header: Sequence[str], body: Rows,
                   image: int) -> list[int]:
    """Which columns are classes, as far as that can be told."""
    found = []
    for i, name in enumerate(header):
        if i == image or plain(name) in OTHER_NAMES:
            continue
        values = [row[i].lower() for _, row in body
                  if len(row) > i and row[i]]
        if len(values) > 2 and not any(v in WIDE_CELLS or _is_number(v)
                                       for v in values):
            continue  # Text throughout; one or two cells may be slips.
        found.append(i)
    if not found:
        raise ValueError(
            f'No column of {path} holds tags: {", ".join(header)}. The '
            f'header {_HEADER}.')
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_flags(path: Path, format: str, header: Sequence[str], body: Rows,
                options: ReadOptions, image: int,
                chosen: Sequence[int]) -> TagFile:
    """A column per class."""
    collector = TagCollector(path, options.root)
    others = [
        name for i, name in enumerate(header)
        if i != image and i not in chosen
    ]
    if others:
        collector.notes.append(_left_out(others))
    seen = set()
    for line, cells in body:
        if len(cells) != len(header):
            raise ValueError(f'Line {line} of {path} has {len(cells)} '
                             f'columns, the header {len(header)}.')
        tags, unknown = [], []
        for i in chosen:
            cell = cells[i].lower()
            if cell not in WIDE_CELLS:
                raise ValueError(
                    f'Line {line} of {path}: {cells[i]!r} in the column '
                    f'{header[i]!r} is neither 0 nor 1 (nor -1, unknown). If '
                    'that is no class, say which columns are: --columns '
                    f'labels=NAME,NAME. The header {_HEADER}.')
            seen.add(WIDE_CELLS[cell])
            if WIDE_CELLS[cell] is None:
                unknown.append(header[i])
            elif WIDE_CELLS[cell]:
                tags.append(header[i])
        collector.add(cells[image], tags, f'Line {line}', unknown, line)
    if None in seen and False not in seen:
        raise ValueError(
            f'{path} has 1 and -1 but neither 0 nor empty cells. Here -1 '
            'means that nobody knows; write 0 where a class is not shown.')
    return collector.finish(format, [header[i] for i in chosen])


def _left_out(names: Sequence[str]) -> str:
    some = ', '.join(names[:8]) + (', ..' if len(names) > 8 else '')
    return f'{len(names)} column(s) are not read: {some}.'
