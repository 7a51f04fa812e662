"""The folder that an inferencer writes to."""
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmwsss.pseudo_labels.cam_file import (
    cam_path,
    read_cam,
    write_cam,
    write_manifest,
)
from mmwsss.pseudo_labels.mask_file import (
    mask_path,
    write_mask,
    write_mask_manifest,
)
from mmwsss.utils.io import atomic_write
from mmwsss.utils.read_images import read_image, read_mask
from mmwsss.utils.shards import Shard
from mmwsss.version import __version__
from mmwsss.visualization import RunPage

from .image_sources import Source

#: Images of the page.
NUM_SHOWN = 300


class Output:
    """The folder that results are written to.

    ``cams/{img_id}.npz``, ``masks/{img_id}.png`` and
    ``overlays/{img_id}.jpg``, each whole or not at all, and a manifest in
    the first two when all are there. Of the first images, ``index.html``
    shows the CAMs, or else the masks, in a browser.

    Args:
        folder (str | Path): The folder.
        with_cams (bool): Whether the model makes CAMs.
        classes (Sequence[str]): Names of all labels, background first.
        palette (Sequence): RGB per label.
        with_probs (bool): Whether probabilities are written as well,
            ``probs/{img_id}.npz`` with ``probs`` float16 (K + 1, h, w).
            Defaults to False.
    """

    def __init__(self,
                 folder: str | Path,
                 with_cams: bool,
                 classes: Sequence[str],
                 palette: Sequence[Sequence[int]],
                 with_probs: bool = False) -> None:
        self.folder = Path(folder)
        self.cams = self.folder / 'cams' if with_cams else None
        self.masks = self.folder / 'masks'
        self.overlays = self.folder / 'overlays'
        self.probs = self.folder / 'probs' if with_probs else None
        self.classes = list(classes)
        self.palette = palette
        self.page: RunPage | None = None
        self.num_seen = 0

    def begin_page(self, title: str, threshold: float | None,
                   settings: str) -> None:
        """Begin the page of the images that :meth:`show` is given.

        Args:
            title (str): Its headline.
            threshold (float, optional): Of the masks.
            settings (str): See :class:`~mmwsss.visualization.RunPage`.
        """
        self.num_seen = 0
        self.page = RunPage(self.folder, self.classes, self.palette, title,
                            threshold, settings)

    def show(self, prediction: dict[str, Any],
             class_ids: np.ndarray | None, image: np.ndarray) -> None:
        """Put an image on the page, unless there are enough.

        Args:
            prediction (dict): With ``img_id``, ``mask``, ``cams`` and
                ``scores``.
            class_ids (ndarray, optional): (k,), of the CAMs.
            image (ndarray): BGR uint8 (h, w, 3).
        """
        self.num_seen += 1
        if self.num_seen > NUM_SHOWN:
            return
        cams, scores = prediction['cams'], prediction['scores'] or {}
        stages: dict[str, Any] = {}
        if cams is not None:
            stages['CAM'] = (class_ids, cams)
        if cams is None or not self.page.settings:
            # Else the mask is what the maps give at the threshold.
            stages['predicted mask'] = prediction['mask']
        self.page.add(
            prediction['img_id'], image, stages,
            scores={
                name: scores[name]
                for name in prediction['tags'] if name in scores
            })

    def paths(self, img_id: str) -> list[Path]:
        """Files of an image.

        Args:
            img_id (str): Its name.

        Returns:
            list[Path]: CAMs and probabilities where they are written,
            mask and picture.
        """
        arrays = [
            cam_path(folder, img_id) for folder in (self.cams, self.probs)
            if folder is not None
        ]
        mask = mask_path(self.masks, img_id)
        return [*arrays, mask, self.overlays / f'{img_id}.jpg']

    def is_done(self, img_id: str, label: np.ndarray | None) -> bool:
        """Whether an image needs no work.

        Args:
            img_id (str): Its name.
            label (ndarray, optional): Its tags if they are given.

        Returns:
            bool: True if its files are there, made for these tags.
        """
        if not all(path.is_file() for path in self.paths(img_id)):
            return False
        if label is None or self.cams is None:
            return True
        stored = read_cam(cam_path(self.cams, img_id)).class_ids
        return sorted(stored.tolist()) == sorted(label.tolist())

    def write(self, prediction: dict[str, Any], class_ids: np.ndarray,
              picture: np.ndarray) -> None:
        """Write the files of an image.

        Args:
            prediction (dict): With ``img_id``, ``mask`` and ``cams``.
            class_ids (ndarray): (k,), of the CAMs.
            picture (ndarray): BGR uint8.
        """
        img_id, mask = prediction['img_id'], prediction['mask']
        if self.cams is not None:
            write_cam(self.cams, img_id, class_ids, prediction['cams'],
                      mask.shape)
        if self.probs is not None:
            with atomic_write(cam_path(self.probs, img_id)) as temp:
                np.savez_compressed(
                    temp, probs=prediction['probs'].astype(np.float16))
        write_mask(self.masks, img_id, mask, self.palette)
        done, data = cv2.imencode('.jpg', picture,
                                  [cv2.IMWRITE_JPEG_QUALITY, 92])
        if not done:
            raise ValueError(f'The picture of image {img_id}, '
                             f'{picture.shape}, cannot be written as JPEG.')
        with atomic_write(self.paths(img_id)[-1]) as temp:
            temp.write_bytes(data.tobytes())

    def show_done(self,
                  source: Source,
                  window: Sequence[float] | None = None) -> None:
        """Put an image on the page that an earlier call has done.

        Args:
            source (Source): The image; left out if it can no more be read.
            window (Sequence[float], optional): Values that become black and
                white in images of more than 8 bits.
        """
        if self.num_seen >= NUM_SHOWN:
            self.num_seen += 1
            return
        try:
            image = source.read() if source.read is not None else \
                read_image(source.path, source.img_id, window)
        except (OSError, ValueError):
            return
        class_ids = None
        if self.cams is not None:
            class_ids = read_cam(cam_path(self.cams, source.img_id)).class_ids
        self.show(self.read(source, True, False), class_ids, image)

    def read(self,
             source: Source,
             with_cams: bool,
             with_picture: bool,
             with_probs: bool = False) -> dict[str, Any]:
        """What the files of an image hold.

        Args:
            source (Source): The image.
            with_cams (bool): Whether its CAMs are wanted.
            with_picture (bool): Whether its picture is wanted.
            with_probs (bool): Whether its probabilities are wanted.
                Defaults to False.

        Returns:
            dict: Like a prediction, but ``scores`` is None, which no file
            holds, and ``cams`` and ``probs`` are rounded to float16.
        """
        img_id = source.img_id
        mask = read_mask(mask_path(self.masks, img_id), img_id)
        cams, names = None, names_in_mask(mask, self.classes)
        if self.cams is not None:
            file = read_cam(cam_path(self.cams, img_id))
            names = [self.classes[c + 1] for c in file.class_ids]
            cams = file.cam if with_cams else None
        probs = None
        if with_probs and self.probs is not None:
            with np.load(cam_path(self.probs, img_id)) as arrays:
                probs = arrays['probs'].astype(np.float32)
        picture = None
        if with_picture:
            picture = read_image(self.paths(img_id)[-1], img_id)
        return dict(
            img_id=img_id,
            img_path=source.path,
            tags=names,
            scores=None,
            cams=cams,
            mask=mask,
            probs=probs,
            picture=picture)

    def _note(self, shard: Shard) -> Path:
        return self.folder / f'.skipped-{shard.index}-of-{shard.count}.json'

    def forget_skipped(self, shard: Shard) -> None:
        """A shard begins; a run of all images forgets what shards noted.

        Args:
            shard (Shard): Which images are done.
        """
        for note in ([self._note(shard)] if shard.count > 1 else
                     list(self.folder.glob('.skipped-*.json'))):
            note.unlink(missing_ok=True)

    def note_skipped(self, shard: Shard, broken: Sequence[str]) -> list[str]:
        """Note images without results; other shards must not wait for them.

        Args:
            shard (Shard): Which images were done.
            broken (Sequence[str]): Those that cannot be read.

        Returns:
            list[str]: Those of all shards so far.
        """
        if shard.count == 1:
            return list(broken)
        with atomic_write(self._note(shard)) as temp:
            temp.write_text(json.dumps(list(broken)))
        notes = self.folder.glob(f'.skipped-*-of-{shard.count}.json')
        found = {
            img_id
            for note in notes for img_id in json.loads(note.read_text())
        }
        # Some may have been mended since.
        return sorted(i for i in found if not all(
            path.is_file() for path in self.paths(i)))

    def write_manifests(self, **facts: Any) -> None:
        """The folder is complete; write its page.

        Args:
            **facts: How the files came about.
        """
        facts = dict(
            mmwsss_version=__version__, classes=self.classes, **facts)
        if self.cams is not None:
            present = sum(1 for _ in self.cams.rglob('[!.]*.npz'))
            write_manifest(self.cams, num_images=present, **facts)
        present = sum(1 for _ in self.masks.rglob('[!.]*.png'))
        write_mask_manifest(self.masks, num_images=present, **facts)
        if self.page is not None:
            more = self.num_seen > NUM_SHOWN
            self.page.write(note=f'The first {NUM_SHOWN} of {self.num_seen} '
                            'images.' if more else '')


def names_in_mask(mask: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Classes that a mask shows.

    Args:
        mask (ndarray): Integers (h, w); 255 is ignored.
        classes (Sequence[str]): Name of each label.

    Returns:
        list[str]: Without ``'background'``.
    """
    names = [classes[v] for v in np.unique(mask) if v != 255]
    return [name for name in names if name != 'background']
