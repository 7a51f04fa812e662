"""CAMs of an earlier stage, as input of the next."""
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from mmwsss.pseudo_labels.cam_file import CAMFile, cam_path, read_cam
from mmwsss.registry import TRANSFORMS
from mmwsss.utils.planes import resize_planes
from mmwsss.utils.stage_folder import stage_folder


def read_planes(folder: str | Path, results: dict[str, Any]) -> CAMFile:
    """The CAMs of a sample, checked against what is known about it.

    Args:
        folder (str | Path): Folder of CAM files.
        results (dict): With ``img_id``, and maybe ``ori_shape``,
            ``gt_label`` and ``num_classes``.

    Returns:
        CAMFile: Classes in ascending order. All-zero maps of classes the
        image is not tagged with, as some programs write them, are left out.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If the file is damaged, or made for an image of another
            size or with other tags.
    """
    img_id = results['img_id']
    size = results.get('ori_shape')
    path = cam_path(folder, img_id)
    if not path.is_file():
        raise FileNotFoundError(
            f'There are no CAMs of image {img_id} ({path}). Write '
            'them for all images of this split with: python tools/test.py '
            f'CONFIG CHECKPOINT --out {folder}')
    cams = read_cam(path, results.get('num_classes'),
                    None if size is None else tuple(int(s) for s in size[:2]))
    order = np.argsort(cams.class_ids)
    cams.class_ids, cams.cam = cams.class_ids[order], cams.cam[order]
    if 'gt_label' in results:
        tags = np.asarray(results['gt_label'], np.int64)
        keep = np.isin(cams.class_ids, tags) | cams.cam.any(axis=(1, 2))
        cams.class_ids, cams.cam = cams.class_ids[keep], cams.cam[keep]
        if not np.array_equal(cams.class_ids, np.unique(tags)):
            raise ValueError(
                f'Image {img_id}: the CAMs in {folder} are of classes '
                f'{cams.class_ids.tolist()}, but the image is tagged with '
                f'{np.unique(tags).tolist()}. They were made with other tags '
                'or for another data set; write them again with the label '
                'file of this config: python tools/test.py CONFIG CHECKPOINT '
                f'--out {folder}')
    return cams


@TRANSFORMS.register_module()
class LoadCAMs(BaseTransform):
    """Load the CAMs of an image; errors name ``img_id``.

    Adds ``cams`` float32 (k, H, W) in [0, 1] and ``class_ids`` int64 (k,) in
    ascending order; k is 0 for an image without class.

    They lie in the dataset's ``cam_dir``, a folder as ``tools/test.py --out``
    writes it. ``tools/refine_cams.py`` sets it with ``--cams``.

    Args:
        upsample (bool): Whether maps smaller than the image are brought to
            its size, bilinearly with ``align_corners=False``.
            Defaults to True.
    """

    def __init__(self, upsample: bool = True) -> None:
        self.upsample = upsample

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Load the CAMs of one image.

        Args:
            results (dict): With ``img_id`` and ``cam_dir``; ``ori_shape``,
                ``gt_label`` and ``num_classes`` are compared where present.

        Returns:
            dict: With ``cams`` and ``class_ids``.

        Raises:
            FileNotFoundError: If there is no file for the image.
            ValueError: If the dataset names no folder, the file is damaged or
                does not fit the image.
        """
        cams = read_planes(stage_folder(results, 'cam_dir', self), results)
        results['class_ids'] = cams.class_ids
        results['cams'] = cams.cam
        if self.upsample:
            results['cams'] = resize_planes(cams.cam, cams.image_size)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(upsample={self.upsample})'
