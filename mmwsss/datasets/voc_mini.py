"""voc_mini, a small part of PASCAL VOC 2012 for experiments on a CPU.

3,324 images of at most 320 pixels, most of them of animals, with masks and
official image-level labels. ``voc_mini_ids.txt`` says which, and which lists
(``train``, ``train_bal``, ``train_official``, ``val_bal``) name them.
"""
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.utils import track_iter_progress
from PIL import Image

from mmwsss.pseudo_labels.mask_file import labels_from_mask
from mmwsss.utils.io import atomic_write, read_lines, remove_temporary

from .image_labels import labels_from_voc_xml
from .voc import VOCImageLevelDataset, find_voc

LONG_SIDE = 320
JPEG_QUALITY = 82
IDS = Path(__file__).with_name('voc_mini_ids.txt')


def voc_mini_lists(path: str | Path = IDS) -> dict[str, list[str]]:
    """The image lists of voc_mini.

    Args:
        path (str | Path): A line per image: its id and the lists that name
            it. Defaults to the file beside this module.

    Returns:
        dict[str, list[str]]: List name -> sorted image ids.
    """
    lists: dict[str, list[str]] = {}
    for line in read_lines(Path(path)):
        img_id, *names = line.split()
        for name in names:
            lists.setdefault(name, []).append(img_id)
    return {name: sorted(ids) for name, ids in lists.items()}


def small_size(width: int, height: int) -> tuple[int, int]:
    """Size of an image in voc_mini.

    Args:
        width (int): Pixels.
        height (int): Pixels.

    Returns:
        tuple[int, int]: Width and height, the longer one at most 320.
    """
    scale = min(1., LONG_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def convert_voc_mini(root: str | Path,
                     out: str | Path,
                     ids: str | Path = IDS) -> dict[str, int]:
    """Cut voc_mini out of VOC 2012 with the masks of SBD.

    Files that are there are left alone, so a run that was cut off goes on
    with the same command. Lists and labels are written last.

    Args:
        root (str | Path): See :func:`~mmwsss.datasets.voc.find_voc`. It needs
            ``JPEGImages``, ``Annotations`` and ``SegmentationClassAug``.
        out (str | Path): Folder of the small data set.
        ids (str | Path): See :func:`voc_mini_lists`.

    Returns:
        dict[str, int]: List name -> number of its images.

    Raises:
        FileNotFoundError: If files of VOC or SBD are missing.
    """
    root, out = find_voc(root), Path(out)
    lists = voc_mini_lists(ids)
    names = sorted({i for members in lists.values() for i in members})
    _check_files(root, names)
    classes = VOCImageLevelDataset.METAINFO['classes'][1:]
    folders = [out / 'JPEGImages', out / 'SegmentationClass']
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        remove_temporary(folder)  # What a killed run left.
    from_xml, from_masks = {}, {}
    for img_id in track_iter_progress(names):
        image = folders[0] / f'{img_id}.jpg'
        if not image.exists():
            _shrink_image(root / f'JPEGImages/{img_id}.jpg', image)
        mask = folders[1] / f'{img_id}.png'
        if not mask.exists():
            _shrink_mask(root / f'SegmentationClassAug/{img_id}.png', mask)
        shown = labels_from_mask(
            np.asarray(Image.open(mask)), len(classes), img_id=img_id)
        tagged = labels_from_voc_xml(root / f'Annotations/{img_id}.xml',
                                     classes)
        from_masks[img_id] = [classes[c] for c in shown]
        from_xml[img_id] = [classes[c] for c in tagged]
    _write_labels(out / 'image_labels_from_masks.json', from_masks)
    _write_labels(out / 'image_labels_voc_xml.json', from_xml)
    for name, members in lists.items():
        path = out / f'ImageSets/Segmentation/{name}.txt'
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temp:
            temp.write_text(''.join(f'{i}\n' for i in members))
    return {name: len(members) for name, members in lists.items()}


def _check_files(root: Path, names: Sequence[str]) -> None:
    """All sources must be there before the first file is written."""
    for folder, suffix in (('JPEGImages', '.jpg'), ('Annotations', '.xml'),
                           ('SegmentationClassAug', '.png')):
        there = {p.stem for p in (root / folder).glob(f'*{suffix}')}
        missing = [i for i in names if i not in there]
        if missing:
            raise FileNotFoundError(
                f'{root / folder} lacks {len(missing)} of the '
                f'{len(names)} files that voc_mini needs, such as '
                f'{missing[0]}{suffix}. python tools/get_data.py voc2012 '
                'fetches and prepares VOC 2012 and SBD.')


def _shrink_image(source: Path, target: Path) -> None:
    with Image.open(source) as image:
        small = image.convert('RGB')
    small = small.resize(small_size(*small.size), Image.Resampling.LANCZOS)
    with atomic_write(target) as temp:
        small.save(temp, 'JPEG', quality=JPEG_QUALITY)


def _shrink_mask(source: Path, target: Path) -> None:
    with Image.open(source) as mask:
        # Of a palette picture this takes indices and keeps the palette.
        small = mask.resize(
            small_size(*mask.size), Image.Resampling.NEAREST)
    with atomic_write(target) as temp:
        small.save(temp, 'PNG')


def _write_labels(path: Path, labels: dict[str, list[str]]) -> None:
    """One image per line, which the eye and ``diff`` can read."""
    lines = (f'  {json.dumps(i)}: {json.dumps(names)}'
             for i, names in labels.items())
    with atomic_write(path) as temp:
        temp.write_text('{\n' + ',\n'.join(lines) + '\n}\n')
