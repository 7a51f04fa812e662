"""CAM files of any method, averaged by a frozen network's affinity."""
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.registry import MODELS

from ..localizers.fusion import normalize_maps
from ..refiners.frozen_affinity import FrozenAffinity
from .cam_refiner import CAMRefiner
from .cam_segmentor import refuse_pretrained


@MODELS.register_module()
class AffinityRefiner(CAMRefiner):
    """:class:`FrozenAffinity` as a stage on CAM files; nothing is trained.

    Runs with ``tools/test.py CONFIG`` without a checkpoint, on CAMs of any
    method of this package or of other programs. Each refined map is scaled
    to [0, 1]; the mask is the class of the highest map where it exceeds the
    threshold.

    Args:
        affinity (dict): Arguments of :class:`FrozenAffinity`.
        threshold (float): Background score of the mask. Defaults to 0.4.
        normalize (str): See :func:`normalize_maps`. Defaults to 'minmax'.
        train_cfg (dict, optional): Unused, accepted like in mmseg.
        test_cfg (dict, optional): See :class:`CAMRefiner`.
        data_preprocessor (dict, optional): See mmseg. Must leave RGB images
            in grey levels: ``mean=[0, 0, 0], std=[1, 1, 1]``.
        init_cfg (dict, optional): Unused. Defaults to None.
        pretrained (None): There for mmseg's ``init_model``, which sets it.
    """
    #: Whether tools/test.py may run it without a checkpoint.
    training_free = True

    def __init__(self,
                 affinity: dict,
                 threshold: float = 0.4,
                 normalize: str = 'minmax',
                 train_cfg: dict | None = None,
                 test_cfg: dict | None = None,
                 data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None,
                 pretrained: None = None) -> None:
        super().__init__(
            test_cfg=test_cfg,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg)
        refuse_pretrained(pretrained)
        self.affinity = FrozenAffinity(**affinity)
        self.threshold = threshold
        self.normalize = normalize

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Features that the affinity compares.

        Args:
            inputs (Tensor): (N, 3, H, W), RGB, grey levels.

        Returns:
            tuple[Tensor]: (N, D, gh, gw).
        """
        return (self.affinity.network(inputs), )

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]
             ) -> dict[str, Any]:
        """Not possible.

        Args:
            inputs (Tensor): Unused.
            data_samples (list[SegDataSample]): Unused.

        Raises:
            TypeError: Always: nothing of this model can be trained.
        """
        raise TypeError('AffinityRefiner has nothing to train; run it with '
                        'tools/test.py CONFIG, without a checkpoint.')

    def refine(self, image: Tensor, cams: Tensor) -> Tensor:
        """Scores after the affinity.

        Args:
            image (Tensor): (3, H, W), RGB, grey levels.
            cams (Tensor): (k, h, w) in [0, 1].

        Returns:
            Tensor: (k + 1, H, W) in [0, 1]: the threshold, then the maps.
        """
        size = image.shape[-2:]
        background = cams.new_full((1, *size), self.threshold)
        if not len(cams):
            return background
        maps = self.affinity.refine_maps(image[None], cams[None])
        maps = F.interpolate(maps, size, mode='bilinear')[0]
        maps = normalize_maps(maps, self.normalize).clamp(0, 1)
        return torch.cat((background, maps))

    def _forward(self,
                 inputs: Tensor,
                 data_samples: list[SegDataSample] | None = None
                 ) -> Tensor:
        """The features that are compared (N, D, gh, gw)."""
        return self.extract_feat(inputs)[0]
