"""IRNet: class maps refined by a walk that boundaries stop."""
from typing import Dict, Iterable, List, Optional, Tuple

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.registry import MODELS

from ..refiners.random_walk import walk_scores_irn
from ..utils.pixel_pairs import pair_labels, path_offsets
from .cam_refiner import CAMRefiner, label_maps, resize_cams, take_options


def merge_edges(logits: Tensor, size: Tuple[int, int]) -> Tensor:
    """Boundary probabilities from an image and its mirror image.

    Both lie at the upper left of their maps, hence they are cut before one is
    mirrored back.

    Args:
        logits (Tensor): (2, 1, h, w), of the image and of the mirror image.
        size (tuple[int, int]): Height and width of the result in cells.

    Returns:
        Tensor: (h, w) in [0, 1], of the mean logit.
    """
    plain, mirrored = logits[:, 0, :size[0], :size[1]].float()
    return ((plain + mirrored.flip(-1)) / 2).sigmoid()


@MODELS.register_module()
class IRNet(CAMRefiner):
    """Ahn, Cho and Kwak, CVPR 2019 (https://arxiv.org/abs/1904.05044).

    Two branches on a frozen classifier's backbone learn class boundaries and,
    if wanted, displacements to centroids from confident label maps.
    Prediction diffuses the class maps of a sample up to the boundaries; the
    displacements are of no use for semantic masks.

    Args:
        backbone (dict): :class:`~mmwsss.models.backbones.ResNetWithStem`,
            or any backbone that gives the heads' feature maps. It is frozen.
        edge_head (dict): :class:`~mmwsss.models.heads.EdgeHead`.
        displacement_head (dict, optional):
            :class:`~mmwsss.models.heads.DisplacementHead`. Defaults to None.
        radius (int): Pairs in training are closer than this, in cells.
            Defaults to 10.
        propagate (dict, optional): Options of the prediction:

            - ``radius`` (int): Of the walk. Defaults to 5.
            - ``beta`` (float): Exponent of the affinities. Defaults to 10.
            - ``log_steps`` (int): The walk has 2^log_steps steps.
              Defaults to 8.
            - ``threshold`` (float): Score of the background.
              Defaults to 0.25.
            - ``crop_size`` (int): Images are padded to this square, or where
              they are larger to a multiple of the deepest stride.
              Defaults to 512.
        train_cfg (dict, optional): Unused, accepted like in mmseg.
        test_cfg (dict, optional): Unused, accepted like in mmseg.
        data_preprocessor (dict, optional): See mmseg.
        init_cfg (dict, optional): Initialisation. Defaults to None.
    """
    PROPAGATE = dict(
        radius=5, beta=10, log_steps=8, threshold=0.25, crop_size=512)

    def __init__(self,
                 backbone: dict,
                 edge_head: dict,
                 displacement_head: Optional[dict] = None,
                 radius: int = 10,
                 propagate: Optional[dict] = None,
                 train_cfg: Optional[dict] = None,
                 test_cfg: Optional[dict] = None,
                 data_preprocessor: Optional[dict] = None,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(
            data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        self.backbone.requires_grad_(False)
        self.edge_head = MODELS.build(edge_head)
        self.displacement_head = MODELS.build(
            displacement_head) if displacement_head else None
        self.radius = radius
        self.propagate = take_options('IRNet.propagate', propagate,
                                      self.PROPAGATE)

    def train(self, mode: bool = True) -> 'IRNet':
        """Switch the heads; the backbone stays in evaluation.

        Args:
            mode (bool): Whether to train. Defaults to True.

        Returns:
            IRNet: The network.
        """
        super().train(mode)
        self.backbone.eval()
        return self

    @torch.no_grad()
    def extract_feat(self, inputs: Tensor) -> Tuple[Tensor, ...]:
        """Feature maps of the frozen backbone.

        Args:
            inputs (Tensor): (N, 3, H, W).

        Returns:
            tuple[Tensor]: Maps (N, C, h, w), without graph.
        """
        return self.backbone(inputs)

    def loss(self, inputs: Tensor,
             data_samples: List[SegDataSample]) -> Dict[str, Tensor]:
        """Boundary and displacement losses (Sec. 4.3 to 4.5).

        Args:
            inputs (Tensor): (N, 3, H, W).
            data_samples (list[SegDataSample]): With ``gt_sem_seg`` at the
                size of the boundary map.

        Returns:
            dict[str, Tensor]: ``loss_bg``, ``loss_fg``, ``loss_neg`` and,
            with a displacement head, ``loss_dp_fg`` and ``loss_dp_bg``.

        Raises:
            KeyError: If a sample has no label map.
            ValueError: If label maps and boundary maps differ in size or are
                too small for the radius.
        """
        edge, field = self._forward(inputs)
        label = label_maps(data_samples)
        if label.shape[-2:] != edge.shape[-2:]:
            raise ValueError(
                f'The labels have {tuple(label.shape[-2:])} cells (height, '
                f'width), the boundary map {tuple(edge.shape[-2:])}. The '
                'factor of mmwsss.DownscaleLabel must be '
                f'{self.edge_head.stride}.')
        labels = pair_labels(label, self.radius, path_offsets(self.radius))
        losses = self.edge_head.loss(edge, labels, self.radius)
        if field is not None:
            losses.update(
                self.displacement_head.loss(field, *labels[:2], self.radius))
        return losses

    def predict_edge(self, image: Tensor) -> Tensor:
        """Boundary probabilities of one image.

        Args:
            image (Tensor): (3, H, W).

        Returns:
            Tensor: (h, w) with h = ceil(H / stride), w likewise.
        """
        h, w = image.shape[-2:]
        divisor = self.edge_head.deepest_stride
        pad = [
            max(self.propagate['crop_size'], -(-s // divisor) * divisor) - s
            for s in (h, w)
        ]
        views = torch.stack((image, image.flip(-1)))
        views = F.pad(views, (0, pad[1], 0, pad[0]))
        logits = self.edge_head(self.extract_feat(views))
        return merge_edges(logits, self.cells((h, w)))

    def cells(self, size: Tuple[int, int]) -> Tuple[int, int]:
        """Size of an image's boundary map.

        Args:
            size (tuple[int, int]): Height and width in pixels.

        Returns:
            tuple[int, int]: In cells.
        """
        return tuple(-(-s // self.edge_head.stride) for s in size)

    def refine(self, image: Tensor, cams: Tensor) -> Tensor:
        """Scores after the random walk (Sec. 5).

        Args:
            image (Tensor): (3, H, W).
            cams (Tensor): (k, h, w) in [0, 1].

        Returns:
            Tensor: (k + 1, H, W): the constant background score, then the
            classes, the highest value of all being 1.
        """
        options = dict(self.propagate)
        threshold = options.pop('threshold')
        del options['crop_size']
        size = tuple(image.shape[-2:])
        background = image.new_full((1, *size), threshold)
        if not len(cams):
            return background
        scores = walk_scores_irn(
            resize_cams(cams, self.cells(size)),
            self.predict_edge(image),
            size,
            stride=self.edge_head.stride,
            **options)
        return torch.cat((background, scores))

    @torch.no_grad()
    def calibrate_displacement(self, loader: Iterable[dict]) -> Tensor:
        """Set the displacement that is taken off in evaluation.

        The loss only sees differences of displacements; their mean over the
        training images shall be zero.

        Args:
            loader (Iterable[dict]): Batches of a data loader; of several
                processes each gives its share.

        Returns:
            Tensor: (2,), the mean over images, rows before columns.

        Raises:
            ValueError: If there is no displacement head or no image.
        """
        if self.displacement_head is None:
            raise ValueError('This IRNet has no displacement_head whose mean '
                             'could be taken.')
        mean = self.displacement_head.running_mean
        mean.zero_()
        total = mean.new_zeros(3, dtype=torch.float64)
        training = self.training
        self.eval()
        for batch in loader:
            inputs = self.data_preprocessor(batch, False)['inputs']
            field = self.displacement_head(self.extract_feat(inputs))
            total[:2] += field.double().mean((2, 3)).sum(0)
            total[2] += len(field)
        self.train(training)
        all_reduce(total)
        if not total[2]:
            raise ValueError('The loader gave no image.')
        mean.copy_(total[:2] / total[2])
        return mean

    def _forward(
        self,
        inputs: Tensor,
        data_samples: Optional[List[SegDataSample]] = None
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """Boundary logits (N, 1, h, w) and displacements (N, 2, h, w)."""
        feats = self.extract_feat(inputs)
        field = None
        if self.displacement_head is not None:
            field = self.displacement_head(feats)
        return self.edge_head(feats), field
