"""From what a data loader gives to a batch on the model's device."""
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.structures import BaseDataElement, LabelData
from mmseg.models import SegDataPreProcessor as MMSegDataPreProcessor
from torch import Tensor

from mmwsss.registry import MODELS
from mmwsss.utils.transfer import send_all


def map_tensors(data: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Replace all tensors of a batch but those of tags.

    Args:
        data (Any): Mappings, sequences, data elements and tensors.
        change (Callable): From tensor to tensor.

    Returns:
        Any: The same structure; ``LabelData`` is left as it is.
    """
    if isinstance(data, Tensor):
        return change(data)
    if isinstance(data, LabelData):
        return data
    if isinstance(data, BaseDataElement):
        new = data.new()
        for key, value in data.items():
            new.set_data({key: map_tensors(value, change)})
        return new
    if isinstance(data, dict):
        return {key: map_tensors(x, change) for key, x in data.items()}
    if isinstance(data, (list, tuple)) and not hasattr(data, '_fields'):
        return type(data)(map_tensors(x, change) for x in data)
    return data


@MODELS.register_module()
class SegDataPreProcessor(MMSegDataPreProcessor):
    """mmseg's preprocessor in few steps; the result is the same.

    To a GPU, a batch goes in one copy for each type of numbers, from pinned
    memory, so the host need not wait; label maps travel as bytes. Tags
    (``LabelData``) stay with the host, which has to read them. Images of one
    size are normalised together.

    Args:
        **kwargs: See mmseg's ``SegDataPreProcessor``.
    """

    def cast_data(self, data: Any) -> Any:
        """A batch on the model's device.

        Args:
            data (Any): What the data loader gave.

        Returns:
            Any: The same structure; tags stay where they are.
        """
        if self.device is None or torch.device(self.device).type == 'cpu':
            return super().cast_data(data)
        found: list[Tensor] = []
        map_tensors(data, lambda x: found.append(x) or x)
        moved = iter(send_all(found, self.device))
        return map_tensors(data, lambda x: next(moved))

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Normalise and stack a batch.

        Args:
            data (dict): ``inputs``, a list of (3, h, w), and
                ``data_samples``.
            training (bool): Whether it is a training batch.
                Defaults to False.

        Returns:
            dict: ``inputs`` (N, 3, H, W) float32 and ``data_samples``.
        """
        if not self._is_plain(data, training):
            return super().forward(data, training)
        data = self.cast_data(data)
        inputs, samples = data['inputs'], data.get('data_samples')
        size = tuple(inputs[0].shape[1:])
        batch = torch.stack(tuple(inputs))
        if self._channel_conversion and batch.shape[1] == 3:
            batch = batch.flip(1)
        batch = batch.float()
        if self._enable_normalize:
            batch = (batch - self.mean) / self.std
        if training:
            for sample in samples:
                # What mmseg notes where nothing was padded.
                maps = [
                    getattr(sample, key).shape
                    for key in ('gt_sem_seg', 'gt_edge_map', 'gt_depth_map')
                    if key in sample
                ]
                sample.set_metainfo(
                    dict(
                        img_shape=torch.Size(size),
                        pad_shape=maps[-1] if maps else None,
                        padding_size=(0, 0, 0, 0)))
        return dict(inputs=batch, data_samples=samples)

    def _is_plain(self, data: dict, training: bool) -> bool:
        """Whether the images are stacked as they are."""
        inputs = data['inputs']
        if not isinstance(inputs, Sequence) or \
                len({x.shape for x in inputs}) != 1:
            return False
        if not training:
            return not self.test_cfg
        size = inputs[0].shape[1:]
        if data.get('data_samples') is None or \
                self.batch_augments is not None:
            return False
        if self.size is not None:
            return self.size_divisor is None and tuple(
                self.size)[-2:] == tuple(size)
        return self.size_divisor is not None and not any(
            s % self.size_divisor for s in size)
