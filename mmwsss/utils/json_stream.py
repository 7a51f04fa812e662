"""JSON files that are too large to be read at once."""
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO

#: No single value in an array may be longer (in characters).
LONGEST = 1 << 24
_SPACE = re.compile(r'[ \t\n\r]*')
_DECODER = json.JSONDecoder()


def iter_members(
        path: str | Path,
        chunk: int = 1 << 20) -> Iterator[tuple[str, int | None, Any]]:
    """Walk through a JSON object whose members are long arrays.

    Only one element of one array is in memory at a time.

    Args:
        path (str | Path): A file that holds one JSON object.
        chunk (int): Characters to read at once. Defaults to 1 MB.

    Yields:
        tuple: Key, position in the array and element. Of a value that is no
        array: key, None and the value.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no JSON object or ends early; names the file,
            the key and the position.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'There is no file {path}.')
    with path.open(encoding='utf-8-sig') as file:
        text = _Text(file, path, chunk)
        text.take('{')
        mark = ',' if text.peek() != '}' else text.take('}')
        while mark == ',':
            text.where = ''
            key = text.value()
            if not isinstance(key, str):
                text.fail(f'{str(key)[:50]!r} stands where a key should')
            text.where = f' in {key!r}'
            text.take(':')
            if text.peek() != '[':
                yield key, None, text.value()
            else:
                yield from _elements(text, key)
            mark = text.take(',}')
        text.where = ''
        if text.peek():
            text.fail('something follows the end of the object')


def first_element(path: str | Path, chunk: int = 1 << 20) -> Any:
    """The first element of a JSON file that holds an array.

    Args:
        path (str | Path): The file.
        chunk (int): Characters to read at once. Defaults to 1 MB.

    Returns:
        Any: The element; None if the file holds no array, an empty one, or
        no JSON.
    """
    path = Path(path)
    with path.open(encoding='utf-8-sig') as file:
        text = _Text(file, path, chunk)
        try:
            if text.peek() == '[':
                text.take('[')
                return text.value()
        except ValueError:
            pass  # Who reads the file will say what is wrong.
    return None


def _elements(text: '_Text', key: str) -> Iterator[tuple[str, int, Any]]:
    text.take('[')
    mark = ',' if text.peek() != ']' else text.take(']')
    index = 0
    while mark == ',':
        text.where = f' in {key!r}, element {index}'
        yield key, index, text.value()
        mark = text.take(',]')
        index += 1


class _Text:
    """A window that moves over a file."""

    def __init__(self, file: TextIO, path: Path, chunk: int) -> None:
        self.file = file
        self.path = path
        self.chunk = chunk
        self.where = ''
        self.buffer = ''
        self.position = 0

    def fail(self, problem: str) -> NoReturn:
        raise ValueError(f'{self.path}{self.where}: {problem}. Unpack or '
                         'download the file anew.')

    def more(self) -> bool:
        try:
            piece = self.file.read(self.chunk)
        except UnicodeDecodeError as error:
            self.fail(f'it is no UTF-8 text ({error.reason})')
        self.buffer = self.buffer[self.position:] + piece
        self.position = 0
        return bool(piece)

    def peek(self) -> str:
        """The next character that is no space, '' at the end."""
        while True:
            self.position = _SPACE.match(self.buffer, self.position).end()
            if self.position < len(self.buffer):
                return self.buffer[self.position]
            if not self.more():
                return ''

    def take(self, expected: str) -> str:
        char = self.peek()
        if not char:
            self.fail('the file ends early')
        if char not in expected:
            self.fail(f'{char!r} stands where one of {expected!r} should')
        self.position += 1
        return char

    def value(self) -> Any:
        if not self.peek():
            self.fail('the file ends early')
        while True:
            try:
                value, end = _DECODER.raw_decode(self.buffer, self.position)
                length = end - self.position
                # '-2.' is cut off, but decoded as -2.
                if self.buffer[end:end + 1] not in ('', *'.eE+-'):
                    break
            except json.JSONDecodeError as error:
                length, problem = 0, error.msg
            # Perhaps the window cuts the value in two.
            if len(self.buffer) - self.position > LONGEST or not self.more():
                if not length:
                    self.fail(f'no JSON value ({problem}), or the file ends '
                              'early')
                break
        self.position += length
        return value
