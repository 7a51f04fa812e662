"""Pipeline steps that write what earlier steps made.

Every writer has ``paths(img_id)``, the files it writes for an image, so that
``tools/refine_cams.py`` knows what is done already.
"""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from mmwsss.pseudo_labels.cam_file import cam_path, write_cam, write_manifest
from mmwsss.pseudo_labels.mask_file import (
    mask_path,
    write_mask,
    write_mask_manifest,
)
from mmwsss.registry import TRANSFORMS


class Writer(BaseTransform):
    """Base of transforms that write a file or more per image.

    Args:
        out_dir (str): Folder; ``tools/refine_cams.py`` reads it relative to
            its ``--out``. Defaults to '.'.
    """

    def __init__(self, out_dir: str = '.') -> None:
        self.out_dir = out_dir

    def folders(self) -> list[Path]:
        """The folders of files, each of which gets a manifest.

        Returns:
            list[Path]: The folders.
        """
        return [Path(self.out_dir)]

    def paths(self, img_id: str) -> list[Path]:
        """The files of an image.

        Args:
            img_id (str): Name of the image.

        Returns:
            list[Path]: One path per folder.
        """
        return [cam_path(folder, img_id) for folder in self.folders()]

    def finish(self, **facts: Any) -> None:
        """Write the manifests, when the folders are complete.

        Args:
            **facts: What JSON can hold.
        """
        for folder in self.folders():
            write_manifest(folder, **facts)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Write the files of one image.

        Args:
            results (dict): The sample.

        Returns:
            dict: The sample, unchanged.

        Raises:
            KeyError: If no earlier step made what is to be written.
        """
        if self.KEY not in results:
            raise KeyError(
                f'Image {results.get("img_id", "?")}: there is no '
                f'{self.KEY!r} that {type(self).__name__} could write. '
                f'{self.HINT}')
        self.write(results)
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(out_dir={str(self.out_dir)!r})'


def _size(results: dict[str, Any], fallback: Sequence[int]) -> tuple:
    return tuple(int(s) for s in results.get('ori_shape', fallback)[:2])


@TRANSFORMS.register_module()
class SaveCAMs(Writer):
    """Write ``cams`` as ``{out_dir}/{img_id}.npz`` (CAM files).

    Args:
        out_dir (str): The folder. Defaults to '.'.
    """
    KEY = 'cams'
    HINT = "Add dict(type='mmwsss.LoadCAMs') before."

    def write(self, results: dict[str, Any]) -> None:
        """Write one image.

        Args:
            results (dict): With ``cams`` (k, h, w), ``class_ids``.
        """
        cams = results['cams']
        write_cam(self.out_dir, results['img_id'], results['class_ids'], cams,
                  _size(results, cams.shape[1:]))


@TRANSFORMS.register_module()
class SaveScores(Writer):
    """Write ``crf_scores`` as CAM files, a folder per exponent.

    ``{out_dir}/alpha{alpha:g}/{img_id}.npz`` holds the planes of the classes;
    the background's plane is what they leave to 1.

    Args:
        alphas (Sequence[float]): Which of those of :class:`CRFScores`.
            Defaults to (4, 24).
        out_dir (str): The folder. Defaults to '.'.
    """
    KEY = 'crf_scores'
    HINT = "Add dict(type='mmwsss.CRFScores') before."

    def __init__(self,
                 alphas: Sequence[float] = (4, 24),
                 out_dir: str = '.') -> None:
        super().__init__(out_dir)
        self.alphas = tuple(alphas)

    def folders(self) -> list[Path]:
        """The folders, one per exponent.

        Returns:
            list[Path]: The folders.
        """
        return [Path(self.out_dir) / f'alpha{a:g}' for a in self.alphas]

    def write(self, results: dict[str, Any]) -> None:
        """Write one image.

        Args:
            results (dict): With ``crf_scores`` and ``class_ids``.

        Raises:
            ValueError: If there are no scores of one of the exponents.
        """
        scores = results['crf_scores']
        if not set(self.alphas) <= set(scores):
            raise ValueError(
                f'Image {results["img_id"]}: CRFScores made the exponents '
                f'{sorted(scores)}, SaveScores is to write '
                f'{sorted(self.alphas)}. Add what is missing to the alphas '
                'of CRFScores.')
        for alpha, folder in zip(self.alphas, self.folders()):
            planes = np.clip(scores[alpha][1:], 0, 1)
            write_cam(folder, results['img_id'], results['class_ids'], planes,
                      _size(results, planes.shape[1:]))


@TRANSFORMS.register_module()
class SaveMask(Writer):
    """Write ``pseudo_mask`` as palette PNG ``{out_dir}/{img_id}.png``.

    Args:
        out_dir (str): The folder. Defaults to '.'.
        palette (Sequence, optional): RGB of background and classes.
            ``tools/refine_cams.py`` takes the dataset's. Defaults to VOC's.
    """
    KEY = 'pseudo_mask'
    HINT = "Add e.g. dict(type='mmwsss.ThresholdMask', threshold=0.3) before."

    def __init__(self,
                 out_dir: str = '.',
                 palette: Sequence[Sequence[int]] | None = None) -> None:
        super().__init__(out_dir)
        self.palette = palette

    def paths(self, img_id: str) -> list[Path]:
        """The file of an image.

        Args:
            img_id (str): Name of the image.

        Returns:
            list[Path]: One path.
        """
        return [mask_path(self.out_dir, img_id)]

    def finish(self, **facts: Any) -> None:
        """Write the manifest, when the folder is complete.

        Args:
            **facts: What JSON can hold.
        """
        write_mask_manifest(self.out_dir, **facts)

    def write(self, results: dict[str, Any]) -> None:
        """Write one image.

        Args:
            results (dict): With ``pseudo_mask``.
        """
        write_mask(self.out_dir, results['img_id'], results['pseudo_mask'],
                   self.palette)
