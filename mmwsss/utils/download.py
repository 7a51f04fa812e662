"""Downloads that go on where they broke off, and are checked."""
import hashlib
import os
import re
import ssl
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TransferSpeedColumn,
)

from .io import make_folder

#: Names that end in the first digits of their SHA-256, as torch's hub does.
_HASHED = re.compile(r'-([0-9a-f]{8,64})\.\w+$')
_CHUNK = 1 << 20


class DownloadError(OSError):
    """A file could not be fetched; what came is kept for the next try."""


def digest_in_name(url: str) -> tuple[str, str] | None:
    """The digest that a file's name states.

    Args:
        url (str): E.g. ``https://host/resnet50-0676ba61.pth``.

    Returns:
        tuple[str, str] | None: ``('sha256', '0676ba61')``, the first digits.
    """
    match = _HASHED.search(url)
    return ('sha256', match.group(1)) if match else None


def check_file(path: Path, digest: tuple[str, str]) -> None:
    """Compare a file with its digest.

    Args:
        path (Path): The file.
        digest (tuple[str, str]): Name of the method, and (the first) digits.

    Raises:
        ValueError: If they differ.
    """
    method, expected = digest
    with path.open('rb') as file:
        found = hashlib.file_digest(file, method).hexdigest() if hasattr(
            hashlib, 'file_digest') else _digest(file, method)
    if not found.startswith(expected):
        raise ValueError(f'{path} is not the file that is meant, or damaged: '
                         f'its {method} is {found[:len(expected)]}.., must '
                         f'be {expected}... Remove it and try again.')


def _digest(file, method: str) -> str:
    state = hashlib.new(method)
    while block := file.read(_CHUNK):
        state.update(block)
    return state.hexdigest()


def download(url: str,
             path: Path,
             digest: tuple[str, str] | None = None,
             timeout: float = 30.) -> None:
    """Fetch a file; a second call goes on where the first broke off.

    What has come so far is ``{path}.part``. ``path`` itself appears when the
    file is whole and its digest right.

    Args:
        url (str): http or https.
        path (Path): Where to. If it is there, only its digest is checked.
        digest (tuple[str, str], optional): See :func:`check_file`.
        timeout (float): Seconds without any data. Defaults to 30.

    Raises:
        DownloadError: If the server cannot be reached, refuses, or stops.
        ValueError: If the file is another than is meant; it is removed.
    """
    if path.is_file():
        if digest:
            check_file(path, digest)
        return
    make_folder(path.parent)
    part = path.with_name(path.name + '.part')
    try:
        _receive(url, part, timeout)
    except urllib.error.HTTPError as error:
        raise DownloadError(f'{url}: the server says {error.code} '
                            f'{error.reason}.') from error
    except (urllib.error.URLError, HTTPException, TimeoutError,
            ConnectionError, ssl.SSLError) as error:
        raise DownloadError(f'{url} cannot be fetched ({error}).') from error
    if digest:
        try:
            check_file(part, digest)
        except ValueError as error:
            part.unlink()
            raise ValueError(f'{url}: what the server sent is removed, since '
                             f'{error}') from error
    os.replace(part, path)


def _receive(url: str, part: Path, timeout: float) -> None:
    start = part.stat().st_size if part.is_file() else 0
    headers = {'User-Agent': 'mmwsss', 'Accept-Encoding': 'identity'}
    if start:
        headers['Range'] = f'bytes={start}-'
    request = urllib.request.Request(url, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not start:
            raise
        total = re.search(r'/(\d+)$', error.headers.get('Content-Range', ''))
        if total and int(total.group(1)) == start:
            return  # It was whole already.
        part.unlink()  # Longer than the file: something else.
        return _receive(url, part, timeout)
    with answer:
        if answer.status != 206:
            start = 0  # The server sends all of it anew.
        length = answer.headers.get('Content-Length')
        total = start + int(length) if length else None
        with part.open('ab' if start else 'wb') as file, _progress(
                url) as progress:
            task = progress.add_task('', total=total, completed=start)
            while block := answer.read(_CHUNK):
                file.write(block)
                progress.update(task, advance=len(block))
    size = part.stat().st_size
    if total is not None and size < total:
        raise ConnectionError(f'the connection broke after {size} of {total} '
                              'bytes; the same command goes on there')


def _progress(url: str) -> Progress:
    name = url.rpartition('/')[2].split('?')[0]
    return Progress(TextColumn(name, markup=False), BarColumn(),
                    DownloadColumn(), TransferSpeedColumn(), transient=True)
