"""Images of your own: any tags, checked, as one data folder."""
import contextlib
import hashlib
import os
import random
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import (
    Any,
)

import numpy as np
from mmengine.utils import track_iter_progress
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from mmwsss.pseudo_labels.mask_file import write_mask, write_mask_manifest
from mmwsss.utils.image_formats import unread_kinds
from mmwsss.utils.io import atomic_write, open_picture
from mmwsss.utils.read_images import (
    decode_image,
    high_value,
    read_any_mask,
    suits_window,
    to_8bit,
)

from .image_labels import (
    Labels,
    select_labels,
    tags_to_indices,
    write_image_labels,
)
from .image_level import _some
from .mask_values import (
    FEW,
    IGNORE,
    Value,
    check_tags_shown,
    parse_mask_values,
    translate_mask,
)
from .tags import (
    TagFile,
    find_images,
    find_unread,
    is_image,
    missing_images,
    nfc,
    read_tags,
)

PathLike = str | Path
#: EXIF's orientation, 1 is upright.
_ORIENTATION = 274
#: Where masks go that had to be translated.
MASK_FOLDER = 'SegmentationClass'
#: Tags, letters and digits of them, that usually say "nothing is there".
NO_CLASS = ('good', 'ok', 'okay', 'normal', 'nofinding', 'nofindings', 'none',
            'nothing', 'healthy', 'negative', 'clean', 'nodefect',
            'defectfree', 'noobject', 'empty', 'na', 'background')
#: Tags that usually say that nobody looked, or does not know.
NO_TAG = ('nan', 'null', 'unknown', 'uncertain', 'unlabeled', 'unlabelled',
          '-1')


@dataclass
class CustomData:
    """Images with tags, checked.

    Attributes:
        images (Path): Folder of the images.
        masks (Path, optional): Folder of the masks.
        format (str): Format of the tags.
        classes (tuple[str, ...]): Names without background.
        labels (Labels): Image id -> classes, and those that are unknown.
        lists (dict[str, list[str]]): ``train`` and ``val`` -> image ids.
        notes (list[str]): What a person should know.
        translated (dict[str, Path | None]): Masks to be written in our
            values, image id -> file, None for images of background alone.
            Empty if ``masks`` can be read as it is.
        files (dict[str, str]): Image id -> path below ``images``.
        mask_values (dict, optional): What their values stand for, see
            :func:`~mmwsss.datasets.mask_values.parse_mask_values`.
        window (tuple[float, float], optional): Values that become black and
            white in images of more than 8 bits.
    """
    images: Path
    masks: Path | None
    format: str
    classes: tuple[str, ...]
    labels: Labels
    lists: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    translated: dict[str, Path | None] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    mask_values: dict[Value, int] | None = None
    window: tuple[float, float] | None = None

    def count(self, name: str) -> list[int]:
        """Images of each class in a list."""
        numbers = Counter(c for i in self.lists[name] for c in self.labels[i])
        return [numbers[c] for c in range(len(self.classes))]


def read_custom(tags: PathLike,
                images: PathLike | None = None,
                masks: PathLike | None = None,
                format: str | None = None,
                classes: Sequence[str] | None = None,
                val: float = 0.1,
                seed: int = 0,
                check_images: bool = True,
                columns: Mapping[str, Any] | None = None,
                no_class: Sequence[str] = (),
                mask_values: Sequence[str] | None = None,
                mask_suffix: str | None = None,
                window: Sequence[float] | None = None) -> CustomData:
    """Read and check images with tags of any format; writes nothing.

    Args:
        tags (str | Path): See :func:`~mmwsss.datasets.tags.read_tags`.
        images (str | Path, optional): Folder of the images. Defaults to the
            folder of the tags: that which holds the file, that of the class
            folders, ``JPEGImages`` beside a folder of XML files.
        masks (str | Path, optional): Folder of masks, ``{id}.png``, of all
            or some of the images. If of some, these are the validation
            images, unless all but images without tags have one: these then
            are background. Training never sees a mask.
        format (str, optional): Of the tags. None looks at them.
        classes (Sequence[str], optional): Which classes, in which order.
            Other tags are left out. Defaults to all.
        val (float): Share of the images to validate on. The last training
            image of a class is never taken. Defaults to 0.1.
        seed (int): Decides which. Defaults to 0.
        check_images (bool): Whether to read every image. Defaults to True.
        columns (Mapping, optional): Names of columns or keys of the tags, see
            ``read_tags``.
        no_class (Sequence[str]): Tags that say that nothing is there, such
            as 'good'; they count as none. Defaults to ().
        mask_values (Sequence[str], optional): What values of the masks stand
            for, see :func:`~mmwsss.datasets.mask_values.parse_mask_values`.
        mask_suffix (str, optional): What masks are called after the id of
            their image, e.g. '_mask.png'. None looks.
        window (Sequence[float], optional): Which values become black and
            white in images of more than 8 bits.

    Returns:
        CustomData: What is there.

    Raises:
        FileNotFoundError: If folders or images are missing.
        ValueError: If tags, images or masks are wrong, or there are none.
    """
    if not 0 <= val < 1:
        raise ValueError(f'The share of validation images is {val}, must be '
                         'at least 0 and below 1.')
    tags = Path(tags)
    root = Path(images) if images is not None else _image_folder(tags)
    file = read_tags(tags, format, root, columns, keep=classes or ())
    notes: list[str] = list(file.notes)
    _drop_no_class(file, no_class)
    if classes is None:
        _note_background_names(file, notes)
    names = _choose_classes(file.classes, classes, tags)
    labels = select_labels(file, names,
                           'error' if classes is None else 'drop')
    if not any(labels.values()):
        raise ValueError(f'No image of {tags} has a tag'
                         f'{" of these classes" if classes else ""}, so '
                         'there is nothing to learn.')
    found = find_images(root, labels)
    _leave_out_unread(labels, found, root, tags, notes)
    missing = [i for i in labels if i not in found]
    if missing:
        raise FileNotFoundError(
            missing_images(missing, root, found, tags, file.lines) +
            ' Is this the image folder? If not, set it with --images.')
    _check_ids(labels)

    untagged = [i for i in found if i not in labels]
    paths = {i: root / found[i] for i in labels}
    window = None if window is None else tuple(window)
    digests = _check_images(paths, notes, window) if check_images else {}
    labels = _unite_doubles(labels, paths, digests, names, notes)
    data = CustomData(root.resolve(), None, file.format, names, labels,
                      notes=notes, window=window,
                      files={i: found[i] for i in labels})
    if labels.unknown:
        data.notes.append(
            f'{len(labels.unknown)} image(s) have classes that nobody knows '
            f'about (-1): {_some(list(labels.unknown))}. The classification '
            'losses leave these out; masks made from these images show only '
            'classes that are known to be there.')
    if untagged:
        data.notes.append(
            f'{len(untagged)} image(s) in {root} have no tags in {tags} and '
            f'are left out: {_some(untagged)}.')
    masked = None
    if masks is not None:
        data.masks = Path(masks).resolve()
        try:
            masked = _check_masks(data, {i: root / found[i] for i in labels},
                                  mask_values, mask_suffix)
        except ValueError as error:
            # What was noted before may be the reason.
            raise ValueError('\nnote: '.join([str(error), *data.notes])
                             ) from error
    chosen = _choose_val(labels, masked, val, seed)
    data.lists = dict(
        train=[i for i in labels if i not in chosen],
        val=[i for i in labels if i in chosen])
    if not data.lists['train']:
        raise ValueError(f'{tags} names one image only; training needs more.')
    _note_gaps(data)
    return data


def write_custom(data: CustomData, out: PathLike) -> None:
    """Write ``image_labels.json``, ``train.txt`` and ``val.txt``.

    Masks in other values than ours, of other names or kinds of files, are
    written in ours to ``SegmentationClass``.

    Args:
        data (CustomData): Of :func:`read_custom`.
        out (str | Path): Folder to write to. Images stay where they are.
    """
    out = Path(out)
    for img_id, path in data.translated.items():
        if path is None:
            with open_picture(data.images / data.files[img_id]) as picture:
                mask = np.zeros(picture.size[::-1], np.uint8)
        else:
            mask = _own_mask(data, img_id, path)
        write_mask(out / MASK_FOLDER, img_id, mask)
    if data.translated:
        write_mask_manifest(out / MASK_FOLDER, classes=list(data.classes),
                            num_images=len(data.translated))
    write_image_labels(out / 'image_labels.json', data.classes, data.labels)
    for name, ids in data.lists.items():
        with atomic_write(out / f'{name}.txt') as temp:
            temp.write_text(''.join(f'{i}\n' for i in ids), encoding='utf-8')


def _own_mask(data: CustomData, img_id: str, path: Path) -> np.ndarray:
    """A mask file in the values that are used here."""
    values = data.mask_values
    if values is None:
        return read_any_mask(path, img_id)
    colors = any(isinstance(value, tuple) for value in values)
    return translate_mask(
        read_any_mask(path, img_id, colors), values, img_id,
        data.labels[img_id])


def _image_folder(tags: Path) -> Path:
    """Where images usually are."""
    if not tags.is_dir():
        return tags.parent
    beside = tags.parent / 'JPEGImages'
    xml = any(p.suffix.lower() == '.xml' for p in tags.iterdir())
    return beside if xml and beside.is_dir() else tags


def _choose_classes(there: Sequence[str], asked: Sequence[str] | None,
                    tags: Path) -> tuple[str, ...]:
    if asked is None:
        names = tuple(there)
    else:
        names = tuple(nfc(name) for name in asked)
        if len(set(names)) < len(names):
            raise ValueError(f'A class is named twice: {", ".join(names)}.')
        tags_to_indices(names, there, 'any (--classes)', tags)
    if len(names) > 254:
        raise ValueError(
            f'{tags} has {len(names)} classes; masks hold 8 bits, so at most '
            '254 are possible. Are these tags? Choose some with --classes.')
    return names


def _check_ids(labels: Iterable[str]) -> None:
    for img_id in labels:
        if img_id.splitlines() != [img_id] or img_id.strip() != img_id:
            raise ValueError(f'Image {img_id!r}: names in lists cannot begin '
                             'or end with a blank or hold a line break. '
                             'Rename the file.')


def _says_nothing(name: str) -> bool:
    """Whether a tag usually means that nothing is there."""
    return ''.join(filter(str.isalnum, name.lower())) in NO_CLASS


def _drop_no_class(file: TagFile, names: Sequence[str]) -> None:
    """Take tags away that say that nothing is there."""
    # Usual names may be gone already: readers of tags know some.
    names = [nfc(name) for name in names
             if nfc(name) in file.classes or not _says_nothing(name)]
    tags_to_indices(names, file.classes, 'any (--no-class)', file.path)
    if names:
        file.classes = tuple(c for c in file.classes if c not in names)
        file.tags = {
            i: tuple(t for t in tags if t not in names)
            for i, tags in file.tags.items()
        }
        unknown = {
            i: tuple(t for t in tags if t not in names)
            for i, tags in file.unknown.items()
        }
        file.unknown = {i: tags for i, tags in unknown.items() if tags}


def _note_background_names(file: TagFile, notes: list[str]) -> None:
    """Say which classes perhaps are none."""
    for name in file.classes:
        if _says_nothing(name) or any(
                map(_says_nothing, re.findall(r'[^\W_]+', name))):
            count = sum(name in tags for tags in file.tags.values())
            notes.append(
                f'{name!r} ({count} image(s)) is a class here like any '
                'other. If it says that none of the others is there, count '
                f'these images as background: --no-class {shlex.quote(name)}')
        elif name.lower() in NO_TAG:
            count = sum(name in tags for tags in file.tags.values())
            notes.append(
                f'{name!r} ({count} image(s)) is a class here like any '
                'other. If it says that nobody knows what these images show, '
                'take them off the list.')


def _leave_out_unread(labels: Labels, found: Mapping[str, str], root: Path,
                      tags: Path, notes: list[str]) -> None:
    """Take images out whose kind of file nobody here reads."""
    unread = {i: p for i, p in find_unread(root).items() if i not in found}
    tagged = {i: p for i, p in unread.items() if i in labels}
    if tagged and len(tagged) == len(labels):
        raise ValueError(
            f'No image of {tags} is of a kind that is read here: '
            f'{unread_kinds(tagged.values())}.')
    for img_id in tagged:
        del labels[img_id]
        labels.unknown.pop(img_id, None)
    if unread:
        notes.append(
            f'{len(unread)} picture(s) in {root} are of kinds that are not '
            f'read here and are left out: {unread_kinds(unread.values())}.' +
            (f' {len(tagged)} of them have tags in {tags}.'
             if tagged else ''))


def _unite_doubles(labels: Labels, paths: Mapping[str, Path],
                   digests: Mapping[str, str], names: Sequence[str],
                   notes: list[str]) -> Labels:
    """Take pictures of equal content once, with the tags of all of them.

    Of pixels where digests of them are at hand, else of files.
    """
    sizes: dict[int, list[str]] = {}
    for img_id, path in () if digests else paths.items():
        with contextlib.suppress(OSError):  # Whoever reads it will tell.
            sizes.setdefault(path.stat().st_size, []).append(img_id)
    groups: dict[str, list[str]] = {}
    for img_id, digest in digests.items():
        groups.setdefault(digest, []).append(img_id)
    for ids in sizes.values():
        for img_id in ids if len(ids) > 1 else ():
            with contextlib.suppress(OSError):
                digest = hashlib.sha256(paths[img_id].read_bytes())
                groups.setdefault(digest.hexdigest(), []).append(img_id)
    doubles = [ids for ids in groups.values() if len(ids) > 1]
    if not doubles:
        return labels
    united, examples = Labels(labels, labels.unknown), []
    for ids in doubles:
        tags = sorted({c for i in ids for c in labels[i]})
        unknown = {c for i in ids for c in labels.unknown.get(i, ())}
        for img_id in ids:
            united.unknown.pop(img_id, None)
        for img_id in ids[1:]:
            del united[img_id]
        united[ids[0]] = tuple(tags)
        if unknown - set(tags):
            united.unknown[ids[0]] = tuple(sorted(unknown - set(tags)))
        examples.append(
            f'{" = ".join(ids[:3])}{" = .." if len(ids) > 3 else ""} '
            f'({", ".join(names[c] for c in tags) or "no tag"})')
    notes.append(
        f'{len(doubles)} picture(s) are there more than once, '
        f'{"pixel" if digests else "byte"} for '
        f'{"pixel" if digests else "byte"}; each is taken once, under its '
        'first name, with the tags of all: '
        f'{_some(examples)}.')
    return united


def _check_images(paths: Mapping[str, Path], notes: list[str],
                  window: Sequence[float] | None = None) -> dict[str, str]:
    """Read all images, and name all that cannot be; digests of pixels."""
    broken, rotated, pages, clear, fourth = [], [], [], [], []
    digests: dict[str, str] = {}
    plain: list[str] = []
    deep: dict[str, int] = {}
    for img_id, path in track_iter_progress(list(paths.items())):
        try:
            image = decode_image(path, img_id)
            digests[img_id] = _digest(image)
            if window is not None or image.dtype != np.uint16:
                grey = to_8bit(image, path, img_id, window)
                if image.dtype != np.uint8 and not suits_window(image, grey):
                    plain.append(img_id)
            if image.dtype == np.uint16:
                deep[img_id] = high_value(image)
            elif image.dtype != np.uint8:
                deep[img_id] = 0  # There is a window, else it was refused.
            with contextlib.suppress(UnidentifiedImageError), \
                    open_picture(path) as picture:
                if picture.getexif().get(_ORIENTATION, 1) != 1:
                    rotated.append(img_id)
                if getattr(picture, 'n_frames', 1) > 1:
                    pages.append(img_id)
                if _has_fourth_band(picture):
                    fourth.append(img_id)
                elif _is_transparent(picture):
                    clear.append(img_id)
        except (OSError, ValueError) as error:
            broken.append(str(error))
    print()
    if broken:
        raise ValueError(f'{len(broken)} of {len(paths)} images cannot be '
                         'read:\n' + '\n'.join(broken[:20]) +
                         ('\n..' if len(broken) > 20 else ''))
    if deep and window is None:
        high = max(deep.values())
        bits = max(high.bit_length(), 1)
        notes.append(
            f'{len(deep)} image(s) hold 16-bit values: {_some(list(deep))}. '
            f'Nearly all are up to {high}' +
            (f' ({bits} bits), but 65535 would be white, so they are dark or '
             f'black as they are. Say what is white: --window 0 '
             f'{2 ** bits - 1}.' if bits < 16 else
             '; of each the upper byte is taken. For another range of '
             'values: --window LOW HIGH.'))
    if window is not None and not deep:
        notes.append(f'No image has more than 8 bits, so the window '
                     f'{window[0]:g} to {window[1]:g} changes nothing.')
    if plain:
        notes.append(
            f'The window {window[0]:g} to {window[1]:g} leaves nearly nothing '
            f'of {len(plain)} image(s), which become black, white or grey '
            f'throughout: {_some(plain)}. Are their values of another range? '
            'Convert them to that of the others, or choose another window.')
    if pages:
        notes.append(
            f'{len(pages)} file(s) hold several pages or frames, of which '
            f'the first is taken: {_some(pages)}. Save the others as images '
            'of their own if they matter.')
    if fourth:
        notes.append(
            f'{len(fourth)} image(s) have a fourth band, such as infrared, '
            f'which is not read: {_some(fourth)}.')
    if clear:
        notes.append(
            f'{len(clear)} image(s) have transparent parts, and what colours '
            f'are stored there is learnt from: {_some(clear)}. To see what a '
            'viewer shows, save them on a background, e.g. with '
            'ImageMagick\'s `mogrify -background white -flatten`.')
    if rotated:
        notes.append(
            f'{len(rotated)} image(s) are stored lying on their side or '
            'head, with a note (EXIF) to turn them, which is not followed: '
            f'{_some(rotated)}. Store them upright, e.g. with `exiftran -ai` '
            'or ImageMagick\'s `mogrify -auto-orient`.')
    return digests


def _digest(image: np.ndarray) -> str:
    """Of the pixels, whatever file they come from."""
    digest = hashlib.sha256(f'{image.dtype} {image.shape}'.encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _has_fourth_band(picture: Image.Image) -> bool:
    """Whether a TIFF file holds more than colours and transparency."""
    tags = getattr(picture, 'tag_v2', {})
    extra = tags.get(TiffImagePlugin.EXTRASAMPLES, ())
    return (tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 2
            and tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1) > 3
            # 1 and 2 say that it is transparency.
            and not {1, 2} & set(extra))


def _is_transparent(picture: Image.Image) -> bool:
    """Whether parts of a picture are not to be seen."""
    if picture.mode in ('RGBA', 'LA', 'PA'):
        return picture.getchannel('A').getextrema()[0] < 255
    return 'transparency' in picture.info


def _check_masks(data: CustomData, paths: Mapping[str, Path],
                 mask_values: Sequence[str] | None,
                 suffix: str | None) -> set[str]:
    """The images that have a mask, which fits; notes what to translate."""
    folder, labels = data.masks, data.labels
    files = _find_masks(folder, list(paths), suffix, data.notes)
    bare = [i for i in paths if i not in files]
    if bare and not any(labels[i] for i in bare) and \
            all(i in files for i in paths if labels[i]):
        # As programs for defects write them.
        data.notes.append(
            f'{len(bare)} image(s) without any tag have no mask; theirs are '
            f'taken to be background: {_some(bare)}.')
        files.update(dict.fromkeys(bare))
    elif bare:
        data.notes.append(
            f'{len(files)} of {len(paths)} image(s) have a mask in {folder}, '
            f'and only these can be measured. None has {_some(bare)}.')
    if mask_values is not None:
        data.mask_values = parse_mask_values(mask_values, data.classes, True)
    values: dict[str, list[int]] = {}
    shown: dict[str, set[int]] = {}
    plain = mask_values is None
    for img_id, path in files.items():
        if path is None:
            plain = False
            continue
        mask = _own_mask(data, img_id, path)
        with open_picture(paths[img_id]) as picture:
            size = picture.size[::-1]
        if mask.shape != size:
            raise ValueError(
                f'Image {img_id!r} is {size} (height, width) but its mask '
                f'{path} is {mask.shape}. ' +
                ('The sides are exchanged: was one of them turned, e.g. as a '
                 'note in the photo says (EXIF)? Turn both alike.'
                 if mask.shape == size[::-1] else
                 'Masks must fit pixel by pixel: bring both to one size, '
                 'masks with the nearest value.'))
        values[img_id] = np.flatnonzero(np.bincount(mask.ravel())).tolist()
        shown[img_id] = {v - 1 for v in values[img_id]} - {-1, 254}
        plain = plain and path == folder / f'{img_id}.png' and \
            _is_plain_mask(path)
    _check_mask_values(data, values, shown)
    more = [i for i in shown if shown[i] - set(labels[i])]
    if more:
        data.notes.append(
            f'The masks of {len(more)} image(s) show classes that '
            f'their tags lack: {_some(more)}.')
    if not plain:
        data.translated = files
    return set(files)


def _is_plain_mask(path: Path) -> bool:
    """Whether every reader of masks takes a file as it is."""
    with open_picture(path) as picture:
        return picture.mode in ('P', 'L')


def _check_mask_values(data: CustomData, values: Mapping[str, list[int]],
                       shown: Mapping[str, set[int]]) -> None:
    """Raise ValueError for masks whose values mean something else."""
    counts = Counter(v for found in values.values() for v in found)
    bad = [v for v in counts if len(data.classes) < v < IGNORE]
    if bad:
        first = next(i for i in values if set(bad) & set(values[i]))
        found = ', '.join(f'{v} in {n}'
                          for v, n in sorted(counts.items())[:12])
        raise ValueError(
            f'The masks in {data.masks} hold values that stand for no class, '
            f'e.g. {sorted(bad)[:5]} in that of image {first}; legal are 0 '
            f'(background), 1..{len(data.classes)} (classes) and {IGNORE} '
            f'(ignore). All values, and in how many masks: {found}. Say what '
            'they stand for, e.g. --mask-values '
            f"'{max(bad)}={data.classes[-1]}'; names are background, ignore, "
            f'{", ".join(data.classes)}.')
    unseen = check_tags_shown(
        {i: data.labels[i] for i in shown}, data.classes,
        lambda img_id: np.array(values[img_id], np.uint8), data.masks)
    if unseen:
        data.notes.append(
            f'No mask shows {", ".join(unseen)}, though one or two images '
            'are tagged so; this cannot be measured.')
    for c, name in enumerate(data.classes):
        bare = [i for i in shown if c not in (
            *data.labels[i], *data.labels.unknown.get(i, ()))]
        if len(bare) > FEW and all(c in shown[i] for i in bare):
            raise ValueError(
                f'The masks in {data.masks} show {name!r} (value {c + 1}) in '
                f'all {len(bare)} images that are not tagged so, e.g. '
                f'{bare[0]}. Are objects and background exchanged? Then say '
                f"--mask-values '0={name}' '{c + 1}=background'; else mend "
                'tags or masks.')


def _find_masks(folder: Path, ids: Sequence[str], suffix: str | None,
                notes: list[str]) -> dict[str, Path | None]:
    """Mask files of images, by name."""
    if not folder.is_dir():
        raise FileNotFoundError(f'There is no folder of masks {folder}.')
    there: dict[str, Path] = {}
    for path in sorted(folder.rglob('*')):
        if path.is_file() and is_image(path.name):
            name = _lower_ending(nfc(path.relative_to(folder).as_posix()))
            if there.setdefault(name, path) != path:
                raise ValueError(f'{there[name]} and {path} would be masks '
                                 'of one image. Take one of them away.')
    endings = ['.png'] if suffix is None else [_lower_ending(suffix)]
    if suffix is None and not any(f'{i}.png' in there for i in ids):
        # Perhaps they are called 005_mask.png.
        known, found = set(ids), Counter()
        for name in there:
            for end in range(len(name) - 1, 0, -1):
                if name[:end] in known and not name[end].isalnum():
                    found[name[end:]] += 1
                    break
        endings = [e for e, _ in found.most_common()]
        if len(endings) == 1:
            notes.append(f'Masks are called like their images with '
                         f'{endings[0]!r} behind the name.')
    files: dict[str, Path | None] = {}
    if len(endings) == 1:
        files = {i: there[f'{i}{endings[0]}'] for i in ids
                 if f'{i}{endings[0]}' in there}
    if not files:
        examples = _some(list(there), 3) or 'nothing'
        raise FileNotFoundError(
            f'No image has a mask in {folder}. Masks are named like images, '
            f'e.g. {next(iter(ids))}.png; that folder holds {examples}. ' +
            (f'Several endings would fit ({_some(endings)}): choose one with '
             '--mask-suffix.' if len(endings) > 1 else
             'If they only end otherwise, say how: --mask-suffix _mask.png.'))
    return files


def _lower_ending(name: str) -> str:
    """``a/B_mask.png`` of ``a/B_mask.PNG``."""
    stem, ending = os.path.splitext(name)
    return stem + ending.lower()


def _choose_val(labels: Labels, masked: set[str] | None, share: float,
                seed: int) -> set[str]:
    """Validation images: those with masks, else a share of all."""
    if masked is not None and len(masked) < len(labels):
        return masked
    left = Counter(c for classes in labels.values() for c in classes)
    ids = sorted(labels)
    random.Random(seed).shuffle(ids)
    wanted = max(round(share * len(ids)), 1) if share else 0
    chosen: set[str] = set()
    for img_id in ids:
        if len(chosen) == wanted or len(chosen) == len(ids) - 1:
            break
        if all(left[c] > 1 for c in labels[img_id]):
            left.subtract(labels[img_id])
            chosen.add(img_id)
    if chosen and not any(labels[i] for i in chosen):
        # Background alone measures nothing.
        other = next((i for i in ids if labels[i]
                      and all(left[c] > 1 for c in labels[i])), None)
        if other is not None:
            chosen.remove(max(chosen))
            chosen.add(other)
    return chosen


def _note_gaps(data: CustomData) -> None:
    """Note what a classifier cannot learn from these images."""
    train = dict(zip(data.classes, data.count('train')))
    unseen = [name for name, count in train.items() if not count]
    if unseen:
        data.notes.append(f'{len(unseen)} class(es) have no training image '
                          f'and cannot be learnt: {_some(unseen)}.')
    unknown = Counter(c for i in data.lists['train']
                      for c in data.labels.unknown.get(i, ()))
    everywhere = [
        name for c, (name, count) in enumerate(train.items())
        if count and count + unknown[c] == len(data.lists['train'])
    ]
    if everywhere:
        data.notes.append(
            f'Every training image shows {_some(everywhere)}. A classifier '
            'learns what a class is from images without it: add some.')
    if not data.lists['val']:
        data.notes.append('There are no validation images; the CAMs '
                          'of training images will be shown instead.')
