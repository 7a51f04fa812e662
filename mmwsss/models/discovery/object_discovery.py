"""Masks of the objects of an image, found by a frozen network."""
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmwsss.pseudo_labels.object_discovery import PatchTokens
from mmwsss.registry import MODELS

from ..backbones.frozen_features import FrozenBackbone
from .patch_tokens import read_patch_tokens

#: Least overlap of a refined mask with the one before (FOUND, section 4.1).
MIN_OVERLAP = 0.5


def refine_masks(refiner: nn.Module | None, image: Tensor,
                 maps: Tensor) -> Tensor:
    """Masks at the outlines of the image.

    A refined mask that overlaps the one before by less than half is not
    taken.

    Args:
        refiner (nn.Module, optional): See :class:`ObjectDiscovery`.
        image (Tensor): (1, 3, H, W), RGB, grey levels 0..255.
        maps (Tensor): (1, n, H, W), above 0.5 where objects are.

    Returns:
        Tensor: bool (1, n, H, W).
    """
    masks = maps > 0.5
    if refiner is None:
        return masks
    refined = refiner(image, maps) > 0.5
    both = (refined & masks).sum(dim=(2, 3), keepdim=True)
    any_ = (refined | masks).sum(dim=(2, 3), keepdim=True)
    return torch.where(both >= MIN_OVERLAP * any_, refined, masks)


@MODELS.register_module()
class ObjectDiscovery(BaseModule):
    """Finds objects without any label, image by image.

    Args:
        network (dict): Arguments of :class:`FrozenBackbone`: what describes
            patches, a self-supervised vision transformer at best.
        finder (dict): Finds objects among patches:
            ``mmwsss.BackgroundDiscovery``, ``mmwsss.NormalizedCut`` or
            ``mmwsss.LinearSaliency``, which has to be trained.
        refiner (dict, optional): Brings masks to the outlines of the image,
            called with image and maps as ``mmwsss.PAMR`` and
            ``mmwsss.BilateralSolver`` are; see :func:`refine_masks`. None
            keeps the outlines of patches. Defaults to None.
        long_side (int, optional): Images that are longer, in pixels, are
            looked at and refined at this size, and masks enlarged
            afterwards; time and memory then stay bounded, also where the
            network has no ``long_side`` of its own. Defaults to None.
        init_cfg (dict, optional): Unused. Defaults to None.
    """

    def __init__(self,
                 network: dict,
                 finder: dict,
                 refiner: dict | None = None,
                 long_side: int | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.network = FrozenBackbone(**network)
        self.finder = MODELS.build(finder)
        self.refiner = None if refiner is None else MODELS.build(refiner)
        self.long_side = long_side

    @torch.no_grad()
    def forward(self, image: Tensor) -> np.ndarray:
        """Find the objects of an image.

        Args:
            image (Tensor): (1, 3, H, W), RGB, grey levels 0..255.

        Returns:
            ndarray: bool (n, H, W); n is 0 if none is found, as always in
            an image of one colour.

        Raises:
            FileNotFoundError: If the weights of the network are missing.
            ValueError: If the image is too long, or the network does not
                suit the finder.
        """
        flat = image.flatten(2)
        # There a network sees its own position embeddings.
        if bool((flat == flat[..., :1]).all()):
            return np.zeros((0, *image.shape[2:]), bool)
        small = self.shrink(image)
        return self.find(small, read_patch_tokens(self.network, small),
                         tuple(image.shape[2:]))

    def shrink(self, image: Tensor) -> Tensor:
        """An image at the size at which it is looked at.

        Args:
            image (Tensor): (N, 3, H, W).

        Returns:
            Tensor: (N, 3, h, w), not longer than ``long_side``.
        """
        size = image.shape[2:]
        if self.long_side is None or max(size) <= self.long_side:
            return image
        scale = self.long_side / max(size)
        size = tuple(max(round(side * scale), 1) for side in size)
        return F.interpolate(image, size, mode='bilinear', antialias=True)

    @torch.no_grad()
    def find(self, image: Tensor, tokens: PatchTokens,
             size: tuple[int, int]) -> np.ndarray:
        """Find the objects of an image that the network has seen.

        Args:
            image (Tensor): (1, 3, h, w), what :meth:`shrink` gives.
            tokens (PatchTokens): What the network says of it.
            size (tuple[int, int]): Height and width of the masks.

        Returns:
            ndarray: bool (n, *size).

        Raises:
            ValueError: If the network does not suit the finder.
        """
        found = self.finder(tokens)
        if not len(found):
            return np.zeros((0, *size), bool)
        maps = torch.from_numpy(found)[None].float().to(image.device)
        maps = F.interpolate(maps, image.shape[2:], mode='bilinear')
        if found.dtype != bool:  # Logits; they decide at the image's size.
            maps = (maps > 0).float()
        masks = refine_masks(self.refiner, image, maps)
        if masks.shape[2:] != size:
            masks = F.interpolate(masks.float(), size, mode='bilinear') > 0.5
        masks = masks[0].cpu().numpy()
        # A patch that is thinner than a pixel of a tiny image can vanish.
        return masks[masks.any(axis=(1, 2))]
