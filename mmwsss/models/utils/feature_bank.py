"""Feature vectors of earlier steps, first in, first out."""
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .host_value import HostValue


class FeatureBank(nn.Module):
    """A ring of the last ``capacity`` feature vectors.

    Vectors are kept in float32. Both buffers are part of the checkpoint, so
    a resumed run continues with the same bank; with 100 000 vectors of 128
    channels that is 51 MB.

    Args:
        capacity (int): Vectors kept at most.
        channels (int): Their length D.

    Raises:
        ValueError: If ``capacity`` is not positive.
    """

    def __init__(self, capacity: int, channels: int) -> None:
        super().__init__()
        if capacity < 1:
            raise ValueError(
                f'FeatureBank needs a capacity of at least 1, got {capacity}.')
        self.capacity = capacity
        self.register_buffer('rows', torch.zeros(capacity, channels))
        #: Vectors ever added; the next one goes to slot total % capacity.
        self.register_buffer('total', torch.tensor(0))
        self._total = HostValue()

    def __len__(self) -> int:
        """Vectors that are there."""
        return min(self._total.read(self.total), self.capacity)

    @property
    def pointer(self) -> int:
        """The slot of ``rows`` that is written next."""
        return self._total.read(self.total) % self.capacity

    @torch.no_grad()
    def enqueue(self, features: Tensor) -> None:
        """Add vectors in their order, over the oldest where it is full.

        Args:
            features (Tensor): (n, D). Of more than ``capacity`` the last
                remain.
        """
        last = features[-self.capacity:]
        total = self._total.read(self.total)
        first = (total + len(features) - len(last)) % self.capacity
        # To the end of the ring, then from its beginning.
        head = min(len(last), self.capacity - first)
        self.rows[first:first + head] = last[:head].to(self.rows)
        self.rows[:len(last) - head] = last[head:].to(self.rows)
        self._total.write(self.total, total + len(features))

    def ordered(self) -> Tensor:
        """The vectors that are there, the oldest first.

        Returns:
            Tensor: A copy, (len(self), D).
        """
        if len(self) < self.capacity:
            return self.rows[:len(self)].clone()
        return self.rows.roll(-self.pointer, dims=0)

    def draw(self,
             size: Sequence[int],
             generator: torch.Generator | None = None) -> Tensor:
        """Random slots of ``rows`` that are in use, with replacement.

        Args:
            size (Sequence[int]): Shape of the result.
            generator (Generator, optional): On the bank's device.

        Returns:
            Tensor: int64, of shape ``size``.

        Raises:
            ValueError: If the bank is empty.
        """
        if len(self) == 0:
            raise ValueError('FeatureBank is empty: enqueue before draw.')
        return torch.randint(
            len(self),
            tuple(size),
            generator=generator,
            device=self.rows.device)

    def extra_repr(self) -> str:
        """Shown when a model is printed."""
        return f'capacity={self.capacity}, channels={self.rows.shape[1]}'
