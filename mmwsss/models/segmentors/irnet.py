"""IRNet: CAMs refined by a walk that boundaries stop."""
from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.pseudo_labels.instances import instances_irn
from mmwsss.pseudo_labels.pixel_pairs import pair_labels, path_offsets
from mmwsss.pseudo_labels.random_walk import walk_scores_irn
from mmwsss.registry import MODELS

from .cam_refiner import CAMRefiner, label_maps, resize_cams, take_options
from .cam_segmentor import refuse_pretrained


def merge_edges(logits: Tensor, size: tuple[int, int]) -> Tensor:
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
    Prediction diffuses the CAMs of a sample up to the boundaries; the
    displacements are of no use for semantic masks. With ``instances`` samples
    get ``pred_instances`` too: ``masks`` bool (n, H, W), which do not overlap,
    ``labels`` int64 (n,), classes 0..K-1, and ``scores`` float32 (n,) in
    [0, 1], all on the CPU. The displacement's mean must have been measured for
    that (:class:`mmwsss.engine.DisplacementMeanHook`).

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
            - ``cam_power`` (float): Exponent of the CAMs before the
              walk, above 0. AMN takes 1.3. Defaults to 1.
            - ``crop_size`` (int): Images are padded to this square, or where
              they are larger to a multiple of the deepest stride.
              Defaults to 512.
        instances (dict, optional): Predict instances, ``dict()`` with the
            published settings. Options, see
            :func:`~mmwsss.pseudo_labels.instances_irn`:

            - ``num_steps`` (int): Steps of the cells towards their centroid.
              Defaults to 300.
            - ``threshold`` (float): Displacements shorter than this, in
              cells, make a centre. Defaults to 2.5.
            - ``background`` (float): Score of the background.
              Defaults to 0.25.
            - ``min_area`` (float): Fragments smaller than this share of the
              image get score 0. Defaults to 0.01.

            None predicts masks only. Defaults to None.
        train_cfg (dict, optional): Unused, accepted like in mmseg.
        test_cfg (dict, optional): See :class:`CAMRefiner`.
        data_preprocessor (dict, optional): See mmseg.
        init_cfg (dict, optional): Initialisation. Defaults to None.

    Raises:
        KeyError: If an option is unknown.
        ValueError: If instances are wanted without displacement head.
    """
    PROPAGATE = dict(
        radius=5,
        beta=10,
        log_steps=8,
        threshold=0.25,
        cam_power=1,
        crop_size=512)
    INSTANCES = dict(
        num_steps=300, threshold=2.5, background=0.25, min_area=0.01)

    def __init__(self,
                 backbone: dict,
                 edge_head: dict,
                 displacement_head: dict | None = None,
                 radius: int = 10,
                 propagate: dict | None = None,
                 instances: dict | None = None,
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
        self.backbone.requires_grad_(False)
        self.edge_head = MODELS.build(edge_head)
        self.displacement_head = MODELS.build(
            displacement_head) if displacement_head else None
        self.radius = radius
        self.propagate = take_options('IRNet.propagate', propagate,
                                      self.PROPAGATE)
        self.instances = instances if instances is None else take_options(
            'IRNet.instances', instances, self.INSTANCES)
        if instances is not None and self.displacement_head is None:
            raise ValueError(
                'IRNet finds instances by displacements: add '
                "displacement_head=dict(type='mmwsss.DisplacementHead').")

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
    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of the frozen backbone.

        Args:
            inputs (Tensor): (N, 3, H, W).

        Returns:
            tuple[Tensor]: Maps (N, C, h, w), without graph.
        """
        return self.backbone(inputs)

    def loss(self, inputs: Tensor,
             data_samples: list[SegDataSample]) -> dict[str, Tensor]:
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
        feats = self._padded_feats(torch.stack((image, image.flip(-1))))
        return self._edge(feats, image)

    def predict_field(self, image: Tensor) -> Tensor:
        """Displacements of one image.

        Args:
            image (Tensor): (3, H, W).

        Returns:
            Tensor: (2, h, w) in cells, rows before columns, without their
            mean if that was measured.
        """
        return self._field(self._padded_feats(image[None]), image)

    def _padded_feats(self, views: Tensor) -> tuple[Tensor, ...]:
        """Features of (N, 3, H, W), padded at the right and bottom."""
        divisor = self.edge_head.deepest_stride
        pad = [
            max(self.propagate['crop_size'], -(-s // divisor) * divisor) - s
            for s in views.shape[-2:]
        ]
        return self.extract_feat(F.pad(views, (0, pad[1], 0, pad[0])))

    def _edge(self, feats: Sequence[Tensor], image: Tensor) -> Tensor:
        """Boundaries (h, w) from features of an image and its mirror."""
        return merge_edges(
            self.edge_head(feats), self.cells(image.shape[-2:]))

    def _field(self, feats: Sequence[Tensor], image: Tensor) -> Tensor:
        """Displacements (2, h, w) from features whose first is an image's."""
        h, w = self.cells(image.shape[-2:])
        return self.displacement_head([x[:1] for x in feats])[0, :, :h, :w]

    def cells(self, size: tuple[int, int]) -> tuple[int, int]:
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
        if not len(cams):
            return self._scores(cams, None, image)
        return self._scores(cams, self.predict_edge(image), image)

    def refine_sample(self, image: Tensor, cams: Tensor,
                      sample: SegDataSample) -> Tensor:
        """Scores of one image, and its instances where they are wanted.

        Args:
            image (Tensor): (3, H, W).
            cams (Tensor): (k, h, w) in [0, 1].
            sample (SegDataSample): With ``class_ids`` (k,); gets
                ``pred_instances``.

        Returns:
            Tensor: See :meth:`refine`.

        Raises:
            ValueError: If instances are wanted but the mean of the
                displacements was never measured.
        """
        if self.instances is None:
            return self.refine(image, cams)
        if not self.displacement_head.running_mean.any():
            raise ValueError(
                'the mean of the displacements was never measured, so all '
                'of them are off by one constant. Put '
                "dict(type='mmwsss.DisplacementMeanHook') into custom_hooks: "
                'it measures the mean when a training ends, and before a '
                'test of a checkpoint that lacks it. From Python: '
                'model.calibrate_displacement(loader).')
        feats = self._padded_feats(torch.stack((image, image.flip(-1))))
        edge = self._edge(feats, image)
        masks, index, scores = instances_irn(
            self._start(cams, image), edge, self._field(feats, image),
            tuple(image.shape[-2:]), **self.instances, **self._walk())
        sample.pred_instances = InstanceData(
            masks=masks, labels=sample.class_ids.cpu()[index], scores=scores)
        return self._scores(cams, edge, image)

    def _start(self, cams: Tensor, image: Tensor) -> Tensor:
        """CAMs (k, h, w) from which the walk starts."""
        cams = resize_cams(cams, self.cells(image.shape[-2:]))
        return cams**self.propagate['cam_power']

    def _walk(self) -> dict:
        """Options of the walk."""
        names = ('radius', 'beta', 'log_steps')
        return dict({name: self.propagate[name] for name in names},
                    stride=self.edge_head.stride)

    def _scores(self, cams: Tensor, edge: Tensor | None,
                image: Tensor) -> Tensor:
        """See :meth:`refine`; without class no boundaries are needed."""
        size = tuple(image.shape[-2:])
        scores = image.new_full((1, *size), self.propagate['threshold'])
        if len(cams):
            walked = walk_scores_irn(
                self._start(cams, image), edge, size, **self._walk())
            scores = torch.cat((scores, walked))
        return scores

    @torch.no_grad()
    def calibrate_displacement(self, loader: Iterable[dict]) -> Tensor:
        """Set the displacement that is taken off in evaluation.

        The loss only sees differences of displacements; their mean over the
        training images shall be zero. Images are looked at as in prediction:
        padded, because the padding enters the heads' normalisation, and only
        the cells of the image count.

        Args:
            loader (Iterable[dict]): Batches of images at their own size, from
                a data loader; of several processes each gives its share.

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
            data = self.data_preprocessor(batch, False)
            samples = data.get('data_samples')
            samples = samples or [SegDataSample() for _ in data['inputs']]
            for image, sample in zip(data['inputs'], samples):
                h, w = self._own_size(image, sample)
                field = self.predict_field(image[:, :h, :w])
                total[:2] += field.double().mean((1, 2))
                total[2] += 1
        self.train(training)
        all_reduce(total)
        if not total[2]:
            raise ValueError('The loader gave no image.')
        mean.copy_(total[:2] / total[2])
        return mean

    def _forward(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Boundary logits (N, 1, h, w) and displacements (N, 2, h, w)."""
        feats = self.extract_feat(inputs)
        field = None
        if self.displacement_head is not None:
            field = self.displacement_head(feats)
        return self.edge_head(feats), field
