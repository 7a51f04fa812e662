"""The images of all processes as one batch."""
from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmengine.dist import (
    all_gather,
    all_gather_object,
    get_rank,
    get_world_size,
)
from torch import Tensor

from mmwsss.utils.transfer import send


class GlobalBatch(NamedTuple):
    """Where the images of this process stand in the batch of all.

    That batch is ordered by image id, so it does not depend on how the images
    are spread over the processes. Whatever is computed and drawn from it is
    the same in all processes, and the same as in one.

    Attributes:
        order (Tensor): For each image of the global batch its place in the
            ranks' batches one after the other, int64 (N',).
        places (Tensor): For each image of this process its place in the
            global batch, int64 (N,).
    """
    order: Tensor
    places: Tensor

    @classmethod
    def of(cls, img_ids: Sequence[str], like: Tensor) -> 'GlobalBatch':
        """Ask all processes for their images; each of them must call this.

        Args:
            img_ids (Sequence[str]): Of the N images of this process.
            like (Tensor): Something that is going to be gathered; its shape
                must be the same in all processes. Also gives the device.

        Returns:
            GlobalBatch: The layout.

        Raises:
            ValueError: If the shapes differ.
        """
        parts = all_gather_object((list(img_ids), tuple(like.shape)))
        shapes = [shape for _, shape in parts]
        if len(set(shapes)) > 1:
            raise ValueError(
                'All processes need batches of the same shape, but theirs '
                f'are {shapes}. Crop to a fixed size and use a sampler that '
                'gives every process as many images.')
        images = sorted((img_id, rank, i)
                        for rank, (ids, _) in enumerate(parts)
                        for i, img_id in enumerate(ids))
        order = torch.tensor([rank * len(img_ids) + i
                              for _, rank, i in images])
        first = get_rank() * len(img_ids)
        # The inverse permutation, of this process's part.
        places = order.argsort()[first:first + len(img_ids)]
        return cls(*(send(x, like.device) for x in (order, places)))

    def gather(self, x: Tensor) -> Tensor:
        """Values of all images.

        Args:
            x (Tensor): Of this process's images (N, ...).

        Returns:
            Tensor: (N', ...), without gradient.
        """
        x = x.detach().contiguous()
        if get_world_size() > 1:
            x = torch.cat(all_gather(x))
        return x[self.order]

    def locate(self, rows: Tensor,
               positions: int) -> tuple[Tensor | slice, Tensor]:
        """Rows of the global batch that are of this process.

        Args:
            rows (Tensor): Places in all positions of the global batch, int64
                (Q,).
            positions (int): Of each image.

        Returns:
            tuple[Tensor | slice, Tensor]: Which rows these are, bool (Q,) or
            all, and their places in the positions of this process's images.
        """
        image, position = rows // positions, rows % positions
        if len(self.places) == len(self.order):
            # All images are of this process.
            return slice(None), self.order[image] * positions + position
        local = torch.full_like(self.order, -1)
        local[self.places] = torch.arange(
            len(self.places), device=local.device)
        image = local[image]
        places = image * positions + position
        mine = image >= 0
        return mine, places[mine]
