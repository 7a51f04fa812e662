"""Images that a person names: files, folders, videos, arrays."""
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from mmengine.logging import print_log

from mmwsss.datasets.tags import find_unread
from mmwsss.utils.image_formats import IMAGE_SUFFIXES, unread_kinds

#: What is taken for a video.
VIDEO_SUFFIXES = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg',
                  '.mpeg')

ImageLike = str | Path | np.ndarray


@dataclass
class Source:
    """An image that somebody wants to know something about.

    Attributes:
        img_id (str): Its name, and that of its files.
        path (str, optional): Its file; None for arrays and frames.
        read (Callable, optional): Gives BGR uint8 (h, w, 3) where there is
            no file.
    """
    img_id: str
    path: str | None = None
    read: Callable[[], np.ndarray] | None = None


class Video:
    """Frames of a video file, fastest when asked for in order.

    Args:
        path (str | Path): The file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self.capture: cv2.VideoCapture | None = None
        self.position = 0

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(self.path)
        if not capture.isOpened():
            raise ValueError(f'{self.path} is no video that OpenCV can read; '
                             'convert it, e.g. to .mp4, or to images.')
        return capture

    def __len__(self) -> int:
        # Headers are often wrong about it.
        capture, count = self._open(), 0
        while capture.grab():
            count += 1
        capture.release()
        return count

    def read(self, index: int) -> np.ndarray:
        """One frame.

        Args:
            index (int): Its number, from 0.

        Returns:
            ndarray: BGR uint8 (h, w, 3).

        Raises:
            ValueError: If it cannot be decoded.
        """
        if self.capture is None or index < self.position:
            self.capture, self.position = self._open(), 0
        while self.position < index and self.capture.grab():
            self.position += 1
        found, frame = self.capture.read()
        self.position += 1
        if not found:
            raise ValueError(f'{self.path}: frame {index} is damaged.')
        return frame


def find_images(inputs: ImageLike | Sequence[ImageLike],
                frame_step: int = 1) -> list[Source]:
    """All images that a person names.

    Args:
        inputs: An image file, a folder (with all folders in it), a video
            file, an array BGR uint8 (h, w, 3), or a list of these.
        frame_step (int): Take every n-th frame of videos. Defaults to 1.

    Returns:
        list[Source]: Files are named by their stem, with the folders below
        the one given (``a/b``); frames ``VIDEO/000012``; arrays by their
        number in the list.

    Raises:
        FileNotFoundError: If a file or folder is missing.
        ValueError: If there is no image, an array is no image or a video
            cannot be read.
    """
    if isinstance(inputs, (str, Path, np.ndarray)):
        inputs = [inputs]
    sources: list[Source] = []
    for entry in inputs:
        if isinstance(entry, np.ndarray):
            img_id = f'{len(sources):06d}'
            _check_array(entry, img_id)
            sources.append(
                Source(img_id, read=partial(np.ascontiguousarray, entry)))
            continue
        path = Path(entry).expanduser()
        if path.is_dir():
            found = sorted(
                p for p in path.rglob('*')
                if p.suffix.lower() in IMAGE_SUFFIXES
                and not p.name.startswith('.'))
            unread = unread_kinds(find_unread(path).values())
            if not found:
                raise ValueError(f'{path} holds no images (files ending in '
                                 f'{", ".join(IMAGE_SUFFIXES)}).' +
                                 (f' There are {unread}.' if unread else ''))
            if unread:
                print_log(
                    f'{path}: pictures that are not read are left out: '
                    f'{unread}.',
                    logger='current',
                    level=logging.WARNING)
            for file in found:
                name = file.relative_to(path).with_suffix('').as_posix()
                sources.append(Source(name, str(file)))
        elif not path.is_file():
            raise FileNotFoundError(f'There is no image, video or folder '
                                    f'{path}.')
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            video = Video(path)
            for index in range(0, len(video), frame_step):
                sources.append(
                    Source(f'{path.stem}/{index:06d}',
                           read=partial(video.read, index)))
        else:
            sources.append(Source(path.stem, str(path)))
    if not sources:
        raise ValueError('There are no images to look at.')
    return sources


def _check_array(image: np.ndarray, img_id: str) -> None:
    if (image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8
            or not image.size):
        raise ValueError(
            f'Image {img_id} is {image.dtype} {image.shape}; arrays must be '
            'uint8 (height, width, 3) in the order BGR, as cv2.imread gives '
            'them.')


def refuse_double_names(sources: Sequence[Source]) -> None:
    """Make sure that every image gets files of its own.

    Args:
        sources (Sequence[Source]): The images.

    Raises:
        ValueError: If two would be written to one file; names them.
    """
    for img_id, count in Counter(s.img_id for s in sources).items():
        if count > 1:
            paths = [s.path for s in sources if s.img_id == img_id]
            raise ValueError(
                f'{count} images have the name {img_id!r}: '
                f'{", ".join(map(str, paths[:3]))}. Their files would '
                'overwrite each other; write them to different folders.')
