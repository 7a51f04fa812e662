"""Interface of a second view."""
from abc import ABCMeta, abstractmethod

from torch import Tensor


class SecondView(metaclass=ABCMeta):
    """A geometric change of an image that can be undone on its maps.

    ``keeps_grid`` says whether every patch of the second view shows the same
    pixels as some patch of the first: then a transformer can order its tokens
    like the first view's (:meth:`align_tokens`).
    """
    keeps_grid = False

    @abstractmethod
    def apply(self, maps: Tensor) -> Tensor:
        """Turn first-view images or maps (N, C, H, W) into second-view ones.

        Args:
            maps (Tensor): (N, C, H, W).

        Returns:
            Tensor: (N, C, H', W').
        """

    @abstractmethod
    def inverse(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Bring second-view maps back into the first view's frame.

        Args:
            maps (Tensor): (N, C, h, w).
            size (tuple[int, int]): Height and width of the result.

        Returns:
            Tensor: (N, C, *size).
        """

    def align_tokens(self, tokens: Tensor) -> Tensor:
        """Order a token grid (N, gh, gw, D) like the first view's.

        Args:
            tokens (Tensor): (N, gh, gw, D).

        Returns:
            Tensor: (N, gh, gw, D).

        Raises:
            TypeError: If the view does not keep the token grid.
        """
        raise TypeError(
            f'{type(self).__name__} changes the token grid; its tokens '
            "cannot be put into the first view's order.")
