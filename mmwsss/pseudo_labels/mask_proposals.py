"""CAMs and labels that follow the outlines of mask proposals.

A segmenter that knows no classes, such as Segment Anything, proposes masks;
CAMs say what they show. The idea of SEPL (Chen et al. 2023,
https://arxiv.org/abs/2305.05803): every proposal belongs to the class that it
overlaps most, if enough of it is covered. The rule here is that idea in its
simplest form, not SEPL's selection.
"""

import numpy as np

#: Deciding "proposal" of pixels that no proposal covers.
FREE = -1
#: Likewise, of pixels that only proposals without class cover.
REJECTED = -2
UNASSIGNED = ('background', 'keep')


def assign_proposals(planes: np.ndarray, masks: np.ndarray,
                     threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Which class each proposal shows.

    The class whose plane has the largest mean in the proposal, if that mean
    is above the threshold; the first of equals. For labels, planes of 0 and
    1, the mean is the share of the proposal that a class covers.

    Args:
        planes (ndarray): Floats (k, H, W) in [0, 1]; k may be 0.
        masks (ndarray): bool (n, H, W); an empty one shows nothing.
        threshold (float): In [0, 1).

    Returns:
        tuple[ndarray, ndarray]: int64 (n,), index of the plane or -1; float64
        (n,), the largest mean.
    """
    best = np.full(len(masks), -1, np.int64)
    scores = np.zeros(len(masks))
    if not len(planes):
        return best, scores
    for i, mask in enumerate(masks):
        if not mask.any():
            continue
        means = planes[:, mask].mean(axis=1, dtype=np.float64)
        scores[i] = means.max()
        if scores[i] > threshold:
            best[i] = means.argmax()
    return best, scores


def deciding_proposals(masks: np.ndarray, assigned: np.ndarray) -> np.ndarray:
    """Which proposal decides each pixel: the smallest one with a class.

    Of equally large ones the later decides. Proposals without class decide
    nothing where a larger one has one, as a dog's plain back in the whole
    dog.

    Args:
        masks (ndarray): bool (n, H, W).
        assigned (ndarray): bool (n,), whether a proposal has a class.

    Returns:
        ndarray: int64 (H, W), index of the proposal, ``REJECTED`` or
        ``FREE``.
    """
    deciding = np.full(masks.shape[1:], FREE, np.int64)
    deciding[masks.any(axis=0)] = REJECTED
    areas = masks.sum(axis=(1, 2))
    # Stable, so that later ones come after earlier ones of their size.
    for i in np.argsort(-areas, kind='stable'):
        if assigned[i]:
            deciding[masks[i]] = i
    return deciding


def _decide(planes: np.ndarray, masks: np.ndarray, threshold: float,
            unassigned: str,
            min_area: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Per pixel: plane (-1 none), its score, and whether it is rejected."""
    if masks.shape[1:] != planes.shape[1:]:
        raise ValueError(f'The proposals are {masks.shape[1:]} (height, '
                         f'width), what they refine is {planes.shape[1:]}.')
    if unassigned not in UNASSIGNED:
        raise ValueError(
            f'unassigned is {unassigned!r}, not one of {UNASSIGNED}.')
    masks = masks[masks.sum(axis=(1, 2)) >= min_area]
    best, scores = assign_proposals(planes, masks, threshold)
    deciding = deciding_proposals(masks, best >= 0)
    # What is free or rejected reads the entry appended here.
    index = np.where(deciding < 0, len(masks), deciding)
    rejected = (deciding == REJECTED) & (unassigned == 'background')
    return np.append(best, -1)[index], np.append(scores, 0)[index], rejected


def refine_maps(cams: np.ndarray,
                masks: np.ndarray,
                threshold: float = 0.4,
                unassigned: str = 'background',
                min_area: int = 0) -> np.ndarray:
    """CAMs that are constant within proposals.

    A pixel in proposals with a class gets that of the smallest of them, at
    the mean of the class's map there, and nothing of others. A pixel in
    proposals without class only belongs to no class. A pixel in no proposal
    keeps its scores.

    Args:
        cams (ndarray): float32 (k, H, W) in [0, 1]; k may be 0.
        masks (ndarray): bool (n, H, W); n may be 0.
        threshold (float): See :func:`assign_proposals`. Defaults to 0.4.
        unassigned (str): Whether pixels in proposals without class become
            'background', or 'keep' their scores. Defaults to 'background'.
        min_area (int): Proposals of fewer pixels are not looked at.
            Defaults to 0.

    Returns:
        ndarray: float32 (k, H, W).

    Raises:
        ValueError: If the sizes differ, or ``unassigned`` is neither.
    """
    plane, score, rejected = _decide(cams, masks, threshold, unassigned,
                                     min_area)
    refined = np.where(rejected | (plane >= 0), 0, cams).astype(np.float32)
    rows, columns = np.nonzero(plane >= 0)
    refined[plane[rows, columns], rows, columns] = score[rows, columns]
    return refined


def refine_labels(labels: np.ndarray,
                  masks: np.ndarray,
                  threshold: float = 0.5,
                  unassigned: str = 'background',
                  min_area: int = 0,
                  ignore_index: int = 255) -> np.ndarray:
    """Labels that follow proposals.

    A pixel in proposals that a class covers gets the class of the smallest of
    them, a pixel in other proposals only is background, a pixel in no
    proposal keeps its label. Ignored pixels cover nothing.

    Args:
        labels (ndarray): uint8 (H, W): 0 background, c + 1 class c.
        masks (ndarray): bool (n, H, W); n may be 0.
        threshold (float): Share of a proposal that a class must exceed.
            Defaults to 0.5.
        unassigned (str): See :func:`refine_maps`, likewise with labels.
            Defaults to 'background'.
        min_area (int): See :func:`refine_maps`. Defaults to 0.
        ignore_index (int): Defaults to 255.

    Returns:
        ndarray: uint8 (H, W).

    Raises:
        ValueError: If the sizes differ, or ``unassigned`` is neither.
    """
    values = np.unique(labels)
    values = values[(values != 0) & (values != ignore_index)]
    planes = labels == values[:, None, None]
    plane, _, rejected = _decide(planes, masks, threshold, unassigned,
                                 min_area)
    kept = np.where(rejected, 0, labels)
    return np.where(plane >= 0, np.append(values, 0)[plane],
                    kept).astype(np.uint8)
