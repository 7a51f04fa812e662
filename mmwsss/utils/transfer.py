"""Moving tensors to a device without making the host wait."""
from collections.abc import Sequence

import torch
from torch import Tensor

#: Devices that read pageable memory as fast as any, or know no other.
UNPINNED = ('cpu', 'meta', 'mps')


def pinned(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Memory of the host that a device can read while the host goes on.

    Args:
        size (int): Number of elements.
        dtype (torch.dtype): Their type.
        device (torch.device): Who is going to read it.

    Returns:
        Tensor: (size,), not initialised; ordinary memory where the device
        has no use for pinned one.
    """
    return torch.empty(
        size, dtype=dtype, pin_memory=device.type not in UNPINNED)


def send(x: Tensor, device: str | torch.device) -> Tensor:
    """A tensor on another device; from the host without a wait.

    Args:
        x (Tensor): Anywhere.
        device (str | torch.device): Where it is needed.

    Returns:
        Tensor: ``x`` itself if it is there.
    """
    device = torch.device(device)
    if x.device.type != 'cpu' or device.type in UNPINNED:
        return x.to(device)
    staged = pinned(x.numel(), x.dtype, device).view(x.shape)
    return staged.copy_(x).to(device, non_blocking=True)


def send_all(tensors: Sequence[Tensor],
             device: str | torch.device) -> list[Tensor]:
    """Tensors of the host on a device, in one copy for each type.

    Integers of 64 bits that are grey levels or label maps travel as bytes.

    Args:
        tensors (Sequence[Tensor]): Of any shapes and types; those that are
            not on the host are moved one by one.
        device (str | torch.device): Where they are needed.

    Returns:
        list[Tensor]: The same on the device; those of one type share memory.
    """
    device = torch.device(device)
    kinds = {}
    sent = [x.to(device) if x.device.type != 'cpu' else x for x in tensors]
    for i, x in enumerate(tensors):
        if x.device.type != 'cpu':
            continue
        small = x.dtype == torch.int64 and _fits_a_byte(x)
        kinds.setdefault((x.dtype, small), []).append(i)
    for (dtype, small), places in kinds.items():
        parts = [tensors[i] for i in places]
        sizes = [x.numel() for x in parts]
        staged = pinned(sum(sizes), torch.uint8 if small else dtype, device)
        for place, x in zip(staged.split(sizes), parts):
            place.view(x.shape).copy_(x)
        moved = staged.to(device, non_blocking=True).to(dtype)
        for i, part, x in zip(places, moved.split(sizes), parts):
            sent[i] = part.view(x.shape)
    return sent


def _fits_a_byte(x: Tensor) -> bool:
    # Looking at a few numbers would take longer than sending them.
    if x.numel() < 4096:
        return False
    low, high = x.aminmax()
    return low >= 0 and high <= 255
