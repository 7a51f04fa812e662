"""Masks to annotation tools and back: the work of two tools."""
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmwsss.datasets.tags import find_format, find_images, read_tags
from mmwsss.datasets.tags.images import ToolNames
from mmwsss.datasets.voc import VOCImageLevelDataset
from mmwsss.pseudo_labels.class_names import check_stage_classes
from mmwsss.pseudo_labels.mask_exchange import (
    MASK_READERS,
    label_values,
    paint,
    write_coco,
    write_cvat,
    write_label_studio,
    write_labelme,
)
from mmwsss.pseudo_labels.mask_exchange.label_studio import LOCAL_FILES
from mmwsss.pseudo_labels.mask_file import (
    labels_from_mask,
    mask_path,
    write_mask,
    write_mask_manifest,
)
from mmwsss.utils.io import open_picture, read_lines
from mmwsss.utils.read_images import read_mask


def class_names(given: Sequence[str]) -> tuple[str, ...]:
    """Class names of a command line.

    Args:
        given (Sequence[str]): Names; or one thing: 'voc', a text file with a
            name per line, or a label file that declares its classes, such as
            ``image_labels.json``.

    Returns:
        tuple[str, ...]: The K names without background.

    Raises:
        ValueError: If a label file declares no classes.
    """
    if list(given) == ['voc']:
        return VOCImageLevelDataset.METAINFO['classes'][1:]
    path = Path(given[0])
    if len(given) > 1 or not path.is_file():
        return tuple(given)
    if path.suffix.lower() == '.txt':
        names = tuple(read_lines(path))
        return names[1:] if names[:1] == ('background', ) else names
    file = read_tags(path)
    if not file.declared:
        raise ValueError(f'{path} does not list its classes, so their order '
                         'is not known. Name them: --classes NAME ..')
    return file.classes


def export_masks(masks: Path,
                 out: Path,
                 to: str,
                 images: Path,
                 classes: Sequence[str],
                 polygons: bool = False,
                 tolerance: float = 1.,
                 url: str | None = None) -> tuple[int, int]:
    """Write a folder of masks for an annotation tool.

    Args:
        masks (Path): Folder of masks, ``{img_id}.png``.
        out (Path): The file to write; for LabelMe a folder.
        to (str): 'coco', 'labelme', 'cvat' or 'label_studio'.
        images (Path): Folder of the images. Those without mask are left out.
        classes (Sequence[str]): The K names without background.
        polygons (bool): Outlines in place of pixels. LabelMe gets outlines
            anyway. Defaults to False.
        tolerance (float): How far an outline may be from the mask, in
            pixels; 0 is exact, with many points. Defaults to 1.
        url (str, optional): For Label Studio: what stands before the names
            of the images. Defaults to its folder of local files.

    Returns:
        tuple[int, int]: Number of images and of regions.

    Raises:
        FileNotFoundError: If folders are missing, or a mask has no image.
        ValueError: If a mask does not fit its image or the classes, the
            masks were made for others, or an option does not fit the format.
    """
    if to not in MASK_READERS:
        raise ValueError(f'{to!r} is no format of masks; known are '
                         f'{", ".join(MASK_READERS)}.')
    if url is not None and to != 'label_studio':
        raise ValueError('--url is for Label Studio alone.')
    if tolerance < 0:
        raise ValueError(f'--tolerance must not be negative, is {tolerance}.')
    found = _masked_images(masks, images)
    check_stage_classes(masks, classes)
    pairs = _load(masks, images, found, len(classes))
    if to == 'coco':
        count = write_coco(out, pairs, classes, polygons, tolerance)
    elif to == 'labelme':
        count = write_labelme(out, pairs, classes, images, tolerance)
    elif to == 'cvat':
        count = write_cvat(out, pairs, classes, polygons, tolerance)
    else:
        count = write_label_studio(out, pairs, classes, polygons, tolerance,
                                   LOCAL_FILES if url is None else url)
    return len(found), count


def _masked_images(masks: Path, images: Path) -> dict[str, str]:
    """Image id -> file name, of the images that have a mask."""
    if not masks.is_dir():
        raise FileNotFoundError(f'There is no folder of masks {masks}.')
    ids = [p.relative_to(masks).with_suffix('').as_posix()
           for p in sorted(masks.rglob('*.png'))
           if not p.name.startswith('.')]
    if not ids:
        raise FileNotFoundError(f'{masks} holds no mask ({{img_id}}.png).')
    files = find_images(images, ids)
    missing = [i for i in ids if i not in files]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of {len(ids)} masks in {masks} have no image in '
            f'{images}, e.g. {missing[0]!r}. Is this the image folder?')
    return {i: files[i] for i in ids}


def _load(masks: Path, images: Path, found: Mapping[str, str],
          num_classes: int) -> Iterator[tuple[str, np.ndarray]]:
    for img_id, name in found.items():
        mask = read_mask(mask_path(masks, img_id), img_id)
        size = image_size(images / name)
        if mask.shape != size:
            raise ValueError(f'Image {img_id!r} is {size} (height, width) '
                             f'but its mask is {mask.shape}.')
        labels_from_mask(mask, num_classes, img_id=img_id)
        yield name, mask


def image_size(path: Path) -> tuple[int, int]:
    """Height and width of an image file, from its header.

    Args:
        path (Path): The file.

    Returns:
        tuple[int, int]: Of the stored pixels, whatever EXIF says.

    Raises:
        ValueError: If it cannot be read.
    """
    try:
        with open_picture(path) as picture:
            return picture.size[::-1]
    except OSError as error:
        raise ValueError(f'{path} cannot be read ({error}).') from error


@dataclass
class ImportedMasks:
    """What was brought back.

    Attributes:
        ids (list[str]): Images that have a mask now.
        bare (list[str]): Those whose mask is background alone.
        notes (list[str]): What a person should know.
    """
    ids: list[str] = field(default_factory=list)
    bare: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def import_masks(annotations: Path,
                 out: Path,
                 images: Path,
                 classes: Sequence[str],
                 format: str | None = None,
                 overwrite: bool = False) -> ImportedMasks:
    """Make masks of what was drawn in an annotation tool.

    All annotations are read before the first mask is written.

    Args:
        annotations (Path): The export of the tool; of LabelMe its folder.
        out (Path): Folder to write masks to.
        images (Path): Folder of the images.
        classes (Sequence[str]): The K names without background, in the order
            of the data that the masks are for.
        format (str, optional): 'coco', 'labelme', 'cvat' or 'label_studio'.
            None looks at the file.
        overwrite (bool): Whether masks may be there. Defaults to False.

    Returns:
        ImportedMasks: What was written.

    Raises:
        FileNotFoundError: If files are missing.
        FileExistsError: If masks are there already.
        ValueError: If the file cannot be read, names classes that are not
            asked for, or is for images of another size, or ``out`` holds
            masks of other classes.
    """
    if not annotations.exists():
        raise FileNotFoundError(f'There is no {annotations}.')
    format = format or find_format(annotations)
    if format not in MASK_READERS:
        raise ValueError(
            f'{annotations} looks like {format!r}, which holds no masks; '
            f'known are {", ".join(MASK_READERS)}. If it is one of these, '
            'say --format.')
    files, names = find_images(images), ToolNames(images)
    values, result = label_values(classes), ImportedMasks()
    masks: dict[str, np.ndarray] = {}
    notes: dict[str, list[str]] = {}
    for image in MASK_READERS[format](annotations):
        img_id = names.id(image.name)
        if img_id not in files:
            raise FileNotFoundError(
                f'{annotations} names the image {image.name!r}, which is not '
                f'in {images}. Is this the image folder?')
        if img_id in masks:
            raise ValueError(f'{annotations} has the image {img_id!r} twice.')
        size = image_size(images / files[img_id])
        if image.regions and image.size != size:
            raise ValueError(
                f'{annotations}: the image {img_id!r} is {image.size} (height,'
                f' width) there, but {size} in {images}. Was it turned or '
                'made smaller for the tool?')
        masks[img_id] = paint(image.regions, size, values,
                              f'{annotations}: image {img_id!r}')
        if not image.regions:
            result.bare.append(img_id)
        for note in image.notes:
            notes.setdefault(note, []).append(img_id)
    if not masks:
        raise ValueError(f'{annotations} has no image that somebody '
                         'annotated.')
    check_stage_classes(out, classes)
    there = [i for i in masks if mask_path(out, i).exists()]
    if there and not overwrite:
        raise FileExistsError(
            f'{len(there)} of these masks are in {out} already, e.g. '
            f'{there[0]!r}. Choose another folder, or say --overwrite.')
    for img_id, mask in masks.items():
        write_mask(out, img_id, mask)
    write_mask_manifest(out, source=str(annotations), source_format=format,
                        classes=list(classes), num_images=len(masks))
    result.ids = list(masks)
    for note, ids in notes.items():
        result.notes.append(f'not used in {len(ids)} place(s), e.g. of '
                            f'{ids[0]!r}: {note}')
    if result.bare:
        result.notes.append(
            f'{len(result.bare)} image(s) have no region; their masks are '
            f'background alone: {", ".join(result.bare[:5])}')
    return result
