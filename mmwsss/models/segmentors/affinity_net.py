"""AffinityNet: CAMs refined by a walk over learnt affinities (PSA)."""

import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.pseudo_labels.random_walk import walk_scores_psa
from mmwsss.registry import MODELS

from .cam_refiner import CAMRefiner, label_maps, resize_cams, take_options
from .cam_segmentor import refuse_pretrained


@MODELS.register_module()
class AffinityNet(CAMRefiner):
    """Ahn and Kwak, CVPR 2018 (https://arxiv.org/abs/1803.10464).

    Training compares pixels whose labels are sure
    (:class:`mmwsss.pseudo_labels.transforms.AffinityLabel`). Prediction
    diffuses the CAMs of a sample with the learnt affinities.

    Args:
        backbone (dict): Any backbone that gives the head's feature maps; what
            of it is frozen is set there.
        decode_head (dict): A :class:`~mmwsss.models.heads.AffinityHead`.
        stride (int): Pixels per cell of the head's affinities. Images are
            padded to a multiple of it. Defaults to 8.
        walk (dict, optional): Options of the random walk:

            - ``alpha`` (float): Exponent of the background score,
              (1 - highest CAM)^alpha. Defaults to 16.
            - ``beta`` (float): Exponent of the affinities. Defaults to 8.
            - ``log_steps`` (int): The walk has 2^log_steps steps.
              Defaults to 8.
        train_cfg (dict, optional): Unused, accepted like in mmseg.
        test_cfg (dict, optional): See :class:`CAMRefiner`.
        data_preprocessor (dict, optional): See mmseg.
        init_cfg (dict, optional): Initialisation. Defaults to None.
    """
    WALK = dict(alpha=16, beta=8, log_steps=8)

    def __init__(self,
                 backbone: dict,
                 decode_head: dict,
                 stride: int = 8,
                 walk: dict | None = None,
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
        self.backbone = MODELS.build(backbone)
        self.decode_head = MODELS.build(decode_head)
        self.stride = stride
        self.walk = take_options('AffinityNet.walk', walk, self.WALK)

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of the backbone.

        Args:
            inputs (Tensor): (N, 3, H, W).

        Returns:
            tuple[Tensor]: Maps (N, C, h, w).
        """
        return self.backbone(inputs)

    def loss(self, inputs: Tensor,
             data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Affinity loss of a batch.

        Args:
            inputs (Tensor): (N, 3, H, W).
            data_samples (list[SegDataSample]): With ``gt_sem_seg``
                (1, H / stride, W / stride).

        Returns:
            dict[str, Tensor]: ``loss_bg``, ``loss_fg`` and ``loss_neg``.

        Raises:
            KeyError: If a sample has no label map.
            ValueError: If label maps and features differ in size.
        """
        return self.decode_head.loss(
            self.extract_feat(inputs), label_maps(data_samples))

    def refine(self, image: Tensor, cams: Tensor) -> Tensor:
        """Scores after the random walk (Sec. 3.3).

        Args:
            image (Tensor): (3, H, W).
            cams (Tensor): (k, h, w) in [0, 1].

        Returns:
            Tensor: (k + 1, H, W), background first.

        Raises:
            ValueError: If the image is too small for the head's radius, or
                ``stride`` is not the network's.
        """
        size = image.shape[-2:]
        image = F.pad(image,
                      (0, -size[1] % self.stride, 0, -size[0] % self.stride))
        affinity, offsets = self.decode_head.dense_affinity(
            self.extract_feat(image[None]))
        cells = tuple(s // self.stride for s in image.shape[-2:])
        if tuple(affinity.shape[-2:]) != cells:
            raise ValueError(
                f'{tuple(image.shape[-2:])} pixels (height, width) give '
                f'affinities of {tuple(affinity.shape[-2:])} cells, so '
                f'AffinityNet.stride={self.stride} is not the stride of the '
                'first feature map.')
        return walk_scores_psa(
            resize_cams(cams, size),
            affinity[0],
            offsets,
            stride=self.stride,
            **self.walk)

    def _forward(self,
                 inputs: Tensor,
                 data_samples: list[SegDataSample] | None = None
                 ) -> Tensor:
        """The features that are compared (N, C, h, w)."""
        return self.decode_head(self.extract_feat(inputs))
