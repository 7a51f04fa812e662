"""PASCAL VOC 2012 with SBD, from the addresses that torchvision knows."""
import io
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmwsss.datasets.voc import SPLIT_SIZES, VOCImageLevelDataset, convert_voc
from mmwsss.pseudo_labels.mask_file import mask_path, write_mask
from mmwsss.utils.download import DownloadError, download
from mmwsss.utils.io import atomic_write, read_lines, remove_temporary

#: Where archives lie, below the data folder.
DOWNLOADS = 'downloads'


def voc_archives() -> list[tuple[str, str, str]]:
    """Archives of VOC 2012 and SBD.

    Returns:
        list[tuple[str, str, str]]: Address, file name and MD5 of each.
    """
    from torchvision.datasets import SBDataset
    from torchvision.datasets.voc import DATASET_YEAR_DICT
    voc = DATASET_YEAR_DICT['2012']
    return [(voc['url'], voc['filename'], voc['md5']),
            (SBDataset.url, SBDataset.filename, SBDataset.md5)]


def get_voc2012(root: Path, sbd: bool = True,
                say: Callable[[str], None] = print) -> tuple[Path, dict]:
    """Fetch and prepare VOC 2012; whatever is there already is left alone.

    Args:
        root (Path): Data folder; ``VOCdevkit/VOC2012`` appears in it.
        sbd (bool): Whether to add the masks of SBD, which make the 10,582
            training images of the papers. Defaults to True.
        say (Callable): Told what happens.

    Returns:
        tuple: See :func:`~mmwsss.datasets.voc.convert_voc`.

    Raises:
        DownloadError: If archives cannot be fetched; lists those to bring,
            and where to.
        ValueError: If an archive is damaged or holds something else.
    """
    voc = root / 'VOCdevkit/VOC2012'
    wanted = voc_archives()[:2 if sbd else 1]
    masks = len(list((voc / 'SegmentationClassAug').glob('*.png')))
    done = [(voc / 'JPEGImages').is_dir(),
            masks >= SPLIT_SIZES['train_aug'] + SPLIT_SIZES['val'] or
            (voc / 'ImageSets/Segmentation/train_aug.txt').is_file()]
    missing = [a for a, there in zip(wanted, done) if not there]
    _fetch_all(root / DOWNLOADS, missing, say)
    if not done[0]:
        _unpack_voc(root, root / DOWNLOADS / wanted[0][1], say)
    if sbd and not done[1]:
        _add_sbd(voc, root / DOWNLOADS / wanted[1][1], say)
    return convert_voc(voc)


def _fetch_all(folder: Path, archives: list[tuple[str, str, str]],
               say: Callable[[str], None]) -> None:
    """Fetch every archive that can be, then name the others."""
    left = []
    for url, name, md5 in archives:
        path = folder / name
        try:
            if not path.is_file():
                say(f'fetching {url}')
            download(url, path, ('md5', md5))
        except DownloadError as error:
            left.append(f'{error}\n    bring {url}\n    as    {path}\n'
                        f'    md5   {md5}')
    if left:
        raise DownloadError('\n  '.join((
            'These files could not be fetched. Bring them, then run the same '
            'command again:', *left)))


def _unpack_voc(root: Path, archive: Path,
                say: Callable[[str], None]) -> None:
    """Unpack beside the place, then rename: it is whole or not there."""
    say(f'unpacking {archive}')
    temporary = root / '.VOCdevkit.tmp-unpack'
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with tarfile.open(archive) as file:
            _extract(file, temporary)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f'{archive} cannot be unpacked ({error}).') \
            from error
    made = temporary / 'VOCdevkit/VOC2012'
    if not (made / 'JPEGImages').is_dir():
        raise ValueError(f'{archive} holds no VOCdevkit/VOC2012/JPEGImages.')
    target = root / 'VOCdevkit/VOC2012'
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(made, target)
    shutil.rmtree(temporary)


def _extract(file: tarfile.TarFile, folder: Path) -> None:
    """Files and folders alone, and none outside of the folder."""
    for member in file:
        target = (folder / member.name).resolve()
        if folder.resolve() not in target.parents or not (
                member.isfile() or member.isdir()):
            continue
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            with file.extractfile(member) as source, target.open(
                    'wb') as copy:
                shutil.copyfileobj(source, copy)


def _add_sbd(voc: Path, archive: Path, say: Callable[[str], None]) -> None:
    """Masks of VOC where it has some, else those of SBD."""
    say(f'writing the masks of {archive}')
    folder = voc / 'SegmentationClassAug'
    remove_temporary(folder)  # What a killed run left.
    palette = VOCImageLevelDataset.METAINFO['palette']
    own = sorted((voc / 'SegmentationClass').glob('*.png'))
    for path in own:
        target = mask_path(folder, path.stem)
        if not target.exists():
            with atomic_write(target) as temp:
                shutil.copyfile(path, temp)
    taken = {p.stem for p in own}
    try:
        count = 0
        for img_id, content in _sbd_masks(archive):
            count += 1
            if img_id not in taken and not mask_path(folder,
                                                     img_id).exists():
                write_mask(folder, img_id, _mask_of(content), palette)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f'{archive} cannot be unpacked ({error}).') \
            from error
    if not count:
        raise ValueError(f'{archive} holds no dataset/cls/*.mat of SBD.')
    # Written last, so that a broken run is told from a finished one.
    val = set(read_lines(voc / 'ImageSets/Segmentation/val.txt'))
    ids = sorted(p.stem for p in folder.glob('*.png'))
    with atomic_write(voc / 'ImageSets/Segmentation/train_aug.txt') as temp:
        temp.write_text(''.join(f'{i}\n' for i in ids if i not in val))


def _sbd_masks(archive: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive) as file:
        for member in file:
            path = Path(member.name)
            if member.isfile() and path.suffix == '.mat' and \
                    path.parent.name == 'cls':
                yield path.stem, file.extractfile(member).read()


def _mask_of(content: bytes) -> np.ndarray:
    from scipy.io import loadmat
    mat: Any = loadmat(io.BytesIO(content))
    return np.asarray(mat['GTcls'][0]['Segmentation'][0], np.uint8)
