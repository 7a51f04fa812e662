"""One network from tags to masks, trained in two phases."""
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import ViewOutput
from mmwsss.utils.image import denormalize

from ..localizers.fusion import fuse_maps, normalize_maps, resize_maps
from ..utils.named_parts import build_parts
from ..utils.stack_valid import stack_valid
from ..utils.training_phase import has_reached
from .cam_refiner import take_options
from .cam_segmentor import (
    CAMSegmentor,
    explains_memory,
    pad_class_ids,
    present_classes,
)


@MODELS.register_module()
class EndToEndSegmentor(CAMSegmentor):
    """A classifier and a decoder on one encoder that teach themselves.

    (GETAM, arXiv 2112.02841, "double backward".) Phase 1 trains the
    classifier alone. In every step of phase 2 the CAMs of the batch's
    present classes are read, refined and completed to labels, as constants,
    by the network as it is; the decoder then learns these labels while the
    classifier goes on learning tags. Prediction is the decoder's.

    The maps come from a pass of their own, in float32, whose graph holds
    what the localizer differentiates and nothing else: one short backward
    pass per class slot for all images together. A localizer that reads no
    attention takes the maps of the training pass. With ``fused_labels`` (ToCo)
    the maps are those of a prediction, over scales and mirror images.

    Args:
        decode_head (dict): An mmseg decode head that reads the feature maps of
            backbone and neck, with ``num_classes`` = K + 1.
        label_maker (dict): From refined maps to labels, e.g.
            ``mmwsss.LabelCompletion`` or, where refinement is part of it,
            ``mmwsss.RefinedLabels``.
        seg_losses (dict[str, dict]): What the decoder is trained with, by
            name, e.g. ``dict(ce=dict(type='mmwsss.BalancedCrossEntropy'))``;
            see :func:`~mmwsss.models.utils.named_parts.build_parts`.
        label_refiner (dict, optional): Refines maps by the colours of the
            image, e.g. ``mmwsss.PAMR``. Defaults to None.
        train_cfg (dict, optional): With the keys

            - ``seg_start`` (float): Share of all steps after which phase 2
              begins. Outside a ``Runner``, which counts the steps, it has
              begun. Defaults to 0.5.
            - ``fused_labels`` (bool): Whether labels are made from maps fused
              over the scales and mirror images of ``test_cfg``, normalised
              as it says. Excludes a ``label_refiner``. Defaults to False.
            - ``auxiliary_until`` (float): Share of all steps up to which the
              maps for labels are those of the auxiliary head; needs
              ``fused_labels``. Defaults to 0.
        test_cfg (dict, optional): The keys of :class:`CAMSegmentor` say how
            the CAMs are made; ``flip``, ``normalize`` and ``eps``
            default to how it is done in training. ``threshold`` is not used.
            In addition ``pseudo_labels`` (bool): whether the prediction
            comes with CAMs and labels made like in training, where
            samples have tags. Defaults to True; switch it off where nobody
            reads them, e.g. for test-time augmentation, to save time.
        **kwargs: See :class:`CAMSegmentor`.

    Raises:
        ValueError: If a share is not in [0, 1], the heads do not agree on the
            classes, a regularizer and one of the ``seg_losses`` have one
            name, or settings of ``train_cfg`` exclude each other.
    """
    TEST_DEFAULTS = dict(
        CAMSegmentor.TEST_DEFAULTS,
        flip=False,
        normalize='max',
        # Not negligible: GETAM's maps are 1e-6 to 1e-4 high, so a weak map
        # stays weak beside the background.
        eps=1e-5,
        pseudo_labels=True)

    def __init__(self,
                 *args: Any,
                 decode_head: dict,
                 label_maker: dict,
                 seg_losses: dict[str, dict],
                 label_refiner: dict | None = None,
                 train_cfg: dict | None = None,
                 **kwargs: Any) -> None:
        train_cfg = take_options('model.train_cfg', train_cfg,
                                 dict(
                                     seg_start=0.5,
                                     fused_labels=False,
                                     auxiliary_until=0.))
        for key in ('seg_start', 'auxiliary_until'):
            if not 0 <= train_cfg[key] <= 1:
                raise ValueError(f'model.train_cfg.{key} is a share of the '
                                 'training steps in [0, 1], got '
                                 f'{train_cfg[key]}.')
        super().__init__(*args, train_cfg=train_cfg, **kwargs)
        if train_cfg['fused_labels'] and label_refiner:
            raise ValueError(
                'model.train_cfg.fused_labels=True normalises the maps before '
                'labels are made, and label_refiner would refine them '
                "afterwards. Take label_maker=dict(type='mmwsss.RefinedLabels'"
                ', refiner=...) and label_refiner=None.')
        if train_cfg['auxiliary_until'] and not (
                train_cfg['fused_labels'] and self.auxiliary_head):
            raise ValueError(
                'model.train_cfg.auxiliary_until makes labels from the maps '
                'of the auxiliary head; set model.train_cfg.fused_labels=True '
                'and an auxiliary_head.')
        if train_cfg['fused_labels'] and self.auxiliary_head:
            self.check_auxiliary_maps()
        self.decode_head = MODELS.build(decode_head)
        if self.decode_head.num_classes != self.num_classes + 1:
            raise ValueError(
                f'decode_head has {self.decode_head.num_classes} classes, but '
                'must have background and the '
                f'{self.num_classes} of cls_head. Set '
                f'model.decode_head.num_classes={self.num_classes + 1}.')
        self.label_refiner = MODELS.build(
            label_refiner) if label_refiner else None
        self.label_maker = MODELS.build(label_maker)
        self.seg_losses = build_parts(
            'seg_losses', seg_losses,
            "ce=dict(type='mmwsss.BalancedCrossEntropy')")
        both = sorted(self.regularizers.keys() & self.seg_losses.keys())
        if both:
            raise ValueError(
                f'regularizers and seg_losses both have {both}: their values '
                'would share a name in the log. Rename one of the two.')
        # How postprocess_result brings logits to the image's size (GETAM's
        # inference); inside, the head's own rule holds.
        self.align_corners = False
        self._told_no_saliency = False
        self._levels: tuple[list[float], list[float]] | None = None

    # ---------------------------------------------------------- training
    def segments_now(self) -> bool:
        """Whether the running step belongs to phase 2.

        The step is read from where the runner notes it, so a resumed run is
        in the phase it was in.

        Returns:
            bool: True outside a runner.
        """
        return has_reached(self.train_cfg['seg_start'])

    def loss(self, inputs: Tensor,
             data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Losses of the classifier and, in phase 2, of the decoder.

        Args:
            inputs (Tensor): (N, 3, H, W).
            data_samples (list[SegDataSample]): With ``gt_label``; where
                present, ``gt_saliency`` (1, H, W) is used and ``valid_mask``
                (1, H, W) tells image from padding.

        Returns:
            dict[str, Tensor]: That of :meth:`CAMSegmentor.loss`; in phase 2
            also those of the ``seg_losses``, each under its name and
            ``.loss`` (``ce.loss``), and ``label_foreground`` and
            ``label_ignored``, shares of the labels in percent.

        Raises:
            KeyError: If a sample has no tags, or some have saliency and some
                have not.
        """
        image, _ = self.scale_and_pad(inputs, 1.)
        if not self.segments_now():
            return self.classification_losses(image, data_samples)[1]
        picture = self.picture(inputs)
        own_pass = not self.train_cfg['fused_labels'] and (
            self.localizer.attention_request(self) is not None)
        if own_pass:
            # First, so that its graph is gone when the large one is built.
            labels, saliency = self.make_labels(
                inputs, data_samples, None, picture)
        view, losses = self.classification_losses(
            image, data_samples, reads_maps=True)
        if not own_pass:
            labels, saliency = self.make_labels(
                inputs, data_samples, view, picture)
        logits = self.segment(view, inputs.shape[-2:])
        aids = dict(
            image=picture.float(),
            valid=stack_valid(data_samples, inputs),
            saliency=saliency)
        for name, seg_loss in self.seg_losses.items():
            value = seg_loss(logits, labels, **aids)
            # Some need saliency; without any they have nothing to say.
            if value is not None:
                losses[f'{name}.loss'] = value
        ignored = labels == 255
        losses['label_foreground'] = 100 * (
            (labels > 0) & ~ignored).float().mean()
        losses['label_ignored'] = 100 * ignored.float().mean()
        return losses

    # Its graph is walked once per class, which compiled graphs refuse.
    @torch.compiler.disable
    @torch.no_grad()
    def make_labels(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample],
        view: ViewOutput | None = None,
        picture: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Labels of a training batch from its CAMs.

        (GETAM, "activation aware label completion".) No gradient reaches
        the maps, and none of a parameter is computed or touched.

        Args:
            inputs (Tensor): (N, 3, H, W).
            data_samples (list[SegDataSample]): See :meth:`loss`.
            view (ViewOutput, optional): Whose maps to read. None runs the
                network for them.
            picture (Tensor, optional): What :meth:`picture` gives. None
                makes it.

        Returns:
            tuple: Labels int64 (N, H, W): 0 background, c + 1 class c, 255
            unknown; saliency (N, H, W) with what the labels added, or None.

        Raises:
            KeyError: See :meth:`loss`.
        """
        if self.train_cfg['fused_labels']:
            maps, class_ids = self.fused_maps(inputs, data_samples, view)
        else:
            maps, class_ids = self.plain_maps(inputs, data_samples, view,
                                              picture)
        saliency = self.stack_saliency(data_samples, inputs)
        labels, saliency_after = self.make_label_maps(
            maps, class_ids, saliency, inputs, picture)
        if saliency is None:
            # A detector finds nothing in the padding; without one, it is
            # nobody's business what is there.
            labels = labels.masked_fill(
                ~stack_valid(data_samples, inputs), 255)
        return labels, saliency_after

    def fused_maps(self,
                   inputs: Tensor,
                   data_samples: list[SegDataSample],
                   view: ViewOutput | None = None) -> tuple[Tensor, Tensor]:
        """Maps of a batch over scales and mirror images.

        Args:
            inputs (Tensor): (N, 3, H, W).
            data_samples (list[SegDataSample]): With ``gt_label``.
            view (ViewOutput, optional): Whose ``fused_cams`` to read. None
                makes a view.

        Returns:
            tuple[Tensor, Tensor]: Normalised maps (N, K', H, W) and their
            classes (N, K').
        """
        if view is None:
            image, _ = self.scale_and_pad(inputs, 1.)
            view = ViewOutput(
                image, self.stack_labels(data_samples, inputs),
                providers=dict(fused_cams=self.fused_cams))
        fused, until = view.fused_cams, self.train_cfg['auxiliary_until']
        maps = fused.cams
        if until and not has_reached(until):
            maps = fused.auxiliary
        return maps[..., :inputs.shape[-2], :inputs.shape[-1]], fused.class_ids

    def plain_maps(
            self,
            inputs: Tensor,
            data_samples: list[SegDataSample],
            view: ViewOutput | None = None,
            picture: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Maps of a batch at its own size, refined, then normalised.

        Args:
            inputs (Tensor): (N, 3, H, W).
            data_samples (list[SegDataSample]): With ``gt_label``.
            view (ViewOutput, optional): Whose maps to read. None runs the
                network for them.
            picture (Tensor, optional): What :meth:`picture` gives. None
                makes it.

        Returns:
            tuple[Tensor, Tensor]: Normalised maps (N, K', H, W) and their
            classes (N, K').
        """
        class_ids = present_classes(
            self.stack_tags(data_samples) > 0.5, inputs)
        if class_ids.shape[1]:
            image, covered = self.scale_and_pad(inputs.float(), 1.)
            if view is None:
                # Maps of 1e-7 to 1e-5 would not survive half precision.
                with torch.autocast(inputs.device.type, enabled=False):
                    view = self.forward_view(
                        image,
                        request=self.localizer.attention_request(self))
                    maps = self.localizer(self, view, class_ids)
            else:
                maps = self.localizer(self, view, class_ids)
            maps = self.enlarge(maps.detach().float(), inputs.shape[-2:],
                                covered)
        else:
            maps = inputs.new_zeros((len(inputs), 0, *inputs.shape[-2:]))
        maps = self.refine(maps, inputs, picture)
        maps = normalize_maps(maps.flatten(0, 1), 'max',
                              1e-5).unflatten(0, maps.shape[:2])
        return maps, class_ids

    def make_label_maps(
            self,
            maps: Tensor,
            class_ids: Tensor,
            saliency: Tensor | None,
            inputs: Tensor,
            picture: Tensor | None = None,
            **options: Any) -> tuple[Tensor, Tensor | None]:
        """What the label maker makes of normalised maps.

        Args:
            maps (Tensor): (N, K', h, w).
            class_ids (Tensor): (N, K'), -1 as padding.
            saliency (Tensor, optional): (N, h, w).
            inputs (Tensor): The images (N, 3, H, W), for a label maker that
                ``reads_image``.
            picture (Tensor, optional): What :meth:`picture` gives. None
                makes it.
            **options: For the label maker.

        Returns:
            tuple: See :meth:`make_labels`.
        """
        if not getattr(self.label_maker, 'reads_image', False):
            return self.label_maker(maps, class_ids, saliency, **options)
        if picture is None:
            picture = self.picture(inputs)
        return self.label_maker(
            maps, class_ids, saliency, image=picture, **options)

    def segment(self, view: ViewOutput, size: Sequence[int]) -> Tensor:
        """What the decoder makes of a view.

        Args:
            view (ViewOutput): With ``feats``; its image may be padded at the
                right and bottom.
            size (Sequence[int]): Height and width without the padding.

        Returns:
            Tensor: Logits (N, K + 1, *size), float32.
        """
        logits = self.decode_head(view.feats).float()
        if logits.shape[-2:] != view.image.shape[-2:]:
            logits = F.interpolate(
                logits,
                size=view.image.shape[-2:],
                mode='bilinear',
                align_corners=self.decode_head.align_corners)
        return logits[..., :size[0], :size[1]]

    # ------------------------------------------------- what labels rest on
    def enlarge(self, maps: Tensor, size: Sequence[int],
                covered: tuple[float, float]) -> Tensor:
        """Bring a batch of CAMs to another size.

        Args:
            maps (Tensor): (N, K', h, w), over the padded input.
            size (Sequence[int]): Height and width.
            covered (tuple[float, float]): See :func:`resize_maps`.

        Returns:
            Tensor: (N, K', *size).
        """
        flat = resize_maps(
            maps.flatten(0, 1), tuple(size), self.localizer.align_corners,
            covered)
        return flat.unflatten(0, maps.shape[:2])

    def refine(self,
               maps: Tensor,
               inputs: Tensor,
               picture: Tensor | None = None) -> Tensor:
        """Refine CAMs by the colours of their images.

        Args:
            maps (Tensor): (N, K', H, W), of the present classes only.
            inputs (Tensor): (N, 3, H, W).
            picture (Tensor, optional): What :meth:`picture` gives. None
                makes it.

        Returns:
            Tensor: (N, K', H, W); ``maps`` without a ``label_refiner``.
        """
        if self.label_refiner is None:
            return maps
        if picture is None:
            picture = self.picture(inputs)
        return self.label_refiner(picture, maps)

    def picture(self, inputs: Tensor) -> Tensor:
        """The images of a batch, in whole levels (see ``denormalize``).

        Args:
            inputs (Tensor): (N, 3, H, W), as the preprocessor left them.

        Returns:
            Tensor: uint8 (N, 3, H, W).
        """
        preprocessor = self.data_preprocessor
        if getattr(preprocessor, '_enable_normalize', False):
            if self._levels is None:
                # Read once, as they lie on the device. Their buffers are
                # float32: 123.675 comes back as 123.67500305.
                self._levels = tuple(
                    [round(v, 4) for v in values.flatten().tolist()]
                    for values in (preprocessor.mean, preprocessor.std))
            return denormalize(inputs.float(), *self._levels)
        return inputs.clamp(0, 255).to(torch.uint8)

    def has_saliency(self, data_samples: Sequence[SegDataSample]) -> bool:
        """Whether the images of a batch come with saliency.

        Args:
            data_samples (Sequence[SegDataSample]): All or none with
                ``gt_saliency``.

        Returns:
            bool: Whether they do.

        Raises:
            KeyError: If some have it and some have not.
        """
        lacking = [
            str(sample.get('img_id', '?')) for sample in data_samples
            if 'gt_saliency' not in sample
        ]
        if not lacking:
            return True
        if len(lacking) < len(data_samples):
            raise KeyError(
                f'{len(lacking)} of {len(data_samples)} images of a batch '
                f'come without saliency (gt_saliency): {", ".join(lacking)}. '
                "Put dict(type='mmwsss.LoadSaliency') into the pipelines of "
                'all datasets or of none.')
        if not self._told_no_saliency and getattr(
                self.label_maker, 'reads_saliency', True):
            self._told_no_saliency = True
            print_log(
                'The images come without saliency: labels are made by '
                'thresholds on the CAMs alone, which is no part of '
                "GETAM. With maps, set data_prefix=dict(saliency_path=...) "
                "and put dict(type='mmwsss.LoadSaliency') into the pipeline.",
                logger='current')
        return False

    def stack_saliency(self, data_samples: Sequence[SegDataSample],
                       inputs: Tensor) -> Tensor | None:
        """What a saliency detector found in the images of a batch.

        Args:
            data_samples (Sequence[SegDataSample]): All or none with
                ``gt_saliency`` (1, h, w), of one size.
            inputs (Tensor): Gives the device.

        Returns:
            Tensor | None: float (N, h, w) of 0 and 1, or None.

        Raises:
            KeyError: If some have it and some have not.
        """
        if not self.has_saliency(data_samples):
            return None
        return torch.cat([s.gt_saliency.data > 0
                          for s in data_samples]).to(inputs).float()

    # --------------------------------------------------------- prediction
    def encode_decode(self, inputs: Tensor,
                      batch_img_metas: list[dict]) -> Tensor:
        """The decoder's logits at input size.

        Args:
            inputs (Tensor): (N, 3, H, W).
            batch_img_metas (list[dict]): Not needed.

        Returns:
            Tensor: (N, K + 1, H, W).
        """
        if self.needs_tiles(inputs, 1.):
            logits, _ = self.in_tiles(
                inputs, 1., lambda tile: self.segment(
                    self.forward_view(tile, last_only=False), tile.shape[-2:]))
            return logits[..., :inputs.shape[-2], :inputs.shape[-1]]
        image, _ = self.scale_and_pad(inputs, 1.)
        view = self.forward_view(image, last_only=False)
        return self.segment(view, inputs.shape[-2:])

    @explains_memory
    def predict(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """The decoder's masks, and the labels training would make.

        Args:
            inputs (Tensor): (N, 3, H, W).
            data_samples (list[SegDataSample], optional): Their ``ori_shape``
                is the size of the result.

        Returns:
            list[SegDataSample]: With ``seg_logits`` (K + 1, h, w) and
            ``pred_sem_seg`` (1, h, w), mirroring undone; with
            ``test_cfg.pseudo_labels`` and tags, see
            :meth:`add_pseudo_labels`.
        """
        data_samples = data_samples or [SegDataSample() for _ in inputs]
        for sample in data_samples:
            if 'ori_shape' not in sample:
                sample.set_metainfo(dict(ori_shape=tuple(inputs.shape[-2:])))
        self.postprocess_result(self.encode_decode(inputs, []), data_samples)
        if self.test_cfg['pseudo_labels']:
            self.add_pseudo_labels(inputs, data_samples)
        return data_samples

    def add_pseudo_labels(self, inputs: Tensor,
                          data_samples: list[SegDataSample]) -> None:
        """Put CAMs and the labels they give into the samples.

        Nothing is added where there are no tags (unless
        ``test_cfg.use_image_labels`` is off: then they are predicted), nor
        for mirrored images: those are looks of test-time augmentation, which
        reads logits alone.

        Args:
            inputs (Tensor): (N, 3, H, W).
            data_samples (list[SegDataSample]): Get ``cams`` float
                (K', h, w) in [0, 1], refined; ``class_ids`` int64 (K',);
                ``pseudo_sem_seg`` (1, h, w), where 0 is background, c + 1
                class c and 255 unknown; ``tag_scores`` (K,), the predicted
                probabilities.

        Raises:
            KeyError: If some samples have saliency and some have not.
        """
        cfg, class_ids = self.test_cfg, None
        if any(sample.get('flip') for sample in data_samples):
            return
        if cfg['use_image_labels']:
            if any('gt_label' not in sample for sample in data_samples):
                return
            class_ids = pad_class_ids([
                sample.gt_label.label.sort()[0] for sample in data_samples
            ], inputs)
        self.has_saliency(data_samples)  # all or none
        views, class_ids, scores = self.compute_cams(inputs, class_ids)
        maps = inputs.new_zeros((len(inputs), 0, *inputs.shape[-2:]))
        if views:
            maps = fuse_maps((self.enlarge(maps, inputs.shape[-2:], covered)
                              for maps, covered in views), cfg['fuse'])
        maps = self.refine(maps, inputs)
        counts = (class_ids >= 0).sum(dim=1).tolist()
        for i, sample in enumerate(data_samples):
            size = tuple(sample.ori_shape)[:2]
            ids = class_ids[i, :counts[i]]
            cams = inputs.new_zeros((len(ids), *size), dtype=torch.float32)
            if len(ids):
                cams = normalize_maps(
                    self.enlarge(maps[i:i + 1, :len(ids)], size, (1., 1.))[0],
                    cfg['normalize'], cfg['eps']).clamp(min=0)
            saliency = self.stack_saliency([sample], inputs)
            if saliency is not None:
                saliency = F.interpolate(saliency[None], size=size)[0]
            labels, _ = self.make_label_maps(
                cams[None], ids[None], saliency, inputs[i:i + 1])
            sample.set_data(
                dict(
                    cams=cams,
                    class_ids=ids,
                    tag_scores=scores[i],
                    pseudo_sem_seg=PixelData(data=labels)))

    def _forward(self,
                 inputs: Tensor,
                 data_samples: list[SegDataSample] | None = None
                 ) -> Tensor:
        """Logits (N, K + 1, H, W); what profilers and exporters run."""
        return self.encode_decode(inputs, [])
