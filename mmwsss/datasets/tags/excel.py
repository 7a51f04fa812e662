"""Tables of Excel and other spreadsheets, where a library reads them."""
import importlib.util
from pathlib import Path
from typing import Any

from .images import nfc
from .table import Rows, read_rows
from .tag_file import Look, ReadOptions, TagFile, TagReader

#: Ending -> what has to be installed.
_NEEDS = {'.xlsx': 'openpyxl', '.xlsm': 'openpyxl', '.xls': 'pandas xlrd',
          '.ods': 'pandas odfpy'}


class ExcelReader(TagReader):
    """The first sheet of a workbook, as a table."""
    name = 'excel'
    title = 'a spreadsheet'
    expects = ('a first sheet whose first row is a header with a column for '
               'the image and either one for its tags or one per class')

    def matches(self, look: Look) -> bool:
        return look.suffix in _NEEDS

    def read(self, path: Path, options: ReadOptions) -> TagFile:
        needs = _NEEDS.get(path.suffix.lower(), 'openpyxl')
        if not all(map(importlib.util.find_spec, self.imports(needs))):
            raise ValueError(
                f'{path} is a spreadsheet, which {needs.replace(" ", " and ")}'
                f' can read: pip install {needs}. Or save it as '
                "'CSV UTF-8'.")
        read = _read_openpyxl if needs == 'openpyxl' else _read_pandas
        try:
            rows, others = read(path)
        except Exception as error:  # Each library has its own.
            raise ValueError(f'{path} cannot be read as a spreadsheet '
                             f'({type(error).__name__}: {error}).') from error
        result = read_rows(path, self.name, rows, options)
        if others:
            result.notes.append(f'Of {path.name} the first sheet is read, '
                                f'not: {", ".join(others)}.')
        return result

    @staticmethod
    def imports(needs: str) -> list[str]:
        """Import names of what has to be installed."""
        return [dict(odfpy='odf').get(n, n) for n in needs.split()]


def _text(cell: Any) -> str:
    if cell is None or cell != cell:  # NaN
        return ''
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return nfc(str(cell).strip())


def _numbered(rows: Any) -> Rows:
    rows = [(i, [_text(c) for c in row]) for i, row in enumerate(rows, 1)]
    return [(i, row) for i, row in rows if any(row)]


def _read_openpyxl(path: Path) -> tuple[Rows, list[str]]:
    import openpyxl
    book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    try:
        first, *others = book.worksheets
        rows = _numbered(first.iter_rows(values_only=True))
        return rows, [sheet.title for sheet in others]
    finally:
        book.close()


def _read_pandas(path: Path) -> tuple[Rows, list[str]]:
    import pandas
    with pandas.ExcelFile(path) as book:
        first, *others = book.sheet_names
        rows = book.parse(first, header=None, dtype=object).values.tolist()
    return _numbered(rows), [str(name) for name in others]
