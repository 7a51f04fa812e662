"""Images, masks, saliency maps from files; errors name the image."""
import contextlib
import io
import logging
import struct
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from mmengine.logging import print_log
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from .image_formats import missing_reader, open_optional
from .io import open_picture

#: What Pillow raises at files that are no whole image.
_BROKEN = (UnidentifiedImageError, OSError, SyntaxError, ValueError)
_TIFF = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')
#: Below it the upper byte of 16-bit images is dark: of 10 to 14-bit cameras.
FEW_BITS = 1 << 14
#: What a message says where numbers are no grey levels.
WINDOW = ('Say which values are black and white: window=(LOW, HIGH) of the '
          'dataset, --window LOW HIGH of tools/dataset_converters/custom.py '
          'and tools/masks_from_tags.py.')
#: Folders with such images that somebody was told of.
_SAID: set = set()
#: Grey levels that an image must have, if a window suits it.
FEW_LEVELS = 8
#: Share of a picture that may become one grey level.
MUCH = 0.98


def read_image(path: str | Path,
               img_id: str,
               window: Sequence[float] | None = None) -> np.ndarray:
    """Read any image file as 8-bit BGR.

    Grey, palette, RGBA and CMYK files are converted; EXIF rotation is not
    applied, because masks and boxes belong to the stored pixels. Of 16-bit
    files the upper byte is taken unless there is a window.

    Args:
        path (str | Path): The file.
        img_id (str): Named in errors.
        window (Sequence[float], optional): Which values become black and
            white in files of more than 8 bits; what lies between is scaled
            linearly. Files of 8 bits are read as they are.
            Defaults to None.

    Returns:
        np.ndarray: uint8 (h, w, 3).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no complete image, or one whose numbers are no
            grey levels and there is no window.
    """
    return to_8bit(decode_image(path, img_id), path, img_id, window)


def decode_image(path: str | Path, img_id: str) -> np.ndarray:
    """Read any image file with the numbers that it stores.

    Args:
        path (str | Path): The file.
        img_id (str): Named in errors.

    Returns:
        np.ndarray: BGR (h, w, 3); uint8, or of more bits where the file has
        more.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no complete image.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'Image {img_id!r}: no file {path}. Restore it or take the id '
            'off the list.') from error
    except OSError as error:  # A folder, no permission, ..
        raise ValueError(f'Image {img_id!r}: {path} cannot be read '
                         f'({error.strerror}). Replace the file or take the '
                         'id off the list.') from error
    unknown = None
    bands, colors = tiff_bands(data)
    if bands > 4 or not colors:
        raise ValueError(
            f'Image {img_id!r}: {path} has {bands} bands' +
            (', which it does not call colours' if not colors else '') +
            '. Networks take three, and which ones nobody can guess: save '
            'three of them as a colour (RGB) image.')
    try:
        # OpenCV fills the rows that a cut-off file lacks with grey and says
        # nothing; Pillow raises, but decoding twice is only worth it where
        # the end of the file looks wrong.
        if not _ends_well(data):
            try:
                open_optional(data)
                with open_picture(io.BytesIO(data)) as probe:
                    pages = getattr(probe, 'n_frames', 1)
                    probe.load()
                if pages > 1:
                    _note_pages(path, pages)
            except UnidentifiedImageError as error:
                unknown = error  # Perhaps OpenCV knows it.
        image = _decode(data)
        if image is None and unknown is None:
            with open_picture(io.BytesIO(data)) as picture:
                image = np.array(picture.convert('RGB'))[..., ::-1]
        if image is None:
            raise unknown
    except (*_BROKEN, cv2.error) as error:
        lacking = missing_reader(path)
        if lacking:
            raise ValueError(
                f'Image {img_id!r}: {path} is of a kind that is not read '
                f'here: {lacking}.') from error
        reason = 'unknown format' if isinstance(
            error, UnidentifiedImageError) else error
        raise ValueError(
            f'Image {img_id!r}: {path} is corrupt or no image ({reason}). '
            'Replace the file or take the id off the list.') from error
    if image.ndim == 2 or image.shape[2] < 3:  # Grey, perhaps with alpha.
        image = np.repeat(image.reshape(*image.shape[:2], -1)[..., :1], 3, 2)
    return np.ascontiguousarray(image[..., :3])


def tiff_bands(data: bytes) -> tuple[int, bool]:
    """Bands of a TIFF file, which may be more than any reader takes.

    Args:
        data (bytes): The file.

    Returns:
        tuple[int, bool]: Their number, 0 if it is no readable TIFF; and
        whether three or more of them are called colours. Of others, readers
        make grey or worse.
    """
    if data[:4] not in _TIFF:
        return 0, True
    try:
        file = io.BytesIO(data)
        folder = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
        file.seek(folder.next)
        folder.load(file)
        bands = int(folder.get(TiffImagePlugin.SAMPLESPERPIXEL, 1))
        kind = int(folder.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 2))
        # 0 and 1 are grey, of which the second band may be transparency.
        return bands, bands < 3 or kind > 1
    except (*_BROKEN, struct.error, TypeError, KeyError, IndexError):
        return 0, True  # Whoever decodes it will tell.


def _decode(data: bytes) -> np.ndarray | None:
    """What OpenCV makes of a file; None if it cannot."""
    if not data:
        return None
    buffer = np.frombuffer(data, dtype=np.uint8)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    if data[:4] in _TIFF:
        # Numbers of 32 bits come in no other way.
        with contextlib.suppress(cv2.error):
            raw = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
            if raw is not None and raw.dtype != np.uint8:
                return raw
    return cv2.imdecode(buffer, flags | cv2.IMREAD_ANYDEPTH)


def to_8bit(image: np.ndarray,
            path: str | Path,
            img_id: str,
            window: Sequence[float] | None = None) -> np.ndarray:
    """Turn the numbers of an image into grey levels.

    Args:
        image (np.ndarray): (h, w, 3), see :func:`decode_image`.
        path (str | Path): Named in messages.
        img_id (str): Named in messages.
        window (Sequence[float], optional): See :func:`read_image`.

    Returns:
        np.ndarray: uint8 (h, w, 3).

    Raises:
        ValueError: If there must be a window, or it is none.
    """
    if window is not None and not (len(window) == 2
                                   and window[0] < window[1]):
        raise ValueError(f'The window is {tuple(window)}; it must be two '
                         'numbers, what becomes black and what white.')
    if image.dtype == np.uint8:
        return image
    if window is not None:
        low, high = map(float, window)
        scaled = (image.astype(np.float64) - low) * (255 / (high - low))
        # Missing values (NaN) are black.
        scaled = np.nan_to_num(scaled, nan=0., posinf=255., neginf=0.)
        result = np.rint(scaled.clip(0, 255)).astype(np.uint8)
        if not suits_window(image, result):
            _note_window(image, path, (low, high))
        return result
    if image.dtype != np.uint16:
        finite = image[np.isfinite(image)]
        span = f'{finite.min():g} to {finite.max():g}' if finite.size else \
            'no number'
        raise ValueError(
            f'Image {img_id!r}: {path} holds {image.dtype} values, '
            f'{span}, which are no grey levels. {WINDOW}')
    _note_few_bits(image, path)
    return (image >> 8).astype(np.uint8)


def suits_window(image: np.ndarray, result: np.ndarray) -> bool:
    """Whether a window leaves of an image more than a plain surface.

    Args:
        image (np.ndarray): As stored, see :func:`decode_image`.
        result (np.ndarray): uint8, what the window made of it.

    Returns:
        bool: False where a picture has become (nearly) black, white or of
        one grey that is not so by itself.
    """
    counts = np.bincount(result.ravel(), minlength=256)
    levels = np.flatnonzero(counts)
    if not levels.size or (levels[-1] - levels[0] >= FEW_LEVELS
                           and counts.max() <= MUCH * result.size):
        return True
    numbers = image[np.isfinite(image)]
    # Perhaps the picture is as plain as that.
    return not numbers.size or bool(
        np.unique(numbers, return_counts=True)[1].max() > MUCH * numbers.size)


def high_value(image: np.ndarray) -> int:
    """What all but a thousandth of the values do not exceed.

    Broken pixels of cameras, and the marks that scanners write into a
    picture, are as bright as can be.

    Args:
        image (np.ndarray): uint16.

    Returns:
        int: 0 if it is empty.
    """
    counts = np.bincount(image.ravel(), minlength=1).cumsum()
    return int(np.searchsorted(counts, counts[-1] * 0.999))


def _note_window(image: np.ndarray, path: str | Path,
                 window: Sequence[float]) -> None:
    """Say once per folder that a window is not that of its images."""
    folder = str(Path(path).parent)
    if folder in _SAID:
        return
    _SAID.add(folder)
    print_log(
        f'{path} holds {image.dtype} values from {np.nanmin(image):g} to '
        f'{np.nanmax(image):g}, of which the window {window[0]:g} to '
        f'{window[1]:g} leaves nearly nothing; others of its folder may be '
        'alike. Check the window.',
        logger='current',
        level=logging.WARNING)


def _note_pages(path: Path, count: int) -> None:
    """Say once per folder that files hold more than is looked at."""
    key = (str(path.parent), 'pages')
    if key not in _SAID:
        _SAID.add(key)
        print_log(
            f'{path} holds {count} pages or frames, of which the first is '
            'taken; others of its folder may, too. Save the others as images '
            'of their own if they matter.',
            logger='current',
            level=logging.WARNING)


def _note_few_bits(image: np.ndarray, path: str | Path) -> None:
    """Say once per folder that images are darker than they seem."""
    folder = str(Path(path).parent)
    if folder in _SAID:
        return
    high = high_value(image)
    if high < FEW_BITS:
        _SAID.add(folder)
        print_log(
            f'{path} holds 16-bit values, nearly all of them up to {high}, '
            'so it becomes dark or black; others of its folder may, too. '
            f'{WINDOW}',
            logger='current',
            level=logging.WARNING)


def read_saliency(path: str | Path, img_id: str) -> np.ndarray:
    """Read a saliency map.

    Args:
        path (str | Path): 8-bit image, PNG or JPEG, grey or in equal
            colours; of a palette image the indices count. White of a 1-bit
            image is 255.
        img_id (str): Named in errors.

    Returns:
        np.ndarray: uint8 (h, w).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no 8-bit image.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f'Image {img_id!r}: no saliency map {path}. Restore it or take '
            'the id off the list.')
    try:
        with open_picture(path) as picture:
            mode = picture.mode
            saliency = np.array(
                picture.convert('L') if mode in ('RGB', '1') else picture)
    except _BROKEN as error:
        raise ValueError(f'Image {img_id!r}: the saliency map {path} is '
                         f'corrupt ({error}).') from error
    if mode not in ('1', 'L', 'P', 'RGB'):
        raise ValueError(
            f'Image {img_id!r}: the saliency map {path} has mode {mode}; '
            'saliency maps are 8-bit grey images. Save it as one.')
    return saliency.astype(np.uint8)


def _ends_well(data: bytes) -> bool:
    """Whether a file is a JPEG or PNG with its end marker in place."""
    for begin, end in ((b'\xff\xd8', b'\xff\xd9'), (b'\x89PNG', b'IEND')):
        if data.startswith(begin):
            return end in data[-64:]
    return False


def read_mask(path: str | Path, img_id: str) -> np.ndarray:
    """Read a mask of class indices.

    Args:
        path (str | Path): 8-bit palette or grey PNG.
        img_id (str): Named in errors.

    Returns:
        np.ndarray: uint8 (h, w), values as stored.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no single-channel 8-bit image.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'Image {img_id!r}: no mask {path}.')
    try:
        with open_picture(path) as picture:
            mode = picture.mode
            mask = np.array(picture)
    except _BROKEN as error:
        raise ValueError(f'Image {img_id!r}: the mask {path} is corrupt '
                         f'({error}).') from error
    if mode not in ('P', 'L') or mask.ndim != 2:
        raise ValueError(
            f'Image {img_id!r}: the mask {path} has mode {mode}; masks are '
            '8-bit palette or grey images of class indices, not colours. '
            'tools/dataset_converters/custom.py --masks translates others.')
    return mask


def _hides_colors(picture: Image.Image) -> bool:
    """Whether fully transparent pixels are anything but black."""
    if picture.mode not in ('RGBA', 'LA', 'PA'):
        return False
    bands = np.array(picture.convert('RGBA'))
    return bool(bands[bands[..., 3] == 0, :3].any())


def read_any_mask(path: str | Path,
                  img_id: str,
                  colors: bool = False) -> np.ndarray:
    """Read a mask of values that still have to be translated.

    Args:
        path (str | Path): Image of one channel, or of equal colours: 8-bit,
            1-bit (0 and 255), or of more bits if no value needs them.
        img_id (str): Named in errors.
        colors (bool): Whether the values are colours. Defaults to False.

    Returns:
        np.ndarray: uint8 (h, w); RGB (h, w, 3) if ``colors``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such image.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'Image {img_id!r}: no mask {path}.')
    try:
        with open_picture(path) as picture:
            mode, pages = picture.mode, getattr(picture, 'n_frames', 1)
            hidden = _hides_colors(picture)
            mask = np.array(
                picture.convert('RGB') if colors else
                picture.convert('L') if mode == '1' else picture)
    except _BROKEN as error:
        raise ValueError(f'Image {img_id!r}: the mask {path} is corrupt '
                         f'({error}).') from error
    if pages > 1:
        raise ValueError(f'Image {img_id!r}: the mask {path} has {pages} '
                         'pages. Save one mask, a value per class.')
    if hidden:
        raise ValueError(
            f'Image {img_id!r}: the mask {path} stores colours where it is '
            'transparent, so what is shown there is open. Save it without '
            'transparency, on black for the background.')
    if colors:
        return mask
    if mask.ndim == 3:
        bands = mask[..., :1 if mode == 'LA' else 3]
        if mode not in ('LA', 'RGB', 'RGBA') or \
                (bands != bands[..., :1]).any():
            found, counts = np.unique(bands.reshape(-1, bands.shape[-1]),
                                      axis=0, return_counts=True)
            some = [','.join(map(str, found[i].tolist()))
                    for i in np.argsort(-counts, kind='stable')[:5]]
            raise ValueError(
                f'Image {img_id!r}: the mask {path} has colours (mode '
                f'{mode}), most pixels: {"; ".join(some)}. Say what they '
                'stand for: --mask-values R,G,B=CLASS .. of '
                'tools/dataset_converters/custom.py; or save masks as 8-bit '
                'palette or grey images, a value per class.')
        mask = bands[..., 0]
    if mask.min(initial=0) < 0 or mask.max(initial=0) > 255 or \
            (mask % 1).any():
        raise ValueError(
            f'Image {img_id!r}: the mask {path} (mode {mode}) holds values '
            f'from {mask.min()} to {mask.max()}; a value per class, whole '
            'and at most 255, is needed.')
    return mask.astype(np.uint8)
