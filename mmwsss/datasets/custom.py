"""Images of your own: any tags, checked, as one data folder."""
import random
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import (Any, Dict, Iterable, List, Mapping, Optional, Sequence,
                    Set, Tuple, Union)

from mmengine.utils import track_iter_progress

from mmwsss.utils.io import atomic_write, open_picture

from .image_labels import (Labels, labels_from_mask, select_labels,
                           tags_to_indices, write_image_labels)
from .image_level import _some
from .tags import find_images, missing_images, nfc, read_tags
from .transforms.loading import read_image, read_mask

PathLike = Union[str, Path]
#: EXIF's orientation, 1 is upright.
_ORIENTATION = 274


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
    """
    images: Path
    masks: Optional[Path]
    format: str
    classes: Tuple[str, ...]
    labels: Labels
    lists: Dict[str, List[str]] = field(default_factory=dict)
    notes: List[str] = field(default_factory=list)

    def count(self, name: str) -> List[int]:
        """Images of each class in a list."""
        numbers = Counter(c for i in self.lists[name] for c in self.labels[i])
        return [numbers[c] for c in range(len(self.classes))]


def read_custom(tags: PathLike,
                images: Optional[PathLike] = None,
                masks: Optional[PathLike] = None,
                format: Optional[str] = None,
                classes: Optional[Sequence[str]] = None,
                val: float = 0.1,
                seed: int = 0,
                check_images: bool = True,
                columns: Optional[Mapping[str, Any]] = None) -> CustomData:
    """Read and check images with tags of any format; writes nothing.

    Args:
        tags (str | Path): See :func:`~mmwsss.datasets.tags.read_tags`.
        images (str | Path, optional): Folder of the images. Defaults to the
            folder of the tags: that which holds the file, that of the class
            folders, ``JPEGImages`` beside a folder of XML files.
        masks (str | Path, optional): Folder of masks, ``{id}.png``, of all
            or some of the images. If of some, these are the validation
            images; training never sees one.
        format (str, optional): Of the tags. None looks at them.
        classes (Sequence[str], optional): Which classes, in which order.
            Other tags are left out. Defaults to all.
        val (float): Share of the images to validate on. The last training
            image of a class is never taken. Defaults to 0.1.
        seed (int): Decides which. Defaults to 0.
        check_images (bool): Whether to read every image. Defaults to True.
        columns (Mapping, optional): Names of columns or keys of the tags, see
            ``read_tags``.

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
    names = _choose_classes(file.classes, classes, tags)
    labels = select_labels(file, names,
                           'error' if classes is None else 'drop')
    if not any(labels.values()):
        raise ValueError(f'No image of {tags} has a tag'
                         f'{" of these classes" if classes else ""}, so '
                         'there is nothing to learn.')
    found = find_images(root, labels)
    missing = [i for i in labels if i not in found]
    if missing:
        raise FileNotFoundError(
            missing_images(missing, root, found, tags, file.lines) +
            ' Is this the image folder? Set it with --images.')
    _check_ids(labels)

    data = CustomData(root.resolve(), None, file.format, names, labels)
    data.notes += file.notes
    if labels.unknown:
        data.notes.append(
            f'{len(labels.unknown)} image(s) have classes that nobody knows '
            f'about (-1): {_some(list(labels.unknown))}. The classification '
            'losses leave these out; masks made from these images show only '
            'classes that are known to be there.')
    untagged = [i for i in found if i not in labels]
    if untagged:
        data.notes.append(
            f'{len(untagged)} image(s) in {root} have no tags in {tags} and '
            f'are left out: {_some(untagged)}.')
    if check_images:
        _check_images({i: root / found[i] for i in labels}, data.notes)
    masked = None
    if masks is not None:
        data.masks = Path(masks).resolve()
        masked = _check_masks(
            Path(masks), {i: root / found[i] for i in labels}, labels,
            len(names), data.notes)
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

    Args:
        data (CustomData): Of :func:`read_custom`.
        out (str | Path): Folder to write to. Images stay where they are.
    """
    out = Path(out)
    write_image_labels(out / 'image_labels.json', data.classes, data.labels)
    for name, ids in data.lists.items():
        with atomic_write(out / f'{name}.txt') as temp:
            temp.write_text(''.join(f'{i}\n' for i in ids), encoding='utf-8')


def _image_folder(tags: Path) -> Path:
    """Where images usually are."""
    if not tags.is_dir():
        return tags.parent
    beside = tags.parent / 'JPEGImages'
    xml = any(p.suffix.lower() == '.xml' for p in tags.iterdir())
    return beside if xml and beside.is_dir() else tags


def _choose_classes(there: Sequence[str], asked: Optional[Sequence[str]],
                    tags: Path) -> Tuple[str, ...]:
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


def _check_images(paths: Mapping[str, Path], notes: List[str]) -> None:
    """Read all images, and name all that cannot be."""
    broken, rotated = [], []
    for img_id, path in track_iter_progress(list(paths.items())):
        try:
            read_image(path, img_id)
            with open_picture(path) as picture:
                if picture.getexif().get(_ORIENTATION, 1) != 1:
                    rotated.append(img_id)
        except (OSError, ValueError) as error:
            broken.append(str(error))
    print()
    if broken:
        raise ValueError(f'{len(broken)} of {len(paths)} images cannot be '
                         'read:\n' + '\n'.join(broken[:20]) +
                         ('\n..' if len(broken) > 20 else ''))
    if rotated:
        notes.append(
            f'{len(rotated)} image(s) are stored lying on their side or '
            'head, with a note (EXIF) to turn them, which is not followed: '
            f'{_some(rotated)}. Store them upright, e.g. with `exiftran -ai` '
            'or ImageMagick\'s `mogrify -auto-orient`.')


def _check_masks(folder: Path, paths: Mapping[str, Path], labels: Labels,
                 num_classes: int, notes: List[str]) -> Set[str]:
    """The images that have a mask, which fits."""
    if not folder.is_dir():
        raise FileNotFoundError(f'There is no folder of masks {folder}.')
    masked, more = set(), []
    for img_id, image in paths.items():
        path = folder / f'{img_id}.png'
        if not path.is_file():
            continue
        mask = read_mask(path, img_id)
        with open_picture(image) as picture:
            size = picture.size[::-1]
        if mask.shape != size:
            raise ValueError(f'Image {img_id!r} is {size} (height, width) '
                             f'but its mask {path} is {mask.shape}.')
        shown = labels_from_mask(mask, num_classes, img_id=img_id)
        if set(shown) - set(labels[img_id]):
            more.append(img_id)
        masked.add(img_id)
    if not masked:
        raise FileNotFoundError(
            f'No image has a mask in {folder}. Masks are named like images, '
            f'e.g. {next(iter(paths))}.png.')
    if more:
        notes.append(f'The masks of {len(more)} image(s) show classes that '
                     f'their tags lack: {_some(more)}.')
    return masked


def _choose_val(labels: Labels, masked: Optional[Set[str]], share: float,
                seed: int) -> Set[str]:
    """Validation images: those with masks, else a share of all."""
    if masked is not None and len(masked) < len(labels):
        return masked
    left = Counter(c for classes in labels.values() for c in classes)
    ids = sorted(labels)
    random.Random(seed).shuffle(ids)
    wanted = max(round(share * len(ids)), 1) if share else 0
    chosen: Set[str] = set()
    for img_id in ids:
        if len(chosen) == wanted or len(chosen) == len(ids) - 1:
            break
        if all(left[c] > 1 for c in labels[img_id]):
            left.subtract(labels[img_id])
            chosen.add(img_id)
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
        data.notes.append('There are no validation images; the class maps '
                          'of training images will be shown instead.')
