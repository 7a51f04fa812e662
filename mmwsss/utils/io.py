"""Files: whole or absent, and where they are."""
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Union


@contextmanager
def atomic_write(path: Union[str, Path]) -> Iterator[Path]:
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
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
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
    finally:
        temp.unlink(missing_ok=True)


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
