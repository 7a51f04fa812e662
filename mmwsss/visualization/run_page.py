"""The page of a run: CAMs and masks, to be judged in a browser."""
import base64
import hashlib
import html
import io
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from mmwsss.utils.io import atomic_write

from .overlay import COLORMAPS, IGNORE_COLOR, shrink

#: Added to the level of the class that has the highest map at a pixel.
WINNER = 128
#: Class ids (K',) and maps (K', h, w), or a mask (h, w).
Stage = np.ndarray | tuple[Sequence[int], np.ndarray]


def threshold_steps(threshold: float | None = None) -> np.ndarray:
    """The thresholds that a page offers.

    Args:
        threshold (float, optional): One that must be among them.

    Returns:
        ndarray: float32 (n,), ascending: 0, 0.01, .., 1, and ``threshold``.
    """
    steps = np.arange(101) / 100
    if threshold is not None:
        steps = np.union1d(steps, threshold)
    # Maps are compared in float32, by torch and in ThresholdMask.
    return np.unique(steps.astype(np.float32))


def map_levels(cams: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """CAMs in 8 bits from which every mask follows exactly.

    A level says how many of the thresholds a score exceeds, so ``score >
    steps[k]`` is ``level > k``, ties included. Of the classes, the first one
    with the highest score is marked before anything is rounded.

    Args:
        cams (ndarray): Floats (K', h, w); what is no number counts as 0.
        steps (ndarray): Ascending thresholds (n,), at most 127.

    Returns:
        ndarray: uint8 (K', h, w), the level plus :data:`WINNER` where the
        class is the highest.

    Raises:
        ValueError: If there are more than 127 thresholds.
    """
    if len(steps) >= WINNER:
        raise ValueError(f'{len(steps)} thresholds do not fit into 7 bits.')
    cams = np.nan_to_num(np.asarray(cams, dtype=np.float32))
    levels = np.searchsorted(steps, cams, side='left').astype(np.uint8)
    if len(cams):
        best = cams.argmax(axis=0)
        levels += np.uint8(WINNER) * (
            best == np.arange(len(cams))[:, None, None])
    return levels


def levels_to_mask(levels: np.ndarray, class_ids: Sequence[int],
                   step: int) -> np.ndarray:
    """The mask of a threshold, as the page makes it.

    Args:
        levels (ndarray): uint8 (K', h, w) of :func:`map_levels`.
        class_ids (Sequence[int]): (K',).
        step (int): Index of the threshold.

    Returns:
        ndarray: uint8 (h, w), 0 is background, c + 1 class c.
    """
    mask = np.zeros(levels.shape[1:], np.uint8)
    for level, c in zip(levels, class_ids):
        mask[level > WINNER + step] = c + 1
    return mask


def picked_pixels(size: Sequence[int],
                  longest: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns that a small copy takes from a map or mask.

    Whole pixels: means of maps would give masks that nobody gets.

    Args:
        size (Sequence[int]): Height and width.
        longest (int): Longer side of the copy; smaller ones stay.

    Returns:
        tuple[ndarray, ndarray]: Indices, to be used with ``np.ix_``.
    """
    factor = min(longest / max(size), 1)
    rows, columns = (
        ((np.arange(n) + 0.5) * side / n).astype(int)
        for side, n in ((s, max(round(s * factor), 1)) for s in size))
    return rows, columns


def small_stage(stage: Stage, steps: np.ndarray, longest: int) -> Stage:
    """What a page needs of a stage, in little memory.

    Args:
        stage (ndarray | tuple): See :meth:`RunPage.add`.
        steps (ndarray): Thresholds (n,) of the page.
        longest (int): Longer side in pixels.

    Returns:
        ndarray | tuple: The same of fewer pixels; maps as levels uint8
        (K', h, w), see :func:`map_levels`.
    """
    plane = stage[1] if isinstance(stage, tuple) else stage
    pixels = np.ix_(*picked_pixels(plane.shape[-2:], longest))
    if not isinstance(stage, tuple):
        return plane[pixels]
    if plane.dtype == np.uint8:
        return stage
    small = [cam[pixels] for cam in plane]
    return stage[0], map_levels(np.stack(small), steps) if small else \
        np.zeros((0, *plane.shape[1:]), np.uint8)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode('ascii')


def _png(plane: np.ndarray) -> str:
    """A plane uint8 (h, w) as PNG."""
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(plane)).save(
        stream, 'PNG', compress_level=9)
    return _base64(stream.getvalue())


@cache
def _template() -> str:
    path = Path(__file__).with_name('run_page.html')
    return path.read_text(encoding='utf-8')


class RunPage:
    """One HTML file on which a person chooses a background threshold.

    It holds everything, opens from disk and needs no network. CAMs are
    thresholded in the browser like :class:`~mmwsss.datasets.ThresholdMask`
    and ``CAMSegmentor`` do: of the pixels that are shown, each has the label
    that it would get in the mask of the image.

    Args:
        folder (str | Path): Where ``index.html`` goes.
        classes (Sequence[str]): K + 1 names, background first.
        palette (Sequence[Sequence[int]]): RGB colours, K + 1.
        title (str): Defaults to 'CAMs'.
        threshold (float, optional): Where the page starts, what the run is
            configured with. None starts at 0.3. Defaults to None.
        settings (str): What a choice changes, as Python of a config; the
            page puts its number in the place of ``{threshold}``. Empty names
            the threshold alone. Defaults to ''.
        longest (int): Longer side of the pictures in pixels.
            Defaults to 320.
    """

    def __init__(self,
                 folder: str | Path,
                 classes: Sequence[str],
                 palette: Sequence[Sequence[int]],
                 title: str = 'CAMs',
                 threshold: float | None = None,
                 settings: str = '',
                 longest: int = 320) -> None:
        self.folder = Path(folder)
        self.classes = list(classes)
        self.palette = [[int(v) for v in color] for color in palette]
        self.title = title
        self.settings = settings
        self.longest = longest
        self.steps = threshold_steps(threshold)
        start = 0.3 if threshold is None else threshold
        self.start = int(np.abs(self.steps - np.float32(start)).argmin())
        self.rows: list[dict[str, Any]] = []
        self._names: set = set()

    def add(self,
            img_id: str,
            image: np.ndarray,
            stages: Mapping[str, Stage],
            gt: np.ndarray | None = None,
            scores: Mapping[str, float] | None = None,
            group: str = '') -> None:
        """Add an image.

        Args:
            img_id (str): Its name.
            image (ndarray): BGR uint8 (h, w, 3); maps and masks may have
                another size.
            stages (Mapping[str, ndarray | tuple]): Name of a stage to its
                class ids (K',) and maps (K', h', w') in [0, 1], or to its
                mask of integers (h', w'), 255 ignored. At best of the same
                names for all images of a group. Maps that
                :func:`small_stage` made are levels already.
            gt (ndarray, optional): True mask (h', w').
            scores (Mapping[str, float], optional): Class to probability that
                it is there, of the classes that the maps or masks are about.
            group (str): What it belongs to, e.g. 'train'; the page shows one
                group at a time. Defaults to ''.

        Raises:
            ValueError: If a class has no name, or an image comes twice.
        """
        if (group, img_id) in self._names:
            raise ValueError(f'Image {img_id} is on the page already.')
        self._names.add((group, img_id))
        photo = shrink(image, self.longest)
        done, data = cv2.imencode('.jpg', photo,
                                  [cv2.IMWRITE_JPEG_QUALITY, 80])
        if not done:
            raise ValueError(f'Image {img_id}, {photo.shape}, cannot be '
                             'written as JPEG.')
        height, width = photo.shape[:2]
        seen = self._classes(stages, gt)
        self.rows.append(
            dict(
                id=img_id,
                group=group,
                width=width,
                height=height,
                classes=seen,
                photo=_base64(data.tobytes()),
                gt=None if gt is None else self._mask(gt, img_id),
                stages={
                    name: self._stage(stage, img_id)
                    for name, stage in stages.items()
                },
                scores={
                    name: round(float(p), 4)
                    for name, p in (scores or {}).items()
                }))

    @staticmethod
    def _classes(stages: Mapping[str, Stage],
                 gt: np.ndarray | None) -> list[int]:
        """What an image has, by anybody's account."""
        found: set = set()
        for stage in (*stages.values(), *([] if gt is None else [gt])):
            if isinstance(stage, tuple):
                found.update(int(c) for c in stage[0])
            else:
                found.update(
                    int(v) - 1 for v in np.unique(stage) if v not in (0, 255))
        return sorted(found)

    def _stage(self, stage: Stage, img_id: str) -> dict[str, Any]:
        if not isinstance(stage, tuple):
            return dict(mask=self._mask(stage, img_id))
        class_ids = [int(c) for c in stage[0]]
        self._check(class_ids, img_id, 'map')
        if not class_ids:
            return dict(classes=[], maps='')
        levels = small_stage(stage, self.steps, self.longest)[1]
        # All in one picture, below each other.
        return dict(
            classes=class_ids, maps=_png(levels.reshape(-1, levels.shape[2])))

    def _mask(self, mask: np.ndarray, img_id: str) -> str:
        small = small_stage(mask, self.steps, self.longest)
        labels = np.unique(small)
        self._check([int(v) - 1 for v in labels if v not in (0, 255)],
                    img_id, 'mask')
        return _png(small.astype(np.uint8))

    def _check(self, class_ids: Sequence[int], img_id: str,
               what: str) -> None:
        for c in class_ids:
            if not 0 <= c < len(self.classes) - 1:
                raise ValueError(
                    f'Image {img_id} has a {what} of class {c}; there are '
                    f'{len(self.classes) - 1} classes.')

    def write(self,
              metrics: Mapping[str, Any] | None = None,
              plots: Mapping[str, str | Path] | None = None,
              note: str = '') -> Path:
        """Write the page, whole or not at all.

        Args:
            metrics (Mapping, optional): Numbers for a table.
            plots (Mapping[str, str | Path], optional): PNG files, by what
                they show, for readers who cannot see it.
            note (str): A sentence below the title.

        Returns:
            Path: ``index.html``.
        """
        colormap = cv2.applyColorMap(
            np.round(255 * np.r_[0, self.steps]).astype(np.uint8)[:, None],
            COLORMAPS['turbo']).reshape(-1, 3)[:, ::-1]
        data = json.dumps(
            dict(
                title=self.title,
                classes=self.classes,
                palette=self.palette,
                ignored=IGNORE_COLOR[::-1],
                colormap=colormap.tolist(),
                # Read as float32 they are what they were.
                steps=[float(str(t)) for t in self.steps],
                start=self.start,
                settings=self.settings,
                rows=self.rows),
            separators=(',', ':'))
        facts = {
            # Marks belong to these pictures and to no others.
            'KEY': hashlib.sha256(data.encode()).hexdigest()[:16],
            'TITLE': html.escape(self.title),
            'NOTE': html.escape(note),
            'FACTS': _facts(metrics or {}, plots or {}),
            # "</script>" in a name must not end the data.
            'DATA': data.replace('<', '\\u003c'),
        }
        text = re.sub(r'\[\[([A-Z]+)\]\]', lambda found: facts[found[1]],
                      _template())
        path = self.folder / 'index.html'
        with atomic_write(path) as temp:
            temp.write_text(text, encoding='utf-8')
        return path


def _facts(metrics: Mapping[str, Any],
           plots: Mapping[str, str | Path]) -> str:
    """Table and plots as HTML."""
    lines = ''.join(
        f'<tr><th scope="row">{html.escape(str(k))}</th><td>'
        f'{html.escape(f"{v:.2f}" if isinstance(v, float) else str(v))}'
        '</td></tr>' for k, v in metrics.items())
    table = f'<table>{lines}</table>' if lines else ''
    return table + ''.join(
        f'<img src="data:image/png;base64,{_base64(Path(path).read_bytes())}"'
        f' alt="{html.escape(title)}">' for title, path in plots.items())
