"""Images with pseudo masks, to train a segmentation model on."""
import copy
import os
from pathlib import Path

from mmengine.dataset import Compose
from torch.utils.data import Dataset

from mmwsss.pseudo_labels.class_names import check_stage_classes
from mmwsss.registry import DATASETS
from mmwsss.utils.io import open_picture

from .image_level import ImageLevelDataset, _some


@DATASETS.register_module()
class PseudoMaskDataset(Dataset):
    """An image-level data set whose masks were made from its tags.

    The inner data set gives ids, tags, names and colours of the classes;
    ``{mask_dir}/{img_id}.png`` is the mask: 0 background, c + 1 class c, 255
    ignored. Samples look like those of mmseg's own data sets, so any model
    of mmseg trains on them with mmseg's transforms. True masks cannot get in
    by mistake: an inner data set that knows them is refused.

    Args:
        dataset (dict | ImageLevelDataset): The inner data set, without a
            pipeline.
        mask_dir (str | Path): Folder of the pseudo masks, relative to where
            the program runs.
        pipeline (list): Transforms; a mask-loading one such as
            ``mmwsss.LoadMask`` or mmseg's ``LoadAnnotations`` among them.

    Raises:
        FileNotFoundError: If the folder or masks of the split are missing.
        TypeError: If the inner data set is no :class:`ImageLevelDataset`.
        ValueError: If the inner data set has ``with_masks`` or a pipeline.
    """

    def __init__(self,
                 dataset: dict | ImageLevelDataset,
                 mask_dir: str | Path,
                 pipeline: list[dict | object] = ()) -> None:
        if isinstance(dataset, dict):
            dataset = DATASETS.build(dataset)
        if not isinstance(dataset, ImageLevelDataset):
            raise TypeError('PseudoMaskDataset wraps an image-level data set '
                            'such as mmwsss.VOCImageLevelDataset, not '
                            f'{type(dataset).__name__}.')
        if dataset.with_masks:
            raise ValueError(
                'PseudoMaskDataset: the inner data set has with_masks=True. '
                f'Training masks come from {mask_dir} alone; leave it out.')
        if dataset.pipeline.transforms:
            raise ValueError('PseudoMaskDataset: give the pipeline to it, '
                             'not to the inner data set.')
        self.mask_dir = str(mask_dir)
        # The inner data set runs the pipeline, with the seeds of the draws.
        self.dataset = copy.copy(dataset)
        self.dataset.pipeline = Compose([self._add_mask, *pipeline])
        self.full_init()

    @property
    def metainfo(self) -> dict:
        """Names and colours of the classes."""
        return self.dataset.metainfo

    def full_init(self) -> None:
        """Load the split and make sure that every image has its mask.

        Raises:
            FileNotFoundError: If masks are missing.
            ValueError: If they were made for other classes.
        """
        self.dataset.full_init()
        made_by = ('Pseudo masks are made by tools/refine_cams.py CONFIG '
                   '--cams CAM_FOLDER --out FOLDER or by tools/test.py '
                   'CONFIG CHECKPOINT --out FOLDER; set mask_dir to their '
                   'folder.')
        if not os.path.isdir(self.mask_dir):
            raise FileNotFoundError(
                f'There is no folder of pseudo masks {self.mask_dir}. '
                f'{made_by}')
        # One walk is far cheaper than a stat per file.
        root = Path(self.mask_dir)
        found = {p.relative_to(root).as_posix() for p in root.rglob('*.png')}
        ids = [
            self.dataset.get_data_info(i)['img_id'] for i in range(len(self))
        ]
        missing = [i for i in ids if f'{i}.png' not in found]
        if missing:
            raise FileNotFoundError(
                f'{len(missing)} of {len(ids)} images have no pseudo mask in '
                f'{self.mask_dir}: {_some(missing)}. {made_by}')
        check_stage_classes(self.mask_dir, self.metainfo['classes'])

    def __len__(self) -> int:
        return len(self.dataset)

    def get_data_info(self, idx: int) -> dict:
        """What is known of an image before the pipeline.

        Args:
            idx (int): Index.

        Returns:
            dict: That of the inner data set with ``seg_map_path``.
        """
        info = self.dataset.get_data_info(idx)
        info['seg_map_path'] = os.path.join(self.mask_dir,
                                            f'{info["img_id"]}.png')
        # Values of true masks say nothing about pseudo masks.
        info['label_map'] = None
        return info

    def get_cat_ids(self, idx: int) -> list[int]:
        """Classes of an image, for mmengine's ``ClassBalancedDataset``."""
        return self.dataset.get_cat_ids(idx)

    def _add_mask(self, info: dict) -> dict:
        """The pipeline's first step, with a look at the files' headers."""
        path = os.path.join(self.mask_dir, f'{info["img_id"]}.png')
        _check_headers(info['img_id'], info['img_path'], path)
        info['seg_map_path'] = path
        info['label_map'] = None
        return info

    def __getitem__(self, idx: int) -> dict:
        """One sample after the pipeline.

        Args:
            idx (int): Index; a :class:`mmwsss.datasets.samplers.Draw` seeds
                the augmentation.

        Returns:
            dict: What the pipeline gives.

        Raises:
            ValueError: If the mask is of another size than the image, or is
                no 8-bit image of class indices.
        """
        return self.dataset[idx]


def _check_headers(img_id: str, img_path: str, mask_path: str) -> None:
    """Compare sizes before anything is decoded: any loader may follow."""
    try:
        with open_picture(mask_path) as mask, open_picture(img_path) as image:
            if mask.mode not in ('P', 'L'):
                raise ValueError(
                    f'Image {img_id!r}: the pseudo mask {mask_path} has mode '
                    f'{mask.mode}; masks are 8-bit palette or grey images of '
                    'class indices, not colours.')
            if mask.size != image.size:
                raise ValueError(
                    f'Image {img_id!r} is {image.size[::-1]} (height, width) '
                    f'but its pseudo mask {mask_path} is {mask.size[::-1]}. '
                    'Masks have the size of the image file; make it anew.')
    # Missing, no image, cut off, or larger than Pillow believes.
    except OSError as error:
        raise ValueError(f'Image {img_id!r}: cannot read the image {img_path} '
                         f'or its pseudo mask {mask_path} ({error}).'
                         ) from error
