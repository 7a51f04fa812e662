"""Datasets whose training labels are tags."""
import os
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import mmengine
import numpy as np
import torch
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset

from mmwsss.datasets.transforms.load_images import read_true_mask
from mmwsss.pseudo_labels.class_names import check_stage_classes
from mmwsss.pseudo_labels.mask_file import labels_from_mask, voc_palette
from mmwsss.registry import DATASETS
from mmwsss.utils.io import read_lines
from mmwsss.utils.stage_folder import STAGE_FOLDERS

from .image_labels import (
    Labels,
    labels_from_voc_xml,
    read_image_labels,
    select_labels,
)
from .mask_values import parse_mask_values
from .tags import (
    TagFile,
    find_format,
    find_images,
    image_id,
    missing_images,
    nfc,
    read_tags,
)

_PREPARE_VOC = 'python tools/dataset_converters/voc.py PATH/TO/VOC2012'


def _some(names: Sequence[str], limit: int = 5) -> str:
    """The first few of many names, for messages."""
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + more


def _as_labelled(name: str, labels: Labels) -> str:
    """What the tags call the image of a line; a file name does as well."""
    if name in labels:
        return name
    try:
        img_id = image_id(name)
    except ValueError:
        return name
    return img_id if img_id in labels else name


@DATASETS.register_module()
class ImageLevelDataset(BaseSegDataset):
    """Images with tags, in the folder layout of PASCAL VOC or any other.

    ``metainfo['classes']`` holds 'background' and the K class names; without
    it the classes are those of ``labels_file``. Pixel labels cannot leak into
    training: unless ``with_masks`` is set, no sample knows where its mask is.

    Args:
        data_root (str): Folder with ``JPEGImages``, ``ImageSets``, ...
        ann_file (str): Split list, an image id per line, relative to
            ``data_root``. Empty takes all images of ``labels_file``.
        labels_file (str, optional): Tags in any format of
            :func:`~mmwsss.datasets.image_labels.read_image_labels` (csv,
            JSON, COCO's instances, a folder of XML files, a folder per
            class), relative to ``data_root``.
        labels_from (str, optional): Instead of ``labels_file``: ``'xml'``
            reads VOC annotations, ``'masks'`` derives the tags from masks.
        labels_format (str, optional): Format of ``labels_file`` where it
            cannot be seen; see :mod:`~mmwsss.datasets.tags`.
        unknown_tags (str): What to do with classes of ``labels_file`` that
            ``metainfo`` lacks: 'error', or 'drop' to leave them out.
            Defaults to 'error'.
        with_masks (bool | str): Whether samples carry the path of their
            mask, for validation and test. 'auto': if there are masks; they
            must then be there for every image. Defaults to False.
        class_less (str): What to do with images without any tag: 'keep',
            'skip' or 'error'. Defaults to 'keep'.
        check_files (bool): Whether to make sure at the start that all files
            exist. Defaults to True.
        allow_pickle (bool): Needed for ``.npy`` label files.
            Defaults to False.
        data_prefix (dict): Folders ``img_path``, ``seg_map_path`` and
            ``xml_path`` relative to ``data_root``. Missing keys are
            JPEGImages, SegmentationClass and Annotations. With
            ``saliency_path`` samples name a saliency map each, for
            :class:`~mmwsss.datasets.transforms.LoadSaliency`; with
            ``instance_path`` and ``with_masks`` a map of object numbers, for
            :class:`~mmwsss.datasets.transforms.LoadInstances`.
        saliency_suffix (str): Ending of the saliency maps' names.
            Defaults to '.png'.
        saliency_dir (str, optional): Folder of saliency maps, as
            tools/discover_objects.py writes them, in place of
            ``data_prefix``'s ``saliency_path``. Relative to where the
            program runs, as the folders below. Defaults to None.
        cam_dir (str, optional): Folder of CAM files of an earlier stage, for
            :class:`~mmwsss.pseudo_labels.transforms.LoadCAMs`. This and the
            folders below are relative to where the program runs.
        mask_dir (str, optional): Folder of pseudo masks, for
            :class:`~mmwsss.pseudo_labels.transforms.LoadPseudoMask`.
        low_score_dir (str, optional): Folder of CRF scores with the low
            background exponent, for
            :class:`~mmwsss.pseudo_labels.transforms.LoadScores`.
        high_score_dir (str, optional): The same with the high exponent.
        proposal_dir (str, optional): Folder of mask proposals, for
            :class:`~mmwsss.pseudo_labels.transforms.RefineWithProposals`.
        mask_values (Sequence[str], optional): What values of masks stand
            for, e.g. ``['255=defect', '128=ignore']``, where they are not
            0 (background), c + 1 (class c) and 255 (ignored); see
            :func:`~mmwsss.datasets.mask_values.parse_mask_values`.
        window (Sequence[float], optional): Which values become black and
            white in images of more than 8 bits, see
            :func:`~mmwsss.utils.read_images.read_image`.
        img_suffix (str): Ending of the images' names. 'any' looks what files
            there are. Defaults to '.jpg'.
        **kwargs: For mmseg's ``BaseSegDataset``.

    Raises:
        FileNotFoundError: If the data root, the split list, the label file
            or listed files are missing.
        ValueError: If the split is empty or names an image twice, tags are
            missing, files of earlier stages or masks say that they were made
            for other classes, or the configuration contradicts itself.
    """
    PREPARE = _PREPARE_VOC
    PREFIX = dict(
        img_path='JPEGImages',
        seg_map_path='SegmentationClass',
        xml_path='Annotations')

    def __init__(self,
                 data_root: str | None = None,
                 ann_file: str = '',
                 labels_file: str | None = None,
                 labels_from: str | None = None,
                 labels_format: str | None = None,
                 unknown_tags: str = 'error',
                 with_masks: bool | str = False,
                 class_less: str = 'keep',
                 check_files: bool = True,
                 allow_pickle: bool = False,
                 data_prefix: dict | None = None,
                 saliency_suffix: str = '.png',
                 saliency_dir: str | None = None,
                 cam_dir: str | None = None,
                 mask_dir: str | None = None,
                 low_score_dir: str | None = None,
                 high_score_dir: str | None = None,
                 proposal_dir: str | None = None,
                 mask_values: Sequence[str] | None = None,
                 window: Sequence[float] | None = None,
                 img_suffix: str = '.jpg',
                 metainfo: dict | None = None,
                 **kwargs) -> None:
        name = type(self).__name__
        if (labels_file is None) == (labels_from is None):
            raise ValueError(f'{name} needs either labels_file or '
                             "labels_from='xml'|'masks'.")
        if labels_from not in (None, 'xml', 'masks'):
            raise ValueError(f"labels_from is {labels_from!r}, must be 'xml' "
                             "or 'masks'.")
        if class_less not in ('keep', 'skip', 'error'):
            raise ValueError(f"class_less is {class_less!r}, must be 'keep', "
                             "'skip' or 'error'.")
        if unknown_tags not in ('error', 'drop'):
            raise ValueError(f"unknown_tags is {unknown_tags!r}, must be "
                             "'error' or 'drop'.")
        if with_masks not in (True, False, 'auto'):
            raise ValueError(f'with_masks is {with_masks!r}, must be True, '
                             "False or 'auto'.")
        if img_suffix == 'any' and kwargs.get('backend_args') is not None:
            raise ValueError("img_suffix='any' looks into a local folder; "
                             'with backend_args give the ending.')
        if kwargs.get('reduce_zero_label'):
            raise ValueError('Index 0 is the background here; '
                             'reduce_zero_label must be False.')
        self.labels_file = labels_file
        self.labels_from = labels_from
        self.labels_format = labels_format
        self.unknown_tags = unknown_tags
        self.with_masks = with_masks
        self.class_less = class_less
        self.check_files = check_files
        self.allow_pickle = allow_pickle
        self.saliency_suffix = saliency_suffix
        folders = (cam_dir, mask_dir, low_score_dir, high_score_dir,
                   proposal_dir)
        # Each sample tells the steps that read them.
        self.stage_folders = {
            field: str(folder)
            for field, folder in zip(STAGE_FOLDERS, folders)
            if folder is not None
        }
        if saliency_dir is not None:
            data_prefix = dict(
                data_prefix or {},
                saliency_path=os.path.abspath(saliency_dir))
        self.image_folder = {
            **self.PREFIX,
            **(data_prefix or {})
        }['img_path']
        self.mask_values = mask_values
        self.window = None if window is None else tuple(window)
        self._tag_file: TagFile | None = None
        self._images: dict[str, str] = {}
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            data_prefix={
                **self.PREFIX,
                **(data_prefix or {})
            },
            img_suffix=img_suffix,
            metainfo=self._with_classes(metainfo, data_root),
            **kwargs)

    @property
    def split(self) -> str:
        """The name of the list, for those who say what was scored."""
        return os.path.splitext(os.path.basename(self.ann_file))[0]

    @property
    def classes(self) -> tuple:
        """The K class names without background."""
        return tuple((self._metainfo.get('classes') or ())[1:])

    def _with_classes(self, metainfo: dict | None,
                      data_root: str | None) -> dict | None:
        """Take the class names from the label file if nobody gives them."""
        if (self.METAINFO.get('classes') or (metainfo or {}).get('classes')
                or self.labels_file is None):
            return metainfo
        path = Path(data_root or '', self.labels_file)
        if not path.exists() or (self.labels_format
                                 or find_format(path)) == 'npy':
            # What is missing is said when the data are read.
            return metainfo
        self._tag_file = read_tags(path, self.labels_format,
                                   self._image_root(data_root))
        for note in self._tag_file.notes:
            print_log(f'{path}: {note}', logger='current')
        return dict(
            metainfo or {}, classes=('background', *self._tag_file.classes))

    def _image_root(self, data_root: str | None) -> str | None:
        """The image folder, for names as annotation tools write them."""
        root = os.path.join(data_root or '', self.image_folder)
        return root if os.path.isdir(root) else None

    def _update_palette(self) -> list:
        """VOC's colours where there are none."""
        if not self._metainfo.get('palette'):
            classes = self._metainfo.get('classes', ())
            return voc_palette()[:len(classes)].tolist()
        return super()._update_palette()

    def _join_prefix(self) -> None:
        super()._join_prefix()
        if self.labels_file and not os.path.isabs(self.labels_file):
            self.labels_file = os.path.join(self.data_root, self.labels_file)

    def full_init(self) -> None:
        """Load the split; see mmengine."""
        if not self._fully_initialized:
            self._check_metainfo()
            super().full_init()

    def _check_metainfo(self) -> None:
        classes = self._metainfo.get('classes') or ()
        if not classes and self.labels_file and not os.path.exists(
                self.labels_file):
            self._check_folder()
            self._read_tags()  # Says that it is missing.
        if len(classes) < 2 or classes[0] != 'background':
            raise ValueError(
                f'{type(self).__name__} needs metainfo.classes that begin '
                f"with 'background', got {tuple(classes)}.")
        if len(classes) > 255:
            raise ValueError(f'Masks hold 8 bits: at most 254 classes, got '
                             f'{len(classes) - 1}.')
        if self.label_map is not None:
            raise ValueError(
                f'{type(self).__name__} has fixed classes. For a selection '
                'use mmwsss.ImageLevelDataset with your own metainfo, label '
                'file and masks; tools/dataset_converters/custom.py '
                '--classes writes them.')

    def load_data_list(self) -> list[dict]:
        """Read split list and tags.

        Returns:
            list[dict]: Per image ``img_path``, ``img_id``, ``gt_label``
            int64 (k,), ``num_classes`` (K), ``unknown_label`` int64 (u,) of
            classes that nobody knows about, only where there are some,
            ``seg_map_path`` only with ``with_masks``, ``saliency_path`` only
            if ``data_prefix`` has one, and the folders of earlier stages
            that are set (``cam_dir``, ``mask_dir``, ..).
        """
        self._check_folder()
        self._mask_map = None if self.mask_values is None else \
            parse_mask_values(self.mask_values, self.classes)
        labels = self._read_tags() if self.labels_file else None
        ids = self._read_split(labels)
        if self.with_masks == 'auto':
            self.with_masks = self._any_exists(ids, 'seg_map_path',
                                               self.seg_map_suffix)
        if self.img_suffix == 'any':
            self._find_images(ids)
        if self.check_files and self.backend_args is None:
            if self.img_suffix != 'any':
                self._check_exist(ids, 'img_path', self.img_suffix)
            if self.with_masks:
                self._check_exist(ids, 'seg_map_path', self.seg_map_suffix)
            if self._with_instances:
                self._check_exist(ids, 'instance_path', self.seg_map_suffix)
            if 'saliency_path' in self.data_prefix:
                self._check_exist(ids, 'saliency_path', self.saliency_suffix)
        self._check_names_of_files()
        labels = self._read_labels(ids, labels)
        bare = [i for i in ids if len(labels[i]) == 0]
        if bare and self.class_less == 'error':
            raise ValueError(
                f'{len(bare)} image(s) of {self.ann_file} have no tag: '
                f"{_some(bare)}. Set class_less='keep' or 'skip' to allow "
                'them.')
        if self.class_less == 'skip':
            ids = [i for i in ids if len(labels[i])]
            if not ids:
                raise ValueError(f'No image of {self.ann_file} has a tag.')
        self._tag_file = None  # Large ones need not stay in memory.
        unknown = getattr(labels, 'unknown', {})
        return [
            self._data_info(i, labels[i], unknown.get(i, ())) for i in ids
        ]

    def _check_folder(self) -> None:
        if self.data_root is not None and not os.path.isdir(self.data_root):
            raise FileNotFoundError(
                f'There is no data folder {self.data_root}. Link your data '
                f'there or set data_root, then prepare it: {self.PREPARE}')

    def _check_names_of_files(self) -> None:
        """Raise ValueError for files that were made for other classes."""
        folders = list(self.stage_folders.values())
        if self.with_masks and self.mask_values is None:
            folders.append(self.data_prefix['seg_map_path'])
        for folder in folders:
            check_stage_classes(folder, self._metainfo['classes'])

    def _read_tags(self) -> Labels:
        if self._tag_file is not None:
            return select_labels(self._tag_file, self.classes,
                                 self.unknown_tags)
        return read_image_labels(self.labels_file, self.classes,
                                 self.allow_pickle, self.labels_format,
                                 self.unknown_tags,
                                 self._image_root(self.data_root))

    def _find_images(self, ids: list[str]) -> None:
        """Look up the file of each image, whatever its ending."""
        root = self.data_prefix['img_path']
        if not os.path.isdir(root):
            raise FileNotFoundError(
                f'There is no image folder {root}. Set data_prefix.img_path, '
                f'or prepare the data: {self.PREPARE}')
        self._images = find_images(root, map(nfc, ids))
        missing = [i for i in ids if nfc(i) not in self._images]
        if missing:
            source = self.ann_file or self.labels_file
            lines = self._tag_file.lines if self._tag_file else {}
            raise FileNotFoundError(
                missing_images(missing, root, self._images, source, lines) +
                ' Restore them or take them off the list.')

    @property
    def _with_instances(self) -> bool:
        return self.with_masks and 'instance_path' in self.data_prefix

    def _path(self, img_id: str, key: str, suffix: str) -> str:
        return os.path.join(self.data_prefix[key], img_id + suffix)

    def _data_info(self,
                   img_id: str,
                   label: Sequence[int],
                   unknown: Sequence[int] = ()) -> dict:
        if self.img_suffix == 'any':
            img_path = os.path.join(self.data_prefix['img_path'],
                                    self._images[nfc(img_id)])
        else:
            img_path = self._path(img_id, 'img_path', self.img_suffix)
        info = dict(
            img_path=img_path,
            img_id=img_id,
            gt_label=np.array(label, dtype=np.int64),
            num_classes=len(self.classes),
            # What mmseg's and our loaders of masks put in place of values.
            label_map=self._mask_map,
            reduce_zero_label=False,
            seg_fields=[])
        info.update(self.stage_folders)
        if len(unknown):
            info['unknown_label'] = np.array(unknown, dtype=np.int64)
        if self.window is not None:
            info['window'] = self.window
        if self.with_masks:
            info['seg_map_path'] = self._path(img_id, 'seg_map_path',
                                              self.seg_map_suffix)
        if self._with_instances:
            info['instance_path'] = self._path(img_id, 'instance_path',
                                               self.seg_map_suffix)
        if 'saliency_path' in self.data_prefix:
            info['saliency_path'] = self._path(img_id, 'saliency_path',
                                               self.saliency_suffix)
        return info

    def _read_split(self, labels: dict | None) -> list[str]:
        if not self.ann_file:
            if labels is None:
                raise ValueError('Without ann_file (the list of image ids) '
                                 'the dataset needs a labels_file.')
            source, ids = self.labels_file, list(labels)
        else:
            source = self.ann_file
            if self.backend_args is None and not os.path.isfile(source):
                raise FileNotFoundError(
                    f'There is no split list {source}. Set ann_file '
                    "(--split), a path below the data root; '' takes all "
                    f'tagged images. Or prepare the data: {self.PREPARE}')
            if self.backend_args is None:
                ids = read_lines(source)
            else:
                lines = mmengine.list_from_file(
                    source, backend_args=self.backend_args)
                ids = [line.strip() for line in lines if line.strip()]
        if not ids:
            raise ValueError(f'The split {source} is empty.')
        if labels is not None:
            ids = [_as_labelled(i, labels) for i in ids]
        seen = set()
        for img_id in ids:
            if len(img_id.split()) > 1 and img_id not in (labels or ()):
                raise ValueError(
                    f'Line {img_id!r} of {source} is no image id. A split '
                    f'list has one id per line, without {self.img_suffix!r}.')
            if img_id in seen:
                raise ValueError(f'Image {img_id} stands twice in {source}.')
            seen.add(img_id)
        return ids

    def _check_exist(self, ids: Iterable[str], key: str, suffix: str) -> None:
        """One directory listing is far cheaper than a stat per file."""
        folders: dict[str, list[str]] = {}
        for img_id in ids:
            path = self._path(img_id, key, suffix)
            folders.setdefault(os.path.dirname(path), []).append(img_id)
        kind = dict(
            img_path='image',
            seg_map_path='mask',
            instance_path='map of object numbers',
            saliency_path='saliency map')[key]
        loader = dict(
            instance_path='LoadInstances', saliency_path='LoadSaliency')
        for folder, members in folders.items():
            if not os.path.isdir(folder):
                other = f'prepare the data: {self.PREPARE}'
                if key in loader:
                    other = f'take it and {loader[key]} out of the config.'
                if key == 'saliency_path':
                    other = ('write maps with tools/discover_objects.py, or '
                             f'{other}')
                raise FileNotFoundError(
                    f'There is no {kind} folder {folder}. Set data_prefix.'
                    f'{key}, or {other}')
            with os.scandir(folder) as entries:
                found = {entry.name for entry in entries}
            missing = [
                i for i in members
                if os.path.basename(self._path(i, key, suffix)) not in found
            ]
            if missing:
                raise FileNotFoundError(
                    f'{len(missing)} {kind}(s) of {self.ann_file or "the"} '
                    f'split have no file in {folder}: {_some(missing)} '
                    f'(ending {suffix!r}). Restore them or take the ids off '
                    'the list.' + (" If images end otherwise, set img_suffix="
                                   "'any'." if key == 'img_path' else ''))

    def _any_exists(self, ids: Iterable[str], key: str, suffix: str) -> bool:
        """Whether at least one of the files is there."""
        paths = [self._path(i, key, suffix) for i in ids]
        found = {
            folder: set(os.listdir(folder)) if os.path.isdir(folder) else ()
            for folder in {os.path.dirname(path)
                           for path in paths}
        }
        return any(
            os.path.basename(path) in found[os.path.dirname(path)]
            for path in paths)

    def _read_labels(self, ids: list[str],
                     labels: dict | None) -> dict[str, Sequence[int]]:
        if self.labels_from == 'xml':
            return {
                i:
                labels_from_voc_xml(
                    self._path(i, 'xml_path', '.xml'), self.classes)
                for i in ids
            }
        if self.labels_from == 'masks':
            return {i: self._labels_from_mask(i) for i in ids}
        missing = [i for i in ids if i not in labels]
        if missing:
            raise ValueError(
                f'{len(missing)} of {len(ids)} image(s) of {self.ann_file} '
                f'have no entry in {self.labels_file}: {_some(missing)}. An '
                'image without any class needs the entry []. Or write '
                f'the file anew, e.g. {self.PREPARE}')
        return labels

    def _labels_from_mask(self, img_id: str) -> Sequence[int]:
        path = self._path(img_id, 'seg_map_path', self.seg_map_suffix)
        mask = read_true_mask(
            dict(
                seg_map_path=path, img_id=img_id, label_map=self._mask_map))
        return labels_from_mask(mask, len(self.classes), self.ignore_index,
                                img_id)

    def get_cat_ids(self, idx: int) -> list[int]:
        """Classes of an image, for mmengine's ``ClassBalancedDataset``."""
        return self.get_data_info(idx)['gt_label'].tolist()

    def __getitem__(self, idx: int) -> dict:
        """One sample after the pipeline.

        An index with ``draw_seed`` (:class:`mmwsss.datasets.samplers.Draw`)
        seeds Python's, numpy's and torch's generators first, so augmentation
        does not depend on workers or processes.

        Args:
            idx (int): Index.

        Returns:
            dict: What the pipeline gives.

        Raises:
            ValueError: If the pipeline gives ``None``. mmengine would take
                another image instead, which hides broken data. Also if a
                file cannot be read and the step that tried does not say
                whose.
        """
        seed = getattr(idx, 'draw_seed', None)
        if seed is not None:
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
        if not self._fully_initialized:
            self.full_init()
        try:
            data = self.prepare_data(int(idx))
        except (OSError, ValueError) as error:
            info = self.get_data_info(int(idx))
            if info['img_id'] in str(error):
                raise
            # Steps of mmcv and mmseg do not know ids.
            raise ValueError(
                f'Image {info["img_id"]!r} ({info["img_path"]}): '
                f'{type(error).__name__}: {error}') from error
        if data is None:
            img_id = self.get_data_info(int(idx))['img_id']
            raise ValueError(f'The pipeline gave None for image {img_id}. '
                             'Read it with mmwsss.LoadImage to see why.')
        return data
