"""Tags (image-level labels) in the formats that people have.

:func:`read_tags` reads any of them; each format has a reader in a file of
its own, a :class:`TagReader`. :func:`write_image_labels` writes ours.
"""
from .images import (
                     IMAGE_SUFFIXES,
                     find_images,
                     find_unread,
                     image_id,
                     is_image,
                     missing_images,
                     nfc,
)
from .ours import write_image_labels
from .reading import FORMATS, READERS, find_format, read_tags
from .tag_file import TagFile, TagReader
from .voc_xml import voc_xml_tags

__all__ = [
    'FORMATS', 'IMAGE_SUFFIXES', 'READERS', 'TagFile', 'TagReader',
    'find_format', 'find_images', 'find_unread', 'image_id', 'is_image',
    'missing_images', 'nfc', 'read_tags', 'voc_xml_tags', 'write_image_labels'
]
