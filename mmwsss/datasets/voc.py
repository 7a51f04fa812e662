"""PASCAL VOC 2012 with tags."""
from pathlib import Path

from mmengine.utils import track_iter_progress
from mmseg.datasets import PascalVOCDataset

from mmwsss.pseudo_labels.mask_file import labels_from_mask
from mmwsss.registry import DATASETS
from mmwsss.utils.io import atomic_write, read_lines
from mmwsss.utils.read_images import read_mask

from .image_labels import labels_from_voc_xml, write_image_labels
from .image_level import ImageLevelDataset

#: Images in the splits that papers use.
SPLIT_SIZES = dict(train=1464, val=1449, trainval=2913, train_aug=10582)


@DATASETS.register_module()
class VOCImageLevelDataset(ImageLevelDataset):
    """PASCAL VOC 2012 with image-level labels.

    Takes the arguments of :class:`ImageLevelDataset`. Names and colours are
    VOC's ('pottedplant', 'diningtable', 'tvmonitor'); the label file is
    written by ``tools/dataset_converters/voc.py``.
    """
    METAINFO = dict(
        classes=PascalVOCDataset.METAINFO['classes'],
        palette=PascalVOCDataset.METAINFO['palette'])
    PREPARE = (f'{ImageLevelDataset.PREPARE} (tools/get_data.py voc2012 '
               'fetches and prepares all of it)')


def find_voc(path: str | Path) -> Path:
    """The folder of VOC 2012 in what a person calls the VOC folder.

    Args:
        path (str | Path): ``VOC2012`` or a folder above it, such as
            ``VOCdevkit``.

    Returns:
        Path: The folder that holds ``JPEGImages``.

    Raises:
        FileNotFoundError: If there is none.
    """
    path = Path(path)
    for inner in ('.', 'VOC2012', 'VOCdevkit/VOC2012'):
        if (path / inner / 'JPEGImages').is_dir():
            return path / inner
    raise FileNotFoundError(
        f'There is no VOC 2012 in {path}: neither there nor in VOC2012 or '
        'VOCdevkit/VOC2012 below is a folder JPEGImages.')


def convert_voc(
    root: str | Path,
    source: str = 'xml',
    mask_dir: str = 'SegmentationClassAug',
    out: str | Path | None = None
) -> tuple[Path, dict[str, tuple[int, int]]]:
    """Write the label file of VOC 2012 and check its split lists.

    Where the masks of the augmented set (SBD) lie in ``mask_dir`` but the
    list ``train_aug`` is missing, it is written: all of them but 'val'.

    Args:
        root (str | Path): See :func:`find_voc`.
        source (str): 'xml' takes the tags from ``Annotations``, difficult
            objects included; 'masks' those classes that the masks in
            ``mask_dir`` show. Defaults to 'xml'.
        mask_dir (str): Folder of masks in ``root``.
            Defaults to 'SegmentationClassAug'.
        out (str | Path, optional): The label file. Defaults to
            ``image_labels.json`` (or ``image_labels_masks.json``) in
            ``root``.

    Returns:
        tuple: The label file, and for each split list in
        ``ImageSets/Segmentation`` the numbers of its images and of its
        images without any tag.

    Raises:
        FileNotFoundError: If folders or files are missing.
        ValueError: If a list names images without file or labels.
    """
    root = find_voc(root)
    classes = VOCImageLevelDataset.METAINFO['classes'][1:]
    if source not in ('xml', 'masks'):
        raise ValueError(f"Tags come from 'xml' or 'masks', not {source!r}.")
    folder = root / ('Annotations' if source == 'xml' else mask_dir)
    files = sorted(folder.glob('*.xml' if source == 'xml' else '*.png'))
    if not files:
        raise FileNotFoundError(f'There are no files in {folder} to take '
                                'tags from.')
    labels = {}
    for path in track_iter_progress(files):
        labels[path.stem] = labels_from_voc_xml(
            path, classes) if source == 'xml' else labels_from_mask(
                read_mask(path, path.stem), len(classes), img_id=path.stem)
    lists = _read_lists(root)
    if 'train_aug' not in lists and (root / mask_dir).is_dir():
        lists['train_aug'] = _write_train_aug(root, mask_dir, lists)
    images = {path.stem for path in (root / 'JPEGImages').glob('*.jpg')}
    counts = {}
    for split, ids in lists.items():
        known = [i for i in ids if i in labels]
        # The test server keeps the tags of its images.
        if known or split != 'test':
            _check_list(split, ids, images, 'image', root / 'JPEGImages')
            _check_list(split, ids, labels, 'label', folder)
        counts[split] = (len(ids), sum(not labels[i] for i in known))
    suffix = '' if source == 'xml' else '_masks'
    out = Path(out) if out else root / f'image_labels{suffix}.json'
    write_image_labels(out, classes, labels)
    return out, counts


def _read_lists(root: Path) -> dict[str, list[str]]:
    lists = {}
    for path in sorted((root / 'ImageSets/Segmentation').glob('*.txt')):
        ids = read_lines(path)
        if any(len(i.split()) > 1 or '/' in i for i in ids):
            raise ValueError(
                f'{path} does not hold one image id per line: {ids[0]!r}. '
                'Rewrite it as ids, e.g. 2007_000032.')
        lists[path.stem] = ids
    return lists


def _write_train_aug(root: Path, mask_dir: str,
                     lists: dict[str, list[str]]) -> list[str]:
    if 'val' not in lists:
        raise FileNotFoundError(
            f'{root}/ImageSets/Segmentation/val.txt is missing; without it '
            'the list train_aug would contain validation images.')
    val = set(lists['val'])
    ids = [p.stem for p in sorted((root / mask_dir).glob('*.png'))]
    ids = [i for i in ids if i not in val]
    path = root / 'ImageSets/Segmentation/train_aug.txt'
    with atomic_write(path) as temp:
        temp.write_text(''.join(f'{i}\n' for i in ids))
    return ids


def _check_list(split: str, ids: list[str], there: object, kind: str,
                folder: Path) -> None:
    missing = [i for i in ids if i not in there]
    if missing:
        raise ValueError(
            f'{len(missing)} of {len(ids)} images of the list {split} have '
            f'no {kind} file in {folder}: {", ".join(missing[:5])}')
