from . import transforms
from .coco import COCOImageLevelDataset
from .image_labels import (
                           labels_from_voc_xml,
                           read_image_labels,
                           write_image_labels,
)
from .image_level import ImageLevelDataset
from .pseudo_mask import PseudoMaskDataset
from .samplers import InfiniteSeededSampler, SeededSampler
from .shapes import ShapesDataset, generate_shapes
from .tags import TagFile, read_tags
from .voc import VOCImageLevelDataset

__all__ = [
    'COCOImageLevelDataset', 'ImageLevelDataset', 'InfiniteSeededSampler',
    'PseudoMaskDataset', 'SeededSampler', 'ShapesDataset', 'TagFile',
    'VOCImageLevelDataset', 'generate_shapes', 'labels_from_voc_xml',
    'read_image_labels', 'read_tags',
    'transforms', 'write_image_labels'
]
