"""What travels between the parts of a pipeline."""
from .cam_file import (CAMFile, cam_path, read_cam, read_manifest, write_cam,
                       write_manifest)
from .instance_file import (InstanceFile, instance_path, read_instances,
                            write_instance_manifest, write_instances)
from .mask_file import mask_path, write_mask, write_mask_manifest
from .view_output import AttentionRequest, ViewOutput, ViewPair

__all__ = [
    'AttentionRequest', 'CAMFile', 'InstanceFile', 'ViewOutput', 'ViewPair',
    'cam_path', 'instance_path', 'mask_path', 'read_cam',
    'read_instances', 'read_manifest', 'write_cam',
    'write_instance_manifest', 'write_instances', 'write_manifest',
    'write_mask', 'write_mask_manifest'
]
