"""Which files are images, and who can read them."""
import importlib.util
import os
from collections.abc import Iterable

from PIL import Image, features

#: Read by every OpenCV or Pillow that can be installed here.
_ALWAYS = ('.jpg', '.jpeg', '.jpe', '.jfif', '.png', '.bmp', '.tif', '.tiff',
           '.webp', '.gif', '.ppm', '.pgm', '.pbm', '.pnm')
#: Read where a library is there, and what to do where it is not.
_SOMETIMES = {
    '.jp2': 'convert it, e.g. to PNG',
    '.j2k': 'convert it, e.g. to PNG',
    '.avif': 'pip install "pillow>=11.3", or convert it',
    '.heic': 'pip install pillow-heif, or convert it',
    '.heif': 'pip install pillow-heif, or convert it',
}
_CONVERT = 'convert it, e.g. to PNG'
#: Pictures that need a program of their own.
_NEVER = {
    '.dcm': 'DICOM, of which a person has to choose the grey levels; save '
            'it as 16-bit PNG or TIFF and give a window',
    '.nii': 'a volume, not a picture; save its slices as PNG or TIFF',
    '.svg': 'a drawing, not pixels; save it as PNG',
    **dict.fromkeys(('.raw', '.cr2', '.cr3', '.nef', '.arw', '.dng', '.orf',
                     '.rw2'), "a camera's raw file; save it as PNG or TIFF"),
    **dict.fromkeys(('.psd', '.xcf', '.eps', '.ico', '.tga', '.exr', '.hdr',
                     '.jxl', '.czi', '.nd2', '.lif', '.svs', '.ndpi', '.pdf'),
                    _CONVERT),
}


def _has_heif() -> bool:
    return any(
        importlib.util.find_spec(name) for name in ('pillow_heif', 'pi_heif'))


def _readable() -> tuple[str, ...]:
    found = list(_ALWAYS)
    if features.check('jpg_2000'):
        found += ['.jp2', '.j2k']
    if 'avif' in features.modules and features.check('avif'):
        found.append('.avif')
    if _has_heif():
        found += ['.heic', '.heif']
    return tuple(found)


#: What is taken for an image in a folder.
IMAGE_SUFFIXES: tuple[str, ...] = _readable()
#: Pictures that are not read here, and what to do about it.
UNREAD_SUFFIXES: dict[str, str] = {
    **{s: how for s, how in _SOMETIMES.items() if s not in IMAGE_SUFFIXES},
    **_NEVER
}


def missing_reader(path: object) -> str | None:
    """What to do about a picture that is not read here.

    Args:
        path (str | Path): Its file.

    Returns:
        str | None: A piece of advice; None for files that should be read,
        or are no pictures.
    """
    return UNREAD_SUFFIXES.get(os.path.splitext(str(path))[1].lower())


def open_optional(data: bytes) -> None:
    """Teach Pillow the kind of a file where an optional reader is there.

    Args:
        data (bytes): The file; its first bytes are looked at.
    """
    if data[4:8] != b'ftyp' or 'HEIF' in Image.OPEN:
        return
    for name in ('pillow_heif', 'pi_heif'):
        if importlib.util.find_spec(name):
            importlib.import_module(name).register_heif_opener()
            return


def unread_kinds(paths: Iterable[str], limit: int = 3) -> str:
    """Count and name pictures that are not read here.

    Args:
        paths (Iterable[str]): Their files.
        limit (int): Files to name of each kind. Defaults to 3.

    Returns:
        str: E.g. ``2 .heic (a.heic, b.heic: pip install pillow-heif)``;
        empty if there are none.
    """
    kinds: dict[str, list[str]] = {}
    for path in paths:
        suffix = os.path.splitext(path)[1].lower()
        kinds.setdefault(suffix, []).append(path)
    return '; '.join(
        f'{len(files)} {suffix} ({", ".join(files[:limit])}'
        f'{", .." if len(files) > limit else ""}: {UNREAD_SUFFIXES[suffix]})'
        for suffix, files in sorted(kinds.items()))
