"""Files: whole or absent, and where they are."""
import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from PIL import Image

#: What the system says of a full disk without saying which file.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Write a file so that no reader ever sees half of it.

    The body writes to a temporary file in the same folder, which replaces
    ``path`` when the body ends and is removed when it raises. A killed
    process leaves at most a ``.tmp`` file, never a short ``path``.

    Args:
        path (str | Path): The file to write. Its folder is created.

    Yields:
        Path: The temporary path to write to. It keeps the suffix of
        ``path``, because writers such as cv2 and numpy choose the format
        by it.

    Raises:
        NotADirectoryError: If a file is where a folder has to be.
        OSError: If the disk is full; names the file.
    """
    path = Path(path)
    make_folder(path.parent)
    handle, name = tempfile.mkstemp(
        dir=path.parent, prefix=f'.{path.stem}.tmp-', suffix=path.suffix)
    os.close(handle)
    temp = Path(name)
    try:
        yield temp
        # mkstemp makes the file private; give it the usual permissions.
        umask = os.umask(0)
        os.umask(umask)
        temp.chmod(0o666 & ~umask)
        os.replace(temp, path)
    except OSError as error:
        if error.errno in _FULL and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        temp.unlink(missing_ok=True)


def remove_temporary(folder: str | Path) -> None:
    """Take away what killed writers of :func:`atomic_write` left.

    Only for a folder that nobody else is writing to.

    Args:
        folder (str | Path): The folder, searched with the folders in it; it
            need not exist.
    """
    for temp in list(Path(folder).rglob('.*.tmp-*')):
        if temp.is_file():
            temp.unlink(missing_ok=True)


def open_picture(file: str | Path | IO[bytes]) -> Image.Image:
    """``PIL.Image.open`` for pictures of any size.

    Pillow takes pictures of more than 179 megapixels for an attack; here
    people open their own.

    Args:
        file (str | Path | IO): The picture.

    Returns:
        Image: To be closed, like that of Pillow.

    Raises:
        OSError: If it cannot be read.
    """
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        return Image.open(file)
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def make_folder(path: str | Path) -> Path:
    """Make a folder, and those that it lies in.

    Args:
        path (str | Path): The folder; it may exist.

    Returns:
        Path: The folder.

    Raises:
        NotADirectoryError: If a file is in the way; names it.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        there = next((p for p in (path, *path.parents) if p.exists()), path)
        raise NotADirectoryError(
            f'There can be no folder {path}, because {there} is a file. Move '
            'it away or choose another place.') from error
    return path


def read_text(path: str | Path) -> str:
    """A text file that people write: UTF-8, with or without a mark.

    Args:
        path (str | Path): The file.

    Returns:
        str: Its text, without the byte order mark that Excel puts in front.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no UTF-8; names the line.
    """
    data = Path(path).read_bytes()
    if data[:2] in (b'\xff\xfe', b'\xfe\xff'):
        raise ValueError(f'{path} is UTF-16 text. Save it as UTF-8 (in '
                         "Excel: 'CSV UTF-8').")
    try:
        text = data.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        line = data[:error.start].count(b'\n') + 1
        raise ValueError(f'Line {line} of {path} is not UTF-8. Save the file '
                         "as UTF-8 (in Excel: 'CSV UTF-8').") from error
    if '\0' in text:
        line = text[:text.index('\0')].count('\n') + 1
        raise ValueError(f'Line {line} of {path} holds a zero byte, so it is '
                         'no text. Was it copied completely?')
    return text


def read_lines(path: str | Path) -> list:
    """Lines of a text file without the blanks around them.

    Args:
        path (str | Path): The file.

    Returns:
        list[str]: Those that are not empty.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no UTF-8.
    """
    lines = (line.strip() for line in read_text(path).split('\n'))
    return [line for line in lines if line]


def find_file(name: str) -> Path:
    """A tool or config: as named, else beside the installed package.

    Args:
        name (str): E.g. ``tools/train.py`` or ``configs/acr/x.py``.

    Returns:
        Path: Where it is; ``name`` itself if it is nowhere.
    """
    path = Path(name)
    if path.is_absolute() or path.exists() or \
            path.parts[:1] not in (('tools', ), ('configs', )):
        return path
    package = Path(__file__).resolve().parents[1]
    for root in (package.parent, package / '.mim'):
        if (root / path).exists():
            return root / path
    return path
