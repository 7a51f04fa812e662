"""What travels between the parts of a pipeline."""
from .cam_file import (CAMFile, cam_path, read_cam, read_manifest, write_cam,
                       write_manifest)
from .mask_file import mask_path, write_mask, write_mask_manifest
from .view_output import AttentionRequest, ViewOutput

__all__ = [
    'AttentionRequest', 'CAMFile', 'ViewOutput', 'cam_path', 'mask_path',
    'read_cam', 'read_manifest', 'write_cam', 'write_manifest',
    'write_mask', 'write_mask_manifest'
]
