"""Stage 2: from CAMs to pseudo masks, without a network.

File formats, dense CRF, PAMR and PAR, random walks, label rules, rules of
object discovery and the pool of processes;
:mod:`mmwsss.pseudo_labels.transforms` holds the steps of a
``refine_dataset`` pipeline.
"""
from .bilateral_solver import BilateralSolver, bilateral_solve
from .cam_file import (
                       CAMFile,
                       cam_path,
                       read_cam,
                       read_manifest,
                       write_cam,
                       write_manifest,
)
from .dense_crf import DenseCRF, DenseCRFRefiner
from .instance_file import (
                       InstanceFile,
                       instance_path,
                       read_instances,
                       write_instance_manifest,
                       write_instances,
)
from .instances import (
                       cluster_cells,
                       find_fragments,
                       instances_irn,
                       refine_centroids,
                       split_planes,
)
from .label_completion import LabelCompletion, complete_labels
from .mask_file import (
                       labels_from_mask,
                       mask_path,
                       write_mask,
                       write_mask_manifest,
)
from .mask_proposals import refine_labels, refine_maps
from .object_discovery import (
                       BackgroundDiscovery,
                       NormalizedCut,
                       PatchTokens,
                       cut_objects,
                       find_background,
)
from .pamr import PAMR
from .pixel_pairs import (
                       from_slices,
                       pair_labels,
                       pair_offsets,
                       pair_values,
                       path_affinity,
                       path_cells,
                       path_offsets,
                       scatter_pairs,
)
from .random_walk import (
                       edge_affinity,
                       random_walk,
                       walk_scores_irn,
                       walk_scores_psa,
)
from .refined_labels import RefinedLabels, refined_labels

__all__ = [
    'BackgroundDiscovery', 'BilateralSolver', 'CAMFile', 'DenseCRF',
    'DenseCRFRefiner', 'InstanceFile', 'LabelCompletion', 'NormalizedCut',
    'PAMR', 'PatchTokens', 'RefinedLabels', 'bilateral_solve', 'cam_path',
    'cluster_cells',
    'complete_labels', 'cut_objects', 'edge_affinity', 'find_background',
    'find_fragments', 'from_slices', 'instance_path', 'instances_irn',
    'labels_from_mask', 'mask_path', 'pair_labels', 'pair_offsets',
    'pair_values', 'path_affinity', 'path_cells', 'path_offsets',
    'random_walk', 'read_cam', 'read_instances', 'read_manifest',
    'refine_centroids', 'refine_labels', 'refine_maps', 'refined_labels',
    'scatter_pairs', 'split_planes', 'walk_scores_irn', 'walk_scores_psa',
    'write_cam', 'write_instance_manifest', 'write_instances',
    'write_manifest', 'write_mask', 'write_mask_manifest'
]
