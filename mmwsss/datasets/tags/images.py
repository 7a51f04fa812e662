"""Which images there are, and what they are called.

An image is named by its path below the image folder without ending, with
``/`` between folders. Names are compared as Unicode NFC: file names of a Mac
come decomposed.
"""
import difflib
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import parse_qs, unquote, urlsplit

from mmwsss.utils.image_formats import (
    IMAGE_SUFFIXES,
    UNREAD_SUFFIXES,
    missing_reader,
)

PathLike = str | Path


def nfc(text: str) -> str:
    """Composed letters, as keyboards of most systems type them."""
    return unicodedata.normalize('NFC', text)


def image_id(name: str, root: PathLike | None = None) -> str:
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
                wanted: Iterable[str] | None = None) -> dict[str, str]:
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
    found: dict[str, str] = {}
    visited: set[str] = set()
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


def find_unread(root: PathLike) -> dict[str, str]:
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
    close = [i for i in found if i.lower() == first.lower()] or \
        difflib.get_close_matches(first, found[:10000], 1, 0.8)
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


#: What Label Studio puts in front of the name of an uploaded file.
_UPLOAD_PREFIX = re.compile(r'^[0-9a-f]{8}-(?=.)')


def _uploaded_name(img_id: str) -> str:
    """What Label Studio makes of a name: ``Trip_2024_1`` of ``Trip 2024 (1)``.

    Each part of the path, as Django cleans names of uploaded files.
    """
    return '/'.join(
        re.sub(r'[^-\w.]', '', part.strip().replace(' ', '_'))
        for part in img_id.split('/'))


class ToolNames:
    """Names of images as annotation tools write them: URLs, server paths.

    ``/data/upload/1/a1b2c3d4-IMG_1.jpg``, ``s3://bucket/trip/IMG_1.jpg`` and
    ``/data/local-files/?d=trip/IMG_1.jpg`` all are ``trip/IMG_1.jpg`` on
    the disk, perhaps. With the image folder at hand the longest end of the
    path that is a file there counts, with and then without the eight digits
    that Label Studio puts in front of uploaded files, and then with the
    blanks and brackets that it takes from their names.

    Args:
        root (str | Path, optional): The image folder. Without it, the path
            of a relative name and the last part of any other are taken.
    """

    def __init__(self, root: PathLike | None = None) -> None:
        self.found: set[str] | None = None
        self.cleaned: dict[str, list[str]] = {}
        if root is not None and os.path.isdir(root):
            self.found = set(find_images(root, ()))
            for img_id in self.found:
                self.cleaned.setdefault(_uploaded_name(img_id),
                                        []).append(img_id)

    def id(self, name: str) -> str:
        """The image that a name means.

        Args:
            name (str): As the tool wrote it.

        Returns:
            str: An image id; one that is not in the folder if none fits.

        Raises:
            ValueError: If nothing is left of the name.
        """
        parts, absolute = self._parts(name)
        if not parts:
            raise ValueError(f'{name!r} names no image')
        tails = ['/'.join(parts[i:]) for i in range(len(parts))]
        if self.found is not None:
            for change in (lambda n: n, lambda n: _UPLOAD_PREFIX.sub('', n)):
                for tail in tails:
                    folder, _, base = tail.rpartition('/')
                    path = f'{folder}/{change(base)}' if folder else \
                        change(base)
                    if image_id(path) in self.found:
                        return image_id(path)
            for tail in tails:
                folder, _, base = tail.rpartition('/')
                base = _UPLOAD_PREFIX.sub('', base)
                same = self.cleaned.get(
                    image_id(f'{folder}/{base}' if folder else base), ())
                if len(same) == 1:
                    return same[0]
        return image_id(tails[-1] if absolute else tails[0])

    @staticmethod
    def _parts(name: str) -> tuple:
        """Folders and file of a name, and whether it is absolute."""
        text = name.strip().replace('\\', '/')
        url = urlsplit(text)
        scheme = url.scheme if '://' in text else ''
        local = parse_qs(url.query).get('d') if scheme or \
            text.startswith('/data/') else None
        absolute = bool(scheme) or text.startswith('/')
        if local:  # Label Studio's local storage
            text, absolute = local[0], False
        elif scheme:
            text = unquote(url.path)
        elif text.startswith('/data/'):
            text = unquote(text)
        drive = PureWindowsPath(text).drive
        absolute = absolute or bool(drive)
        parts = [
            p for p in text[len(drive):].split('/') if p not in ('', '.', '..')
        ]
        return parts, absolute
