"""AMN: CAMs from a network that learns seed masks."""
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import (
    AttentionRequest,
    ViewOutput,
    ViewPair,
)

from ..localizers.fusion import normalize_maps, resize_maps
from .cam_segmentor import CAMSegmentor, cams_to_mask

LOAD_SEEDS = (
    "Put dict(type='mmwsss.LoadPseudoMask'{}) into the pipeline, after "
    "dict(type='mmwsss.LoadImage'), and their folder as mask_dir into the "
    'dataset.')


def resize_nearest(masks: Tensor, size: Sequence[int]) -> Tensor:
    """Masks at another size, each pixel the one at its middle.

    As Pillow does it, in whole numbers: row i is row
    floor((i + 1/2) * H / h).

    Args:
        masks (Tensor): (..., H, W).
        size (Sequence[int]): Height h and width w.

    Returns:
        Tensor: (..., h, w).
    """
    rows, columns = ((2 * torch.arange(n, device=masks.device) + 1) * full //
                     (2 * n) for n, full in zip(size, masks.shape[-2:]))
    return masks[..., rows[:, None], columns]


def scores_in_seeds(logits: Tensor, class_ids: Tensor, seeds: Tensor,
                    eps: float = 1e-5) -> Tensor:
    """CAMs of one image from its logits (AMN, arXiv 2203.16045).

    With p = softmax(logits) over all classes: where the seed says
    background, p; elsewhere, p with each map's minimum and maximum over the
    whole image brought to 0 and 1.

    Args:
        logits (Tensor): (K + 1, h, w), background first.
        class_ids (Tensor): Classes of the image without background (k,).
        seeds (Tensor): Seed mask (h, w), 0 = background; 255, unsure, counts
            as no background.
        eps (float): Keeps constant maps finite. Defaults to 1e-5.

    Returns:
        Tensor: (k + 1, h, w) in [0, 1], background first.
    """
    rows = torch.cat((class_ids.new_zeros(1), class_ids + 1))
    prob = logits.float().softmax(dim=0)[rows]
    return torch.where(seeds == 0, prob, normalize_maps(prob, 'minmax', eps))


@MODELS.register_module()
class AMN(CAMSegmentor):
    """Activation manipulation network (AMN, arXiv 2203.16045).

    A network learns confident seed masks, which a classifier's CAMs
    and a CRF gave, with smoothed targets, and is told the tags of its image.
    Its CAMs are flat where CAMs of classifiers peak, so one
    threshold suits all images.

    The view that regularizers get has the conditioned features as ``feats``,
    ``pixel_logits``, ``cams`` and ``labels``, but no ``logits``: there is no
    score of a whole image.

    Args:
        backbone (dict): Any mmseg or mmpretrain backbone, or one of ours.
        cls_head (dict): ``mmwsss.LabelConditionedHead``.
        seed_loss (dict, optional): Compares logits and seeds. Defaults to
            ``mmwsss.BalancedCrossEntropy`` with ``label_smoothing=0.4`` and
            ``loss_weight=0.5``.
        neck (dict, optional): Applied to the feature maps.
        regularizers (dict[str, dict], optional): Extra losses on one view, by
            name.
        train_cfg (dict, optional): Unused, accepted like in mmseg.
        test_cfg (dict, optional): With keys

            - ``scales`` (tuple[float]): Factors on the input size.
              Defaults to (1.0, 0.5, 1.5, 2.0).
            - ``flip`` (bool): Whether the mirror image takes part.
              Defaults to True.
            - ``interpolation``, ``size_divisor``: See :class:`CAMSegmentor`.
            - ``threshold`` (float): Background score of ``pred_sem_seg``.
              Defaults to 0.25.
        data_preprocessor (dict, optional): See mmseg.
        init_cfg (dict, optional): Initialisation. Defaults to None.
    """
    TEST_DEFAULTS = dict(
        scales=(1.0, 0.5, 1.5, 2.0),
        flip=True,
        interpolation='bilinear',
        size_divisor=None,
        threshold=0.25)

    def __init__(self,
                 backbone: dict,
                 cls_head: dict,
                 seed_loss: dict | None = None,
                 **kwargs: Any) -> None:
        super().__init__(
            backbone, cls_head, dict(type='mmwsss.CAM'), **kwargs)
        if self.second_view is not None:
            raise ValueError('AMN is trained on one view; take second_view '
                             'out of the model.')
        self.seed_loss = MODELS.build(
            seed_loss or dict(
                type='mmwsss.BalancedCrossEntropy',
                label_smoothing=0.4,
                loss_weight=0.5))

    def forward_view(self,
                     image: Tensor,
                     labels: Tensor | None = None,
                     request: AttentionRequest | None = None,
                     align: Callable[[Tensor], Tensor] | None = None,
                     last_only: bool | None = None) -> ViewOutput:
        """Run the network on a batch.

        Args:
            image (Tensor): (N, 3, H, W).
            labels (Tensor): Multi-hot tags (N, K).
            request (AttentionRequest, optional): Not supported.
            align (Callable, optional): Not supported.
            last_only (bool, optional): Not needed.

        Returns:
            ViewOutput: With the conditioned features in place of the map
            that the head reads, and lazy ``pixel_logits`` and ``cams``.
        """
        head = self.cls_head
        feats = list(self.extract_feat(image))
        feats[head.in_index] = head.condition(feats[head.in_index], labels)
        return ViewOutput(
            image,
            labels,
            fields=dict(feats=tuple(feats)),
            providers=dict(pixel_logits=head.pixel_logits, cams=head.cams))

    def loss(self, inputs: Tensor,
             data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """The loss on the seeds and the regularizers' terms.

        Args:
            inputs (Tensor): (N, 3, H, W).
            data_samples (list[SegDataSample]): With ``gt_label`` and, as
                ``gt_sem_seg`` (1, H, W), the seed masks: 0 background, c + 1
                class c, 255 unsure.

        Returns:
            dict[str, Tensor]: ``loss_seed``, the regularizers' terms and
            ``acc_seed``, the share in percent of the seeds' pixels that are
            predicted right.

        Raises:
            KeyError: If a sample has no tags or no seeds.
        """
        labels = self.stack_labels(data_samples, inputs)
        for sample in data_samples:
            if 'gt_sem_seg' not in sample:
                raise KeyError(
                    f'Image {sample.get("img_id", "?")} comes without seeds '
                    f'(gt_sem_seg). {LOAD_SEEDS.format("")}')
        view = self.forward_view(inputs, labels)
        logits = view.pixel_logits
        seeds = torch.cat([s.gt_sem_seg.data for s in data_samples])
        seeds = resize_nearest(seeds.to(logits.device), logits.shape[-2:])
        losses = dict(loss_seed=self.seed_loss(logits, seeds))
        losses.update(
            self.regularization_losses(
                ViewPair(view, data_samples=data_samples)))
        known = seeds != 255
        right = (logits.argmax(dim=1) == seeds) & known
        losses['acc_seed'] = 100 * right.sum() / known.sum().clamp(min=1)
        return losses

    def predict(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """CAMs (:func:`scores_in_seeds`) of the mean logits.

        Args:
            inputs (Tensor): (N, 3, H, W).
            data_samples (list[SegDataSample]): With ``gt_label`` and
                ``seed_sem_seg`` (1, h, w), the seed mask; their
                ``ori_shape`` is the size of the result.

        Returns:
            list[SegDataSample]: With ``cams`` float (k, h, w) in [0, 1] and
            ``class_ids`` int64 (k,), without background, and
            ``pred_sem_seg`` (1, h, w), where 0 is background and c + 1 is
            class c.

        Raises:
            KeyError: If a sample has no tags or no seeds.
        """
        data_samples = data_samples or [SegDataSample() for _ in inputs]
        labels = self.stack_labels(data_samples, inputs)
        for sample in data_samples:
            if 'seed_sem_seg' not in sample:
                load = LOAD_SEEDS.format(", key='seed_map'")
                raise KeyError(
                    f'Image {sample.get("img_id", "?")} comes without seeds '
                    f'(seed_sem_seg). {load}')
        views = []
        for scale in self.test_cfg['scales']:
            image, covered = self.scale_and_pad(inputs, scale)
            views.append((self.mean_logits(image, labels), covered))
        for i, sample in enumerate(data_samples):
            size = tuple(sample.get('ori_shape', inputs.shape[-2:]))[:2]
            logits = torch.stack([
                resize_maps(maps[i], size, self.align_corners, covered)
                for maps, covered in views
            ]).mean(dim=0)
            ids = sample.gt_label.label.to(inputs.device)
            seeds = sample.seed_sem_seg.data[0].to(inputs.device)
            cams = scores_in_seeds(logits, ids,
                                   resize_nearest(seeds, size))[1:]
            mask = cams_to_mask(cams, ids, self.test_cfg['threshold'])
            sample.set_data(
                dict(
                    cams=cams,
                    class_ids=ids,
                    pred_sem_seg=PixelData(data=mask[None])))
        return data_samples

    def mean_logits(self, image: Tensor, labels: Tensor) -> Tensor:
        """Logits of images, mean with those of their mirror images.

        Args:
            image (Tensor): (N, 3, H, W).
            labels (Tensor): Multi-hot tags (N, K).

        Returns:
            Tensor: (N, K + 1, h, w), float32; without the mirror images if
            ``test_cfg.flip`` is off.
        """
        logits = self.forward_view(image, labels).pixel_logits.float()
        if self.test_cfg['flip']:
            mirrored = self.forward_view(image.flip(-1), labels)
            logits = (logits + mirrored.pixel_logits.float().flip(-1)) / 2
        return logits

    def _forward(self,
                 inputs: Tensor,
                 data_samples: list[SegDataSample] | None = None
                 ) -> Tensor:
        """Logits (N, K + 1, h, w) for the tags, or as if all were there."""
        if data_samples is None:
            labels = inputs.new_ones(len(inputs), self.num_classes)
        else:
            labels = self.stack_labels(data_samples, inputs)
        return self.forward_view(inputs, labels).pixel_logits
