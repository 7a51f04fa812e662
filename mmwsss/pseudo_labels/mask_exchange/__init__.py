"""Masks as annotation tools know them, there and back."""
from .coco import read_coco, write_coco
from .cvat import read_cvat, write_cvat
from .label_studio import read_label_studio, write_label_studio
from .labelme import read_labelme, write_labelme
from .regions import AnnotatedImage, Region, label_values, paint

#: Format -> reader ``path -> Iterator[AnnotatedImage]``.
MASK_READERS = dict(
    coco=read_coco,
    labelme=read_labelme,
    cvat=read_cvat,
    label_studio=read_label_studio)

__all__ = [
    'MASK_READERS', 'AnnotatedImage', 'Region', 'label_values', 'paint',
    'read_coco', 'read_cvat', 'read_label_studio', 'read_labelme',
    'write_coco', 'write_cvat', 'write_label_studio', 'write_labelme'
]
