"""Several changes one after the other."""
from collections.abc import Sequence

from torch import Tensor

from mmwsss.registry import MODELS

from .second_view import SecondView


@MODELS.register_module()
class Compose(SecondView):
    """Chain second views, e.g. a mirrored and shrunken image.

    Args:
        views (Sequence[dict | SecondView]): Applied in this order, undone in
            reverse.
    """

    def __init__(self, views: Sequence[dict | SecondView]) -> None:
        self.views = [
            MODELS.build(v) if isinstance(v, dict) else v for v in views
        ]

    @property
    def keeps_grid(self) -> bool:
        """Whether all parts keep the token grid."""
        return all(view.keeps_grid for view in self.views)

    def apply(self, maps: Tensor) -> Tensor:
        """Apply all parts to (N, C, H, W)."""
        for view in self.views:
            maps = view.apply(maps)
        return maps

    def inverse(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Undo all parts on (N, C, h, w), giving (N, C, *size).

        A part that keeps the grid leaves resizing to one that does not.
        """
        first, *others = self.views
        for view in reversed(others):
            maps = view.inverse(
                maps, maps.shape[-2:] if view.keeps_grid else size)
        return first.inverse(maps, size)

    def align_tokens(self, tokens: Tensor) -> Tensor:
        """Undo all parts on the token grid (N, gh, gw, D)."""
        for view in reversed(self.views):
            tokens = view.align_tokens(tokens)
        return tokens
