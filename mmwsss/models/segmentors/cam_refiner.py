"""Base of the networks that turn CAMs into better ones."""
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.pseudo_labels.dense_crf import DenseCRF

from .sample_crf import refine_with_crf

#: How to get CAMs into a sample, for messages.
LOAD_CAMS = ("Put dict(type='mmwsss.LoadCAMs') into the pipeline, before "
             "dict(type='mmwsss.PackWSSSInputs'), and their folder as "
             'cam_dir into the dataset.')


class CAMRefiner(BaseSegmentor):
    """A network that refines the CAMs its samples come with.

    A subclass scores background and present classes with :meth:`refine`; the
    base class takes the samples apart and writes the results into them.

    Args:
        test_cfg (dict, optional): With key ``crf`` (dict, optional):
            arguments of :class:`~mmwsss.pseudo_labels.dense_crf.DenseCRF`,
            which refines the scores at last. Defaults to None: no CRF.
        **kwargs: See mmseg's ``BaseSegmentor``.
    """
    #: Trained on some classes it refines maps of any others.
    class_agnostic = True

    def __init__(self, test_cfg: dict | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        crf = take_options(f'{type(self).__name__}.test_cfg', test_cfg,
                           dict(crf=None))['crf']
        self.crf = None if crf is None else DenseCRF(**crf)

    @abstractmethod
    def refine(self, image: Tensor, cams: Tensor) -> Tensor:
        """Scores of one image.

        Args:
            image (Tensor): (3, H, W), normalised, at the image's own size.
            cams (Tensor): (k, h, w) in [0, 1] of the present classes; k may
                be 0.

        Returns:
            Tensor: (k + 1, H, W), background first, not negative.

        Raises:
            ValueError: If the image does not suit the network.
        """

    def refine_sample(self, image: Tensor, cams: Tensor,
                      sample: SegDataSample) -> Tensor:
        """Scores of one image, where more than them is predicted.

        Args:
            image (Tensor): See :meth:`refine`.
            cams (Tensor): See :meth:`refine`.
            sample (SegDataSample): With ``class_ids`` (k,). A subclass adds
                to it what else it predicts.

        Returns:
            Tensor: See :meth:`refine`.
        """
        return self.refine(image, cams)

    def predict(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Refine the CAMs of a batch, image by image.

        Each image is cut to its own size first, so the result does not
        depend on the other images of the batch.

        Args:
            inputs (Tensor): (N, 3, H, W), images not resized, padded at the
                right and bottom where they differ in size.
            data_samples (list[SegDataSample]): With ``cams`` (k, h, w) and
                ``class_ids`` (k,); ``ori_shape`` is the size of the image.

        Returns:
            list[SegDataSample]: With ``pred_sem_seg`` (1, h, w), 0 for
            background and c + 1 for class c, and ``cams`` (k, h, w) replaced
            by the refined maps, divided by the highest score of the image,
            background included.

        Raises:
            KeyError: If a sample has no CAMs.
            ValueError: If an image was resized or does not suit the network,
                or the CRF does not find it.
        """
        data_samples = data_samples or [SegDataSample() for _ in inputs]
        for image, sample in zip(inputs, data_samples):
            img_id = sample.get('img_id', '?')
            for key in ('cams', 'class_ids'):
                if key not in sample:
                    raise KeyError(f'Image {img_id} comes without CAMs '
                                   f'({key!r}). {LOAD_CAMS}')
            h, w = self._own_size(image, sample)
            try:
                scores = self.refine_sample(
                    image[:, :h, :w],
                    sample.cams.to(image.device).float(), sample)
            except ValueError as error:
                raise ValueError(f'Image {img_id}: {error}') from error
            ids = sample.class_ids.to(image.device)
            if self.crf is not None and len(ids):
                scores = refine_with_crf(
                    self.crf, scores / scores.sum(0).clamp(min=1e-12), sample)
            names = torch.cat((ids.new_zeros(1), ids + 1))
            cams = scores[1:] / scores.amax().clamp(min=1e-12)
            sample.set_data(
                dict(
                    cams=cams.clamp(0, 1),
                    class_ids=ids,
                    pred_sem_seg=PixelData(
                        data=names[scores.argmax(0)][None])))
        return data_samples

    def _own_size(self, image: Tensor,
                  sample: SegDataSample) -> tuple[int, int]:
        size = tuple(sample.get('ori_shape', image.shape[-2:]))[:2]
        if (tuple(sample.get('img_shape', size))[:2] != size
                or image.shape[-2] < size[0] or image.shape[-1] < size[1]):
            raise ValueError(
                f'Image {sample.get("img_id", "?")} is {size} (height, width) '
                f'but comes with {tuple(image.shape[-2:])} pixels: '
                f'{type(self).__name__} takes images at their own size. Take '
                'the resizing out of the test pipeline.')
        return size

    def encode_decode(self, inputs: Tensor,
                      batch_img_metas: list[dict]) -> Tensor:
        """Not possible: without CAMs there is nothing to refine.

        Args:
            inputs (Tensor): Unused.
            batch_img_metas (list[dict]): Unused.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(
            f'{type(self).__name__} refines CAMs; run it with '
            f'tools/test.py on a dataset that has them. {LOAD_CAMS}')


def take_options(name: str, given: dict[str, Any] | None,
                 defaults: dict[str, Any]) -> dict[str, Any]:
    """Fill up a dictionary of options.

    Args:
        name (str): Of the argument, for the message.
        given (dict, optional): What the config says.
        defaults (dict): All options.

    Returns:
        dict: All options with the given values.

    Raises:
        KeyError: If one is unknown.
    """
    unknown = set(given or {}) - set(defaults)
    if unknown:
        raise KeyError(f'{name} does not know {sorted(unknown)}, only '
                       f'{sorted(defaults)}.')
    return {**defaults, **(given or {})}


def label_maps(data_samples: Sequence[SegDataSample]) -> Tensor:
    """Training labels of a batch.

    Args:
        data_samples (Sequence[SegDataSample]): With ``gt_sem_seg`` (1, h, w)
            at the network's resolution.

    Returns:
        Tensor: int16 (N, h, w).

    Raises:
        KeyError: If a sample has none.
    """
    for sample in data_samples:
        if 'gt_sem_seg' not in sample:
            raise KeyError(
                f'Image {sample.get("img_id", "?")} comes without label map. '
                "Put dict(type='mmwsss.AffinityLabel') (AffinityNet) or "
                "dict(type='mmwsss.DownscaleLabel') (IRNet) into the "
                'pipeline.')
    # 16 bits: the labels of all pairs are gathered.
    return torch.cat([sample.gt_sem_seg.data
                      for sample in data_samples]).to(torch.int16)


def resize_cams(cams: Tensor, size: tuple[int, int]) -> Tensor:
    """Bring CAMs to another resolution, bilinearly.

    Args:
        cams (Tensor): (k, h, w); k may be 0.
        size (tuple[int, int]): Height and width.

    Returns:
        Tensor: (k, *size).
    """
    if cams.shape[-2:] == tuple(size):
        return cams
    if not len(cams):
        return cams.new_zeros((0, *size))
    return F.interpolate(
        cams[None], size=tuple(size), mode='bilinear', align_corners=False)[0]
