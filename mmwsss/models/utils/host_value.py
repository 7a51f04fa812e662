"""Numbers in buffers that the host knows without asking the device."""

from torch import Tensor


class HostValue:
    """Remembers the number in a buffer of one element.

    To read a number from a GPU, the host waits for all work that it queued.
    A buffer that only its owner changes is read once; after that the owner
    says what it writes. Whatever else changes the buffer (a checkpoint that
    is loaded, another process's value, a move to another device) is noticed
    by the version that torch keeps of every tensor, and read anew.
    """

    def __init__(self) -> None:
        self._buffer: Tensor | None = None
        self._version = -1
        self._value: int | float | bool = 0

    def read(self, buffer: Tensor) -> int | float | bool:
        """The number in a buffer.

        Args:
            buffer (Tensor): Of one element.

        Returns:
            int | float | bool: Its value.
        """
        if buffer is not self._buffer or buffer._version != self._version:
            self._remember(buffer, buffer.item())
        return self._value

    def write(self, buffer: Tensor, value: int | float | bool) -> None:
        """Change the number in a buffer.

        Args:
            buffer (Tensor): Of one element, changed.
            value (int | float | bool): Its new value.
        """
        buffer.fill_(value)
        self._remember(buffer, value)

    def _remember(self, buffer: Tensor,
                  value: int | float | bool) -> None:
        self._buffer, self._version = buffer, buffer._version
        self._value = value
