"""A network and its moving average, whose branches label each other."""
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import (
    AttentionRequest,
    FusedCAMs,
    ViewOutput,
)

from ..localizers.fusion import fuse_maps, resize_maps
from ..utils.adaptive_thresholds import AdaptiveThresholds
from ..utils.momentum_copy import MomentumCopy
from ..utils.named_parts import build_parts
from ..utils.stack_valid import stack_valid
from .cam_segmentor import full_precision, present_classes
from .end_to_end_segmentor import EndToEndSegmentor


@MODELS.register_module()
class CoTrainingSegmentor(EndToEndSegmentor):
    """CAMs and decoder teach each other by way of a slow copy (CoSA).

    (Yang et al., "Weakly Supervised Co-training with Swapping Assignments",
    https://arxiv.org/abs/2402.17891.) The teacher is a moving average of the
    network. In phase 2 it looks at the batch over the scales and mirror
    images of ``test_cfg``; its CAMs become the labels of the student's
    decoder, and the probabilities of its decoder are what the student's CAMs
    learn. Labels made from the CAMs of the auxiliary head may train the
    decoder as well.

    The teacher follows in every training step, before it is asked; a forward
    pass that updates no weights, as with accumulated gradients, moves it
    too. Its weights are part of the checkpoint.

    Args:
        momentum (float): What the teacher keeps of itself in a step, in
            (0.5, 1). Defaults to 0.9994.
        cam_loss (dict, optional): Of the student's CAMs. None is
            ``dict(type='mmwsss.SwappedCAMLoss')``. Defaults to None.
        auxiliary_seg_losses (dict[str, dict], optional): What the decoder is
            trained with on labels of the auxiliary head's CAMs; its names
            must differ from those of ``seg_losses``. Defaults to None.
        adaptive_thresholds (dict, optional): Arguments of
            :class:`~mmwsss.models.utils.adaptive_thresholds.\
AdaptiveThresholds`, which then decides the thresholds of ``label_maker`` in
            training, ``mmwsss.RefinedLabels``. None leaves them as they are,
            as both published trainings do. Defaults to None.
        test_cfg (dict, optional): See :class:`EndToEndSegmentor`; also
            ``teacher`` (bool): whether predictions are the teacher's.
            Defaults to False.
        **kwargs: See :class:`EndToEndSegmentor`; of ``train_cfg``,
            ``seg_start`` counts. Labels are always made of fused maps.

    Raises:
        ValueError: If there is no ``auxiliary_head`` for
            ``auxiliary_seg_losses``, or settings exclude each other.
    """
    TEST_DEFAULTS = dict(EndToEndSegmentor.TEST_DEFAULTS, teacher=False)

    def __init__(self,
                 *args: Any,
                 momentum: float = 0.9994,
                 cam_loss: dict | None = None,
                 auxiliary_seg_losses: dict[str, dict] | None = None,
                 adaptive_thresholds: dict | None = None,
                 **kwargs: Any) -> None:
        if (kwargs.get('train_cfg') or {}).get('auxiliary_until'):
            raise ValueError(
                'model.train_cfg.auxiliary_until has no effect here: the '
                "teacher's CAMs are the labels from the first step of phase "
                '2 on. Take it out; auxiliary_seg_losses train the decoder '
                'on labels of the auxiliary head as well.')
        super().__init__(*args, **kwargs)
        self.train_cfg['fused_labels'] = True
        if self.auxiliary_head is not None:
            self.check_auxiliary_maps()
        if self.label_refiner is not None:
            raise ValueError(
                'CoTrainingSegmentor makes labels of normalised maps; take '
                "label_maker=dict(type='mmwsss.RefinedLabels', refiner=...) "
                'and label_refiner=None.')
        self.cam_loss = MODELS.build(
            cam_loss or dict(type='mmwsss.SwappedCAMLoss'))
        self.auxiliary_seg_losses = build_parts(
            'auxiliary_seg_losses', auxiliary_seg_losses,
            "ce_aux=dict(type='mmwsss.BalancedCrossEntropy')")
        both = sorted(self.auxiliary_seg_losses.keys() & (
            self.seg_losses.keys() | self.regularizers.keys()))
        if both:
            raise ValueError(
                f'auxiliary_seg_losses and other losses both have {both}: '
                'their values would share a name in the log. Rename one.')
        if len(self.auxiliary_seg_losses) and self.auxiliary_head is None:
            raise ValueError(
                'auxiliary_seg_losses need labels of an auxiliary_head; add '
                "e.g. auxiliary_head=dict(type='mmwsss.CAMHead', in_index=0, "
                '...) to the model.')
        self.adaptive_thresholds = None
        # Before there is a teacher, which is a copy of all that is there.
        self.teacher = MomentumCopy(self, momentum)
        if adaptive_thresholds is not None:
            if not getattr(self.label_maker, 'takes_thresholds', False):
                raise ValueError(
                    'adaptive_thresholds set the thresholds of a label_maker '
                    'that takes them, such as mmwsss.RefinedLabels, not of '
                    f'{type(self.label_maker).__name__}.')
            self.adaptive_thresholds = AdaptiveThresholds(
                **adaptive_thresholds)

    def train(self, mode: bool = True) -> 'CoTrainingSegmentor':
        """Set the mode; the teacher is always in that of a prediction."""
        super().train(mode)
        if hasattr(self, 'teacher'):
            self.teacher.eval()
        return self

    # ---------------------------------------------------------- training
    @torch.compiler.disable
    @torch.no_grad()
    def teach(self, image: Tensor,
              class_ids: Tensor) -> tuple[FusedCAMs, Tensor]:
        """What the teacher sees in a batch.

        Args:
            image (Tensor): (N, 3, H, W), of a size the network divides.
            class_ids (Tensor): int64 (N, K'), -1 as padding.

        Returns:
            tuple[FusedCAMs, Tensor]: Its CAMs, as a prediction makes them,
            and the sum of its decoder's logits over scales and mirror images,
            float32 (N, K + 1, H, W).
        """
        cfg, size, n = self.test_cfg, tuple(image.shape[-2:]), len(image)
        model = self.teacher.module
        # None reads patch tokens: the decoder.
        request = AttentionRequest.merge(
            [model.localizer.attention_request(model), None])
        heads = 1 if self.auxiliary_head is None else 2
        views, total = [], 0
        for scale in cfg['scales']:
            looked, covered = self.scale_and_pad(image, scale)
            if cfg['flip']:
                looked = torch.cat((looked, looked.flip(-1)))
            asked = class_ids.repeat(len(looked) // n, 1)
            with full_precision(request, image.device):
                view = model.forward_view(
                    looked, request=request, last_only=False)
                logits = model.decode_head(view.feats).float()
                if asked.shape[1]:
                    maps = model.localize(
                        view, asked, auxiliary=heads == 2).float()
            if cfg['flip']:
                logits = logits[:n] + logits[n:].flip(-1)
            if asked.shape[1]:
                if cfg['flip']:
                    maps = fuse_maps((maps[:n], maps[n:].flip(-1)),
                                     cfg['flip_fuse'] or cfg['fuse'])
                views.append((maps, covered))
            total = total + resize_maps(
                logits.flatten(0, 1), size, self.decode_head.align_corners,
                covered).unflatten(0, logits.shape[:2])
        return self.fuse_views(views, class_ids, size, heads), total

    def loss(self, inputs: Tensor,
             data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Losses of the student.

        Args:
            inputs (Tensor): (N, 3, H, W).
            data_samples (list[SegDataSample]): See :class:`EndToEndSegmentor`.

        Returns:
            dict[str, Tensor]: Those of :class:`EndToEndSegmentor`; in phase 2
            also ``loss_cam``, those of ``auxiliary_seg_losses``, and with
            ``adaptive_thresholds`` both thresholds.

        Raises:
            KeyError: If a sample has no tags.
        """
        self.teacher.update_parameters(self)
        image, _ = self.scale_and_pad(inputs, 1.)
        if not self.segments_now():
            return self.classification_losses(image, data_samples)[1]
        class_ids = present_classes(
            self.stack_tags(data_samples) > 0.5, inputs)
        # Without a graph, so nothing of it is left when the student's begins.
        fused, logits = self.teach(image, class_ids)
        view, losses = self.classification_losses(
            image, data_samples, reads_maps=True)
        losses['loss_cam'] = self.cam_loss(view.cams.float(), logits,
                                           view.labels)
        losses.update(self.decoder_losses(view, fused, inputs, data_samples))
        return losses

    def decoder_losses(
            self, view: ViewOutput, fused: FusedCAMs, inputs: Tensor,
            data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Losses of the student's decoder on labels of the teacher's CAMs.

        Args:
            view (ViewOutput): The student's.
            fused (FusedCAMs): The teacher's.
            inputs (Tensor): (N, 3, H, W).
            data_samples (list[SegDataSample]): See :meth:`loss`.

        Returns:
            dict[str, Tensor]: Named as :class:`EndToEndSegmentor` does.
        """
        picture = self.picture(inputs)
        saliency = self.stack_saliency(data_samples, inputs)
        valid = stack_valid(data_samples, inputs)
        losses, options = {}, {}
        maps = [
            m[..., :inputs.shape[-2], :inputs.shape[-1]]
            for m in (fused.cams, fused.auxiliary) if m is not None
        ]
        if self.adaptive_thresholds is not None:
            # Padding scores 0, which no threshold follows.
            scores = F.pad(maps[0], (0, 0, 0, 0, 1, 0)).amax(dim=1)
            options['thresholds'] = self.adaptive_thresholds.update(
                scores.masked_fill(~valid, 0))
            for name, value in zip(('bg_threshold', 'fg_threshold'),
                                   options['thresholds']):
                losses[name] = inputs.new_tensor(value)
        logits = self.segment(view, inputs.shape[-2:])
        for seg_losses, some in zip(
                (self.seg_losses, self.auxiliary_seg_losses), maps):
            if not len(seg_losses):
                continue
            labels, after = self.make_label_maps(
                some, fused.class_ids, saliency, inputs, picture, **options)
            if saliency is None:
                labels = labels.masked_fill(~valid, 255)
            for name, seg_loss in seg_losses.items():
                value = seg_loss(
                    logits, labels, image=picture.float(), valid=valid,
                    saliency=after)
                if value is not None:
                    losses[f'{name}.loss'] = value
            if some is maps[0]:
                ignored = labels == 255
                losses['label_foreground'] = 100 * (
                    (labels > 0) & ~ignored).float().mean()
                losses['label_ignored'] = 100 * ignored.float().mean()
        return losses

    # --------------------------------------------------------- prediction
    def predicting_teacher(self) -> EndToEndSegmentor:
        """The teacher, which predicts as ``test_cfg`` says now."""
        model = self.teacher.module
        model.test_cfg = dict(self.test_cfg, teacher=False)
        return model

    def encode_decode(self, inputs: Tensor,
                      batch_img_metas: list[dict]) -> Tensor:
        """The decoder's logits (N, K + 1, H, W), perhaps the teacher's."""
        if self.test_cfg['teacher']:
            return self.predicting_teacher().encode_decode(
                inputs, batch_img_metas)
        return super().encode_decode(inputs, batch_img_metas)

    def compute_cams(self, *args: Any, **kwargs: Any) -> tuple:
        """See :meth:`CAMSegmentor.compute_cams`; perhaps the teacher's."""
        if self.test_cfg['teacher']:
            return self.predicting_teacher().compute_cams(*args, **kwargs)
        return super().compute_cams(*args, **kwargs)
