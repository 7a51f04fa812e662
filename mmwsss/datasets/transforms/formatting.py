"""Packing of a loaded sample for the model."""
from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import InstanceData, LabelData, PixelData
from mmseg.structures import SegDataSample

from mmwsss.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackWSSSInputs(BaseTransform):
    """Pack an image with its tags.

    The result is ``dict(inputs, data_samples)``: ``inputs`` is a (3, h, w)
    tensor in BGR 0..255, uint8 or float32 as the pipeline left it.
    ``data_samples`` is a ``SegDataSample`` with

    - ``gt_label``: ``LabelData`` with ``label`` int64 (k,), class indices
      without background, and ``score`` float32 (K,), the multi-hot vector,
      nan for classes of which nobody knows whether the image shows them;
    - ``cams`` float32 (k, h, w) and ``class_ids`` int64 (k,), the CAMs
      of an earlier stage, where the pipeline loaded them;
    - ``gt_sem_seg`` int64 (1, h, w), ``valid_mask`` bool (1, h, w) and
      ``gt_saliency`` (1, h, w) where the pipeline made them;
    - ``seed_sem_seg`` int64 (1, h, w), the pseudo mask of an earlier stage,
      where the pipeline loaded it as ``seed_map``;
    - ``gt_instances``: ``InstanceData`` with ``masks`` bool (n, h, w) and
      ``labels`` int64 (n,), where the pipeline loaded them.

    Args:
        meta_keys (Sequence[str]): What to keep as metainfo where present.

    Raises:
        KeyError: If the sample has no image.
    """

    def __init__(
        self,
        meta_keys: Sequence[str] = ('img_id', 'img_path', 'seg_map_path',
                                    'ori_shape', 'img_shape', 'pad_shape',
                                    'scale_factor', 'flip', 'flip_direction',
                                    'reduce_zero_label', 'window')
    ) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        if 'img' not in results:
            raise KeyError(
                f'Image {results.get("img_id", "?")} was not loaded. Begin '
                "the pipeline with dict(type='mmwsss.LoadImage').")
        image = np.ascontiguousarray(results['img'].transpose(2, 0, 1))
        sample = SegDataSample(metainfo={
            key: results[key]
            for key in self.meta_keys if key in results
        })
        if 'gt_label' in results:
            label = torch.as_tensor(
                np.asarray(results['gt_label'], dtype=np.int64))
            score = torch.zeros(results['num_classes'])
            score[label] = 1
            score[np.asarray(results.get('unknown_label', ()), int)] = \
                float('nan')
            sample.gt_label = LabelData(label=label, score=score)
        if 'cams' in results:
            sample.set_data(
                dict(
                    cams=torch.from_numpy(
                        np.array(results['cams'], dtype=np.float32)),
                    class_ids=torch.from_numpy(
                        np.array(results['class_ids'], dtype=np.int64))))
        if 'gt_seg_map' in results:
            sample.gt_sem_seg = _pixels(results['gt_seg_map'], np.int64)
        if 'seed_map' in results:
            sample.seed_sem_seg = _pixels(results['seed_map'], np.int64)
        if 'valid_mask' in results:
            sample.valid_mask = _pixels(results['valid_mask'], bool)
        if 'gt_saliency' in results:
            sample.gt_saliency = _pixels(results['gt_saliency'])
        if 'gt_instances' in results:
            sample.gt_instances = InstanceData(**{
                key: torch.from_numpy(value)
                for key, value in results['gt_instances'].items()
            })
        return dict(inputs=torch.from_numpy(image), data_samples=sample)

    def __repr__(self) -> str:
        return f'{type(self).__name__}(meta_keys={self.meta_keys})'


def _pixels(array: np.ndarray, dtype: object = None) -> PixelData:
    array = np.array(array, dtype=dtype or array.dtype)  # owns its memory
    return PixelData(data=torch.from_numpy(array)[None])
