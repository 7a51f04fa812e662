"""Mask proposals without a network: the work of tools/make_proposals.py."""
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from mmwsss.datasets.tags import find_images
from mmwsss.pseudo_labels.proposal_file import proposal_paths, write_proposals
from mmwsss.utils.progress import Progress
from mmwsss.utils.read_images import read_image
from mmwsss.utils.run_folder import RunFolder

PathLike = str | Path
#: Colour distances that are joined, once for each, in grey levels.
DISTANCES = (12., 24., 40.)
#: Pixels of the smallest region.
MIN_AREA = 30


def even_regions(image: np.ndarray, tolerance: float) -> np.ndarray:
    """Number the connected regions in which neighbours have like colours.

    Args:
        image (ndarray): uint8 (H, W, 3).
        tolerance (float): Largest difference of neighbours in any channel.

    Returns:
        ndarray: int32 (H, W), from 0 on.
    """
    height, width = image.shape[:2]
    pixels = np.arange(height * width).reshape(height, width)
    values = image.astype(np.int16)
    ends = []
    for one, other in ((np.s_[:, :-1], np.s_[:, 1:]),
                       (np.s_[:-1], np.s_[1:])):
        like = np.abs(values[one] - values[other]).max(axis=2) <= tolerance
        ends.append((pixels[one][like], pixels[other][like]))
    rows, columns = (np.concatenate(e) for e in zip(*ends))
    graph = coo_matrix((np.ones(len(rows), bool), (rows, columns)),
                       shape=(pixels.size, pixels.size))
    return connected_components(graph, directed=False)[1].reshape(
        height, width)


def colour_proposals(image: np.ndarray,
                     distances: Sequence[float] = (12, 24, 40),
                     radius: float = 8,
                     tolerance: float = 2,
                     min_area: int = 30) -> np.ndarray:
    """Regions of even colour, at several degrees of smoothing.

    Mean shift (Comaniciu and Meer 2002, OpenCV's) evens the colours out; what
    is then connected and alike is a proposal. It knows edges of colour, not
    objects: no substitute for a segmenter that was trained on masks.

    Args:
        image (ndarray): uint8 (H, W, 3).
        distances (Sequence[float]): Colours that mean shift joins, once for
            each. Defaults to (12, 24, 40).
        radius (float): Of mean shift's window in pixels. Defaults to 8.
        tolerance (float): See :func:`even_regions`. Defaults to 2.
        min_area (int): Smaller regions are left out. Defaults to 30.

    Returns:
        ndarray: bool (n, H, W), none twice.
    """
    found = {}
    for distance in distances:
        smooth = cv2.pyrMeanShiftFiltering(image, radius, distance)
        regions = even_regions(smooth, tolerance)
        counts = np.bincount(regions.ravel())
        for number in np.flatnonzero(counts >= min_area):
            mask = regions == number
            found.setdefault(np.packbits(mask).tobytes(), mask)
    return np.array(list(found.values()), bool).reshape(-1, *image.shape[:2])


def make_proposals(images: PathLike,
                   out: PathLike,
                   *,
                   distances: Sequence[float] = DISTANCES,
                   min_area: int = MIN_AREA) -> list[int]:
    """Write the proposals of all images of a folder; skips what is done.

    Args:
        images (str | Path): The folder.
        out (str | Path): Folder for the proposals.
        distances (Sequence[float]): See :func:`colour_proposals`.
        min_area (int): See :func:`colour_proposals`.

    Returns:
        list[int]: Number of proposals of each image that was done.

    Raises:
        FileNotFoundError: If there are no images.
        ValueError: If an image is corrupt, or two differ in their endings
            only, so that both would be written to one file.
    """
    found = find_images(images)
    if not found:
        raise FileNotFoundError(f'There are no images in {images}.')
    run = RunFolder(
        Path(out), {i: proposal_paths(out, i)[:1] for i in found},
        dict(distances=list(distances), min_area=min_area))
    counts = []
    with run.claimed() as todo, Progress(len(todo)) as progress:
        for img_id in todo:
            masks = colour_proposals(
                read_image(Path(images, found[img_id]), img_id),
                distances,
                min_area=min_area)
            write_proposals(out, img_id, masks)
            counts.append(len(masks))
            progress.step(img_id)
    return counts
