"""Stage 1 of every method: a classifier that can say where."""
import functools
import logging
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from torch import Tensor

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import (
    AttentionRequest,
    FusedCAMs,
    ViewOutput,
    ViewPair,
)
from mmwsss.utils.memory import explain_memory
from mmwsss.utils.transfer import send

from ..localizers.fusion import (
    fuse_maps,
    normalize_maps,
    resize_image,
    resize_maps,
)
from ..localizers.tiles import Span, maps_in_tiles, resize_region
from ..refiners.frozen_affinity import FrozenAffinity
from ..utils.named_parts import build_parts

#: Of a backbone that is asked for it.
NO_ATTENTION = (
    '{backbone} shows neither attention nor class tokens, which {reader} '
    'reads. Use mmwsss.AttentionViT or mmwsss.HybridViT as backbone; on '
    "others, localizer=dict(type='mmwsss.CAM') with "
    "cls_head=dict(type='mmwsss.CAMHead', ...) works.")


def explains_memory(predict: Callable) -> Callable:
    """Let a ``predict`` say which image and setting memory lacks for.

    Args:
        predict (Callable): A method of a :class:`CAMSegmentor`.

    Returns:
        Callable: The method; it raises MemoryError where allocation fails.
    """

    @functools.wraps(predict)
    def wrapped(self, inputs, data_samples=None):
        names = ', '.join(
            str(sample.get('img_id', '?')) for sample in data_samples or ())
        height, width = inputs.shape[-2:]
        with explain_memory(
                f'image {names} ({width} x {height} pixels, {inputs.device})',
                'The network looks at model.test_cfg.max_pixels='
                f'{self.test_cfg.get("max_pixels")} pixels at once: set it '
                'lower, e.g. to 1048576, take smaller batches, or shrink '
                'pictures in the test pipeline.'):
            return predict(self, inputs, data_samples)

    return wrapped


@MODELS.register_module()
class CAMSegmentor(BaseSegmentor):
    """A classifier trained from tags whose CAMs segment.

    Training adds up the classification loss of one or two views and the
    terms of all regularizers. Prediction reads CAMs with the localizer,
    fuses scales and flips, normalises them per class and image, and
    thresholds them, so mmseg's metrics, visualizers and demos work unchanged.

    Args:
        backbone (dict): Any mmseg or mmpretrain backbone, or one of ours.
        cls_head (dict): A class head, e.g. ``mmwsss.ClassTokenHead``.
        localizer (dict): E.g. ``mmwsss.GETAM``.
        neck (dict, optional): Applied to the feature maps; with the class
            tokens if its class says ``reads_cls_tokens``, as
            ``mmwsss.DPTReassemble`` does.
        refiner (dict, optional): Gives the view's ``refined_cams``, e.g.
            ``mmwsss.PixelCorrelationModule``.
        second_view (dict, optional): E.g. ``mmwsss.HorizontalFlip``.
        auxiliary_head (dict, optional): A class head with a loss and CAMs of
            its own, e.g. a ``mmwsss.CAMHead`` with the ``in_index`` of an
            earlier block, for regularizers that compare the two.
        regularizers (dict[str, dict], optional): Extra losses by name, e.g.
            ``dict(acr=dict(type='mmwsss.AllPairsConsistency'))``; see
            :func:`~mmwsss.models.utils.named_parts.build_parts`.
        train_cfg (dict, optional): Unused, accepted like in mmseg.
        test_cfg (dict, optional): With keys

            - ``scales`` (tuple[float]): Factors on the input size.
              Defaults to (1.0,).
            - ``interpolation`` (str): How the input is scaled, ``'bilinear'``
              or ``'bicubic'``. Defaults to 'bilinear'.
            - ``size_divisor`` (int, optional): Inputs are padded to a
              multiple of it. None takes what backbone and neck need, see
              :attr:`size_divisor`. Defaults to None.
            - ``max_pixels`` (int, optional): Pixels that the network looks
              at at once. Views of a picture that have more, after scaling,
              are looked at in overlapping tiles, see
              :func:`~mmwsss.models.localizers.tiles.maps_in_tiles`; tags are
              then predicted for the whole picture, shrunk to so many pixels.
              Views for a localizer whose maps do not fit together are shrunk
              as well. None knows no limit. Defaults to None.
            - ``flip`` (bool): Whether the mirror image takes part.
              Defaults to True.
            - ``fuse`` (str): ``'sum'`` or ``'max'`` over scales and flips.
              Defaults to 'sum'.
            - ``flip_fuse`` (str, optional): The same for an image and its
              mirror image alone, e.g. 'max' for VWL, which then adds up the
              scales. None takes ``fuse``. Defaults to None.
            - ``normalize`` (str): A mode of :func:`normalize_maps`.
              Defaults to 'minmax'.
            - ``eps`` (float): Its ``eps``. Defaults to 1e-6.
            - ``threshold`` (float): Background score of ``pred_sem_seg``.
              Defaults to 0.4.
            - ``use_image_labels`` (bool): Take the classes from the sample's
              tags where it has some field ``gt_label`` (the protocol of all
              WSSS papers for training images), else from the prediction.
              Defaults to True.
            - ``tag_threshold`` (float): Probability from which a class is
              predicted to be present. Defaults to 0.5.
        data_preprocessor (dict, optional): See mmseg.
        init_cfg (dict, optional): Initialisation. Defaults to None.
        pretrained (None): There for mmseg's ``init_model``, which sets it;
            weights are given by ``init_cfg`` of the parts.
    """
    TEST_DEFAULTS = dict(
        scales=(1.0, ),
        interpolation='bilinear',
        size_divisor=None,
        max_pixels=None,
        flip=True,
        fuse='sum',
        flip_fuse=None,
        normalize='minmax',
        eps=1e-6,
        threshold=0.4,
        use_image_labels=True,
        tag_threshold=0.5)

    def __init__(self,
                 backbone: dict,
                 cls_head: dict,
                 localizer: dict,
                 neck: dict | None = None,
                 refiner: dict | None = None,
                 second_view: dict | None = None,
                 auxiliary_head: dict | None = None,
                 regularizers: dict[str, dict] | None = None,
                 train_cfg: dict | None = None,
                 test_cfg: dict | None = None,
                 data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None,
                 pretrained: None = None) -> None:
        super().__init__(
            data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        refuse_pretrained(pretrained)
        unknown = set(test_cfg or {}) - set(self.TEST_DEFAULTS)
        if unknown:
            raise KeyError(
                f'{type(self).__name__} does not know test_cfg keys '
                f'{sorted(unknown)}, '
                f'only {sorted(self.TEST_DEFAULTS)}.')
        self.backbone = MODELS.build(backbone)
        if neck is not None:
            self.neck = MODELS.build(neck)
        self.cls_head = MODELS.build(cls_head)
        self.localizer = MODELS.build(localizer)
        self.refiner = MODELS.build(refiner) if refiner else None
        if isinstance(self.refiner, FrozenAffinity) and \
                getattr(self.data_preprocessor, 'mean', None) is not None:
            self.refiner.input_mean, self.refiner.input_std = (
                values.flatten().tolist()
                for values in (self.data_preprocessor.mean,
                               self.data_preprocessor.std))
        self.second_view = MODELS.build(second_view) if second_view else None
        self.auxiliary_head = MODELS.build(
            auxiliary_head) if auxiliary_head else None
        if self.auxiliary_head is not None and (
                self.auxiliary_head.num_classes != self.cls_head.num_classes):
            raise ValueError(
                f'auxiliary_head has {self.auxiliary_head.num_classes} '
                f'classes, cls_head {self.cls_head.num_classes}. Set '
                'model.auxiliary_head.num_classes to the latter.')
        self.regularizers = build_parts(
            'regularizers', regularizers,
            "acr=dict(type='mmwsss.AllPairsConsistency')")
        if self.refiner is not None and list(
                self.refiner.parameters()) and not any(
                    r.needs_refined_cams and not r.detaches_refined_cams
                    for r in self.regularizers.values()):
            # Distributed training would stop at them.
            self.refiner.requires_grad_(False)
            print_log(
                f'No loss trains {type(self.refiner).__name__}: its weights '
                'stay as they are, and the CAMs that it refines are '
                'those of random weights unless a checkpoint has others.',
                logger='current',
                level=logging.WARNING)
        self.train_cfg = train_cfg
        self.test_cfg = {**self.TEST_DEFAULTS, **(test_cfg or {})}
        self.align_corners = self.localizer.align_corners
        self.num_classes = self.cls_head.num_classes
        self.out_channels = self.num_classes + 1
        if self.neck_reads_cls_tokens and not hasattr(self.backbone,
                                                      'forward_view'):
            raise ValueError(
                f'{type(self.neck).__name__} reads class tokens, of which '
                f'{type(self.backbone).__name__} has none. Use '
                'mmwsss.AttentionViT or mmwsss.HybridViT as backbone.')
        # A training that could not be tested in the end is refused now.
        request = self.localizer.attention_request(self)
        if request is not None and not hasattr(self.backbone, 'forward_view'):
            raise TypeError(NO_ATTENTION.format(
                backbone=type(self.backbone).__name__,
                reader=type(self.localizer).__name__))
        for regularizer in self.regularizers.values():
            if regularizer.needs_second_view and self.second_view is None:
                raise ValueError(
                    f'{type(regularizer).__name__} compares two views; add '
                    "e.g. second_view=dict(type='mmwsss.HorizontalFlip') to "
                    'the model.')
            if regularizer.needs_auxiliary_head and (
                    self.auxiliary_head is None):
                raise ValueError(
                    f'{type(regularizer).__name__} reads CAMs of an earlier '
                    'block; add e.g. auxiliary_head=dict(type='
                    "'mmwsss.CAMHead', in_index=0, ...) to the model.")
            if regularizer.needs_auxiliary_head:
                self.check_auxiliary_maps()
        for reader in (self.localizer, *self.regularizers.values()):
            if (reader.needs_pixel_logits
                    and not self.cls_head.with_background):
                raise ValueError(
                    f'{type(reader).__name__} reads a score of the '
                    'background at every position, which '
                    f'{type(self.cls_head).__name__} does not give; take '
                    "cls_head=dict(type='mmwsss.CAMHead', "
                    'with_background=True, ...).')
            if reader.needs_refined_cams and self.refiner is None:
                raise ValueError(
                    f'{type(reader).__name__} reads refined CAMs; add '
                    "refiner=dict(type='mmwsss.PixelCorrelationModule', ...) "
                    'to the model.')

    def check_auxiliary_maps(self) -> None:
        """Make sure that the localizer can read the auxiliary head.

        Raises:
            ValueError: If its CAMs are gradients of the class head.
        """
        request = self.localizer.attention_request(self)
        if request is not None and request.differentiates:
            raise ValueError(
                f'The CAMs of {type(self.localizer).__name__} are gradients '
                'of cls_head, so there are none of the auxiliary_head, which '
                'this model needs. Take '
                "localizer=dict(type='mmwsss.CAM') and "
                "cls_head=dict(type='mmwsss.CAMHead', ...).")

    # ------------------------------------------------------------- views
    @property
    def neck_reads_cls_tokens(self) -> bool:
        """Whether the neck is called with feature maps and class tokens."""
        return self.with_neck and getattr(self.neck, 'reads_cls_tokens',
                                          False)

    @property
    def reads_last_map_only(self) -> bool:
        """Whether classifying and localising read but the last map."""
        return (getattr(self.cls_head, 'in_index', -1) == -1
                and self.refiner is None and self.auxiliary_head is None
                and not self.regularizers)

    @property
    def size_divisor(self) -> int:
        """Input sizes that are multiples of this need no padding."""
        divisor = getattr(self.backbone, 'size_divisor', 1)
        if self.with_neck:
            divisor *= getattr(self.neck, 'grid_divisor', 1)
        return divisor

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of backbone and neck.

        Args:
            inputs (Tensor): (N, 3, H, W).

        Returns:
            tuple[Tensor]: Maps (N, C, h, w).
        """
        if self.neck_reads_cls_tokens:
            return self.forward_view(inputs, last_only=False).feats
        feats = self.backbone(inputs)
        return self.neck(feats) if self.with_neck else feats

    def forward_view(self,
                     image: Tensor,
                     labels: Tensor | None = None,
                     request: AttentionRequest | None = None,
                     align: Callable[[Tensor], Tensor] | None = None,
                     last_only: bool | None = None,
                     sizes: Sequence[tuple[int, int]] | None = None
                     ) -> ViewOutput:
        """Run the classifier on one view.

        Args:
            image (Tensor): (N, 3, H, W).
            labels (Tensor, optional): Multi-hot tags (N, K).
            request (AttentionRequest, optional): Attention to keep.
            align (Callable, optional): Token order, see
                :meth:`AttentionViT.embed`.
            last_only (bool, optional): Whether a neck that reads class tokens
                makes its last map only, ``feats`` being (last map,). None
                asks :attr:`reads_last_map_only`. Defaults to None.
            sizes (Sequence[tuple[int, int]], optional): Height and width of
                each image without padding, for a backbone that
                ``takes_sizes``. Defaults to None.

        Returns:
            ViewOutput: With lazy ``logits`` and ``cams``. Without patch
            tokens of the last block it has no ``feats`` of a neck.

        Raises:
            TypeError: If attention is asked of a backbone without any.
        """
        needs_graph = request is not None and request.differentiates
        if hasattr(self.backbone, 'forward_view'):
            if request is None:
                request = AttentionRequest()
            fields = self.backbone.forward_view(image, request, align)
            feats = fields.pop('feats', None) if self.with_neck else None
            if feats is not None and request.patch_tokens:
                with torch.set_grad_enabled(needs_graph
                                            or torch.is_grad_enabled()):
                    fields['feats'] = self._apply_neck(
                        feats, fields.get('cls_tokens', ()), last_only)
        elif request is not None:
            raise TypeError(NO_ATTENTION.format(
                backbone=type(self.backbone).__name__,
                reader='a configured head or regularizer'))
        elif sizes is not None:
            feats, valid = self.backbone.forward_sized(image, sizes)
            feats = (feats, )
            fields = dict(feats=self.neck(feats) if self.with_neck else feats)
            if valid is not None:
                fields['valid'] = valid
        else:
            fields = dict(feats=tuple(self.extract_feat(image)))

        def logits(view: ViewOutput) -> Tensor:
            with torch.set_grad_enabled(needs_graph
                                        or torch.is_grad_enabled()):
                return self.cls_head(view)

        given = tuple(fields)

        def auxiliary(view: ViewOutput) -> ViewOutput:
            head = self.auxiliary_head
            return ViewOutput(
                view.image,
                view.labels,
                fields={k: view.fields[k] for k in given},
                aligned=view.aligned,
                providers=dict(logits=head, cams=head.cams))

        providers = dict(
            logits=logits,
            cams=self.cls_head.cams,
            fused_cams=self.fused_cams)
        if self.auxiliary_head is not None:
            providers['auxiliary'] = auxiliary
        if self.cls_head.with_background:
            providers['pixel_logits'] = self.cls_head.pixel_logits
        if self.refiner is not None:
            providers['refined_cams'] = self.refiner
        return ViewOutput(image, labels, fields=fields, providers=providers)

    def _apply_neck(self, feats: tuple[Tensor, ...],
                    cls_tokens: tuple[Tensor, ...],
                    last_only: bool | None) -> tuple[Tensor, ...]:
        if not self.neck_reads_cls_tokens:
            return self.neck(feats)
        if last_only is None:
            last_only = self.reads_last_map_only
        return self.neck(feats, cls_tokens, last_only=last_only)

    def forward_views(
        self,
        image: Tensor,
        labels: Tensor,
        request: AttentionRequest | None,
        data_samples: Sequence[SegDataSample] = (),
        last_only: bool | None = None,
        sizes: Sequence[tuple[int, int]] | None = None
    ) -> ViewPair:
        """Both views of a training batch.

        Views of equal size share one forward pass of a transformer, which
        knows no batch statistics; a convolutional backbone sees them one
        after the other.

        Args:
            image (Tensor): (N, 3, H, W).
            labels (Tensor): (N, K).
            request (AttentionRequest, optional): Attention to keep.
            data_samples (Sequence[SegDataSample]): Handed on.
            last_only (bool, optional): See :meth:`forward_view`.
            sizes (Sequence[tuple[int, int]], optional): See
                :meth:`forward_view`.

        Returns:
            ViewPair: What regularizers get.
        """
        second = self.second_view
        if second is None:
            view = self.forward_view(
                image, labels, request, last_only=last_only, sizes=sizes)
            return ViewPair(view, data_samples=data_samples)
        if sizes is not None and len(set(sizes)) > 1:
            raise ValueError(
                'The images of this batch differ in size, and a second view '
                'of a padded batch would show its padding. Bring images to '
                'one size in the training pipeline, or train with '
                'batch_size=1.')
        n = len(image)
        other_image = second.apply(image)
        if hasattr(self.backbone, 'forward_view') and second.keeps_grid:
            both = self.forward_view(
                torch.cat((image, other_image)), torch.cat((labels, labels)),
                request, lambda tokens: torch.cat(
                    (tokens[:n], second.align_tokens(tokens[n:]))), last_only)
            view, other = both.split(n)
            # All of it in the first view's frame, the picture included.
            other.aligned, other.image = True, image
            return ViewPair(view, other, data_samples)
        view, other = (
            self.forward_view(x, labels, request, last_only=last_only)
            for x in (image, other_image))

        def inverse(maps: Tensor) -> Tensor:
            size = [
                round(m * a / b) for m, a, b in zip(
                    maps.shape[2:], image.shape[2:], other_image.shape[2:])
            ]
            return second.inverse(maps, size)

        return ViewPair(view, other, data_samples, second.apply, inverse)

    # ---------------------------------------------------------- training
    def loss(self, inputs: Tensor,
             data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Classification losses of all views and the regularizers' terms.

        Args:
            inputs (Tensor): (N, 3, H, W).
            data_samples (list[SegDataSample]): With ``gt_label``.

        Returns:
            dict[str, Tensor]: ``loss_cls`` (and ``loss_cls_view2``,
            ``loss_aux``), the regularizers' terms and ``acc_tags``, the share
            of right tags in percent.

        Raises:
            KeyError: If a sample has no tags.
        """
        return self.classification_losses(inputs, data_samples)[1]

    def classification_losses(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample],
        reads_maps: bool = False
    ) -> tuple[ViewOutput, dict[str, Tensor]]:
        """One training forward pass: all losses that need tags alone.

        Args:
            inputs (Tensor): (N, 3, H, W).
            data_samples (list[SegDataSample]): With ``gt_label``.
            reads_maps (bool): Whether the caller reads the feature maps of
                the view. Defaults to False.

        Returns:
            tuple[ViewOutput, dict[str, Tensor]]: The first view and what
            :meth:`loss` returns.

        Raises:
            KeyError: If a sample has no tags.
        """
        labels = self.stack_labels(data_samples, inputs)
        request = AttentionRequest.merge([
            self.cls_head.attention_request(),
            *([] if self.auxiliary_head is None else
              [self.auxiliary_head.attention_request()]),
            *(r.attention_request() for r in self.regularizers.values()),
            # None reads patch tokens.
            *([None] if reads_maps else [])
        ])
        sizes = None
        if getattr(self.backbone, 'takes_sizes', False):
            sizes = [tuple(s.img_shape[:2]) for s in data_samples]
            if len(set(sizes)) > 1 and (reads_maps or self.regularizers):
                # Each image has a grid of its own, and padding after it.
                readers = [
                    type(r).__name__ for r in self.regularizers.values()
                ] or [type(self).__name__]
                raise ValueError(
                    'The images of this batch differ in size, and '
                    f'{", ".join(readers)} would read the padding of their '
                    'feature maps. Bring images to one size in the training '
                    'pipeline, or train with batch_size=1.')
        pair = self.forward_views(
            inputs,
            labels,
            request,
            data_samples,
            last_only=False if reads_maps else None,
            sizes=sizes)
        pair.look = self.look
        view = pair.first
        losses = dict(loss_cls=self.cls_head.loss(view))
        if pair.second is not None:
            losses['loss_cls_view2'] = self.cls_head.loss(pair.second)
        if self.auxiliary_head is not None:
            self._check_auxiliary_index(view)
            losses['loss_aux'] = self.auxiliary_head.loss(view.auxiliary)
        losses.update(self.regularization_losses(pair))
        known = ~labels.isnan()
        right = ((view.logits.detach() > 0) == (labels > 0.5)) & known
        losses['acc_tags'] = 100 * right.sum() / known.sum().clamp(min=1)
        return view, losses

    def _check_auxiliary_index(self, view: ViewOutput) -> None:
        """Make sure that both heads do not read the same map."""
        index = getattr(self.auxiliary_head, 'in_index', -1)
        if not self.cls_head.reads_class_token_only and view.feats[
                index] is view.feats[getattr(self.cls_head, 'in_index', -1)]:
            raise ValueError(
                f'auxiliary_head (in_index={index}) reads the same feature '
                'map as cls_head, and so tells nothing of an earlier block. '
                f'There are {len(view.feats)} maps: let '
                'model.backbone.out_indices name an earlier block and the '
                'last, e.g. (9, 11), and set model.auxiliary_head.in_index '
                'to 0.')

    def look(self, image: Tensor) -> ViewOutput:
        """Class tokens of images beside those of a training batch.

        Args:
            image (Tensor): (N', 3, h, w), e.g. crops.

        Returns:
            ViewOutput: With ``cls_token`` and a graph. The last block
            computes no patch tokens.

        Raises:
            TypeError: If the backbone has no class token.
        """
        return self.forward_view(
            image, request=AttentionRequest(patch_tokens=False))

    @torch.compiler.disable
    @torch.no_grad()
    def fused_cams(self, view: ViewOutput) -> FusedCAMs:
        """CAMs of a training batch as a prediction would make them.

        Scales, mirror images, fusion and normalisation are those of
        ``test_cfg``. It takes passes of its own.

        Args:
            view (ViewOutput): With ``labels``.

        Returns:
            FusedCAMs: Of the main head and, where there is one, the auxiliary
            head.
        """
        size = tuple(view.image.shape[-2:])
        class_ids = present_classes(view.labels > 0.5, view.image)
        heads = 1 if self.auxiliary_head is None else 2
        views, _, _ = self.compute_cams(
            view.image, class_ids, auxiliary=heads == 2)
        return self.fuse_views(views, class_ids, size, heads)

    def fuse_views(self, views: list[tuple[Tensor, tuple[float, float]]],
                   class_ids: Tensor, size: tuple[int, int],
                   heads: int) -> FusedCAMs:
        """Join what :meth:`compute_cams` gives, as ``test_cfg`` says.

        Args:
            views (list): Pairs of maps (N, heads * K', h, w) and of the share
                of their height and width that is not padding.
            class_ids (Tensor): int64 (N, K'), -1 as padding.
            size (tuple[int, int]): Height and width of the result.
            heads (int): 1, or 2 with maps of the auxiliary head.

        Returns:
            FusedCAMs: Normalised.
        """
        cfg, shape = self.test_cfg, tuple(class_ids.shape)
        if shape[1]:
            maps = fuse_maps((resize_maps(
                maps.flatten(0, 1), size, self.localizer.align_corners,
                covered) for maps, covered in views), cfg['fuse'])
            maps = normalize_maps(maps, cfg['normalize'],
                                  cfg['eps']).clamp(min=0)
        else:
            maps = class_ids.new_zeros((0, *size), dtype=torch.float32)
        both = maps.view(shape[0], heads, shape[1], *size).unbind(dim=1)
        return FusedCAMs(class_ids, both[0], both[1] if heads == 2 else None)

    def parse_losses(
            self, losses: dict[str, Tensor]) -> tuple[Tensor, dict]:
        """Add up the losses, at once where all are scalars.

        mmengine's way gives the same, with a mean and a sum for each.

        Args:
            losses (dict[str, Tensor]): What :meth:`loss` returns.

        Returns:
            tuple[Tensor, dict]: The sum of those with ``loss`` in their
            names, and all of them with it for the log.
        """
        if any(not isinstance(v, Tensor) or v.dim() for v in losses.values()):
            return super().parse_losses(losses)
        total = torch.stack([v for k, v in losses.items() if 'loss' in k])
        total = total.sum()
        return total, OrderedDict(loss=total, **losses)

    def regularization_losses(self, pair: ViewPair) -> dict[str, Tensor]:
        """What the regularizers return.

        Args:
            pair (ViewPair): The views of a training step.

        Returns:
            dict[str, Tensor]: Their terms, each under the name of its
            regularizer, a dot and its own: ``acr.loss_activation``.
        """
        losses = {}
        for name, regularizer in self.regularizers.items():
            losses.update(add_prefix(regularizer(pair), name))
        return losses

    def stack_labels(self, data_samples: list[SegDataSample],
                     inputs: Tensor) -> Tensor:
        """Multi-hot tags (N, K) of a batch; nan where nobody knows.

        Args:
            data_samples (list[SegDataSample]): With ``gt_label``.
            inputs (Tensor): Gives device and type.

        Returns:
            Tensor: (N, K).

        Raises:
            KeyError: If a sample has no tags.
            ValueError: If the number of classes differs from the head's.
        """
        tags = self.stack_tags(data_samples)
        return send(tags, inputs.device).to(inputs)

    def stack_tags(self, data_samples: list[SegDataSample]) -> Tensor:
        """Multi-hot tags (N, K), where the samples have them.

        Args:
            data_samples (list[SegDataSample]): With ``gt_label``.

        Returns:
            Tensor: (N, K), on the host unless the samples were moved.

        Raises:
            KeyError: If a sample has no tags.
            ValueError: If the number of classes differs from the head's.
        """
        scores = []
        for sample in data_samples:
            if 'gt_label' not in sample:
                raise KeyError(
                    f'Image {sample.get("img_id", "?")} has no tags '
                    "(gt_label). Use mmwsss.ImageLevelDataset and end the "
                    "pipeline with dict(type='mmwsss.PackWSSSInputs').")
            if len(sample.gt_label.score) != self.num_classes:
                raise ValueError(
                    f'The dataset has {len(sample.gt_label.score)} classes '
                    f'without background, the head {self.num_classes}. Set '
                    'model.cls_head.num_classes to the former.')
            scores.append(sample.gt_label.score)
        return torch.stack(scores)

    # --------------------------------------------------------- prediction
    @explains_memory
    def predict(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """CAMs and the mask they give at the configured threshold.

        Args:
            inputs (Tensor): (N, 3, H, W).
            data_samples (list[SegDataSample], optional): Their ``ori_shape``
                is the size of the result, their ``gt_label`` names the
                classes if ``test_cfg.use_image_labels``.

        Returns:
            list[SegDataSample]: With ``cams`` float (K', h, w) in [0, 1],
            ``class_ids`` int64 (K',), ``pred_sem_seg`` (1, h, w) where 0 is
            background and c + 1 is class c, and ``tag_scores`` (K,), the
            predicted probabilities.
        """
        if data_samples is None:
            data_samples = [SegDataSample() for _ in inputs]
        class_ids = None
        if self.test_cfg['use_image_labels'] and all(
                'gt_label' in sample for sample in data_samples):
            class_ids = pad_class_ids(
                [sample.gt_label.label for sample in data_samples], inputs)
        views, class_ids, scores = self.compute_cams(inputs, class_ids)
        counts = (class_ids >= 0).sum(dim=1).tolist()
        for i, sample in enumerate(data_samples):
            size = tuple(sample.get('ori_shape', inputs.shape[-2:]))[:2]
            ids = class_ids[i, :counts[i]]
            cams = inputs.new_zeros((len(ids), *size), dtype=torch.float32)
            if len(ids):
                # One after the other: large pictures have large maps.
                cams = normalize_maps(
                    fuse_maps((
                        resize_maps(maps[i, :len(ids)], size,
                                    self.align_corners, covered)
                        for maps, covered in views
                    ), self.test_cfg['fuse']), self.test_cfg['normalize'],
                    self.test_cfg['eps']).clamp(min=0)
            mask = cams_to_mask(cams, ids, self.test_cfg['threshold'])
            sample.set_data(
                dict(
                    cams=cams,
                    class_ids=ids,
                    tag_scores=scores[i],
                    pred_sem_seg=PixelData(data=mask[None])))
        return data_samples

    # A localizer may walk its graph once per class, which compiled graphs
    # refuse, and every size of image would be compiled anew.
    @torch.compiler.disable
    def compute_cams(
        self,
        inputs: Tensor,
        class_ids: Tensor | None = None,
        auxiliary: bool = False
    ) -> tuple[list[tuple[Tensor, tuple[float, float]]], Tensor, Tensor]:
        """Raw CAMs of all scales and flips, not yet normalised.

        Args:
            inputs (Tensor): (N, 3, H, W).
            class_ids (Tensor, optional): (N, K'), -1 as padding. None takes
                the tags predicted at the first scale.
            auxiliary (bool): Whether maps of the auxiliary head follow those
                of the main head, (N, 2 K', h, w). Defaults to False.

        Returns:
            tuple: A list with a pair per view, of maps (N, K', h, w) and the
            share of their height and width that is not padding; the class
            ids (N, K'); the predicted probabilities (N, K).
        """
        cfg, n = self.test_cfg, len(inputs)
        request = self.localizer.attention_request(self)
        device = inputs.device
        views, scores = [], None
        for scale in cfg['scales']:
            tiled = self.needs_tiles(inputs, scale)
            if tiled and not self.localizer.fits_in_tiles:
                tiled, scale = False, self._scale_within_limit(inputs)
            # A classifier judges whole pictures, so of one in tiles a copy.
            image, covered = self.scale_and_pad(
                inputs, self._scale_within_limit(inputs) if tiled else scale)
            if cfg['flip']:
                image = torch.cat((image, image.flip(-1)))
            view, first = None, None
            with full_precision(request, device):
                if scores is None or not tiled:
                    view = self.forward_view(
                        image, request=None if tiled else request)
                if scores is None:
                    first = view.logits.detach()
            if first is not None:
                scores = first.float().sigmoid()
                scores = scores.unflatten(0, (-1, n)).mean(dim=0)
                if class_ids is None:
                    class_ids = present_classes(
                        scores > cfg['tag_threshold'], inputs)
            if class_ids.shape[1] == 0:
                break
            if tiled:
                del image, view
                views.append(
                    self._tiled_maps(inputs, scale, class_ids, auxiliary))
                continue
            asked = class_ids.repeat(len(image) // n, 1)
            with full_precision(request, device):
                maps = self.localize(view, asked, auxiliary).float()
            if cfg['flip']:
                maps = fuse_maps((maps[:n], maps[n:].flip(-1)),
                                 cfg['flip_fuse'] or cfg['fuse'])
            views.append((maps, covered))
        return views, class_ids, scores

    def _scale_within_limit(self, inputs: Tensor) -> float:
        """The scale at which pictures have ``max_pixels``, or few less."""
        # Sides are rounded.
        return 0.99 * (self.test_cfg['max_pixels'] /
                       math.prod(inputs.shape[-2:]))**0.5

    def localize(self, view: ViewOutput, class_ids: Tensor,
                 auxiliary: bool) -> Tensor:
        """Maps of one head or of both.

        Args:
            view (ViewOutput): One view of N images.
            class_ids (Tensor): int64 (N, K'), -1 as padding.
            auxiliary (bool): Whether maps of the auxiliary head follow.

        Returns:
            Tensor: (N, K', h, w), or (N, 2 K', h, w) with ``auxiliary``, of
            the size of the main head's.
        """
        maps = self.localizer(self, view, class_ids)
        if not auxiliary:
            return maps
        earlier = self.localizer(self, view.auxiliary, class_ids)
        if earlier.shape[2:] != maps.shape[2:]:
            # Those of a CNN are larger.
            earlier = F.interpolate(
                earlier,
                size=maps.shape[2:],
                mode='bilinear',
                align_corners=self.align_corners)
        return torch.cat((maps, earlier), dim=1)

    def _tiled_maps(self,
                    inputs: Tensor,
                    scale: float,
                    class_ids: Tensor,
                    auxiliary: bool = False
                    ) -> tuple[Tensor, tuple[float, float]]:
        """A pair of :meth:`class_maps`, one tile of one image at a time."""
        cfg = self.test_cfg
        request = self.localizer.attention_request(self)
        found = []
        for image, ids in zip(inputs.split(1), class_ids.split(1)):

            def run(tile: Tensor, ids: Tensor = ids) -> Tensor:
                return self.localize(
                    self.forward_view(tile, request=request), ids, auxiliary)

            maps, covered = self.in_tiles(image, scale, run)
            if cfg['flip']:
                mirrored, _ = self.in_tiles(image, scale, run, mirror=True)
                maps = fuse_maps((maps, mirrored),
                                 cfg['flip_fuse'] or cfg['fuse'])
            found.append(maps)
        return torch.cat(found), covered

    def needs_tiles(self, inputs: Tensor, scale: float) -> bool:
        """Whether a view is larger than ``test_cfg.max_pixels``.

        Args:
            inputs (Tensor): (N, 3, H, W).
            scale (float): Factor on height and width.

        Returns:
            bool: True if so.
        """
        limit = self.test_cfg['max_pixels']
        if getattr(self.backbone, 'takes_sizes', False):
            return False  # Frozen networks see all images at one size.
        return limit is not None and math.prod(
            scaled_size(inputs, scale)) > limit

    def in_tiles(self,
                 inputs: Tensor,
                 scale: float,
                 run: Callable[[Tensor], Tensor],
                 mirror: bool = False
                 ) -> tuple[Tensor, tuple[float, float]]:
        """Run something on a scaled batch tile by tile.

        Args:
            inputs (Tensor): (N, 3, H, W).
            scale (float): Factor on height and width.
            run (Callable): From a part of the batch to its maps.
            mirror (bool): Whether to run it on the mirror images, and to
                mirror the maps back. Defaults to False.

        Returns:
            tuple: Maps (N, K, h, w) of the whole, without graph, and what
            :meth:`scale_and_pad` says of padding.
        """
        size, divisor = scaled_size(inputs, scale), self._divisor()
        padded = [-(-s // divisor) * divisor for s in size]
        if self.test_cfg['interpolation'] != 'bilinear':
            # Antialiasing looks at more than two neighbours.
            inputs = resize_image(inputs, size,
                                  self.test_cfg['interpolation'])

        def cut(rows: Span, columns: Span) -> Tensor:
            if mirror:
                columns = Span(padded[1] - columns.stop,
                               padded[1] - columns.start)
            spans = rows, columns
            inner = [
                Span(min(span.start, s), min(span.stop, s))
                for span, s in zip(spans, size)
            ]
            down, right = (
                outer.stop - outer.start - (part.stop - part.start)
                for outer, part in zip(spans, inner))
            tile = F.pad(
                resize_region(inputs, size, *inner), (0, right, 0, down))
            return tile.flip(-1) if mirror else tile

        maps = maps_in_tiles(padded, self.test_cfg['max_pixels'],
                             math.lcm(32, divisor), cut, run)
        return (maps.flip(-1) if mirror else maps,
                tuple(s / p for s, p in zip(size, padded)))

    def _divisor(self) -> int:
        return self.test_cfg['size_divisor'] or self.size_divisor

    def scale_and_pad(
            self, inputs: Tensor,
            scale: float) -> tuple[Tensor, tuple[float, float]]:
        """Resize a batch and pad it to what the backbone can divide.

        Padding is zero, the mean colour, at the right and bottom.

        Args:
            inputs (Tensor): (N, 3, H, W).
            scale (float): Factor on height and width.

        Returns:
            tuple: The batch and the share of its height and width that is
            not padding.
        """
        size = scaled_size(inputs, scale)
        if scale != 1:
            inputs = resize_image(inputs, size,
                                  self.test_cfg['interpolation'])
        divisor = self._divisor()
        padded = [-(-s // divisor) * divisor for s in size]
        inputs = F.pad(inputs,
                       (0, padded[1] - size[1], 0, padded[0] - size[0]))
        return inputs, (size[0] / padded[0], size[1] / padded[1])

    def encode_decode(self, inputs: Tensor,
                      batch_img_metas: list[dict]) -> Tensor:
        """Scores of background and all classes at input size.

        Args:
            inputs (Tensor): (N, 3, H, W).
            batch_img_metas (list[dict]): Not needed.

        Returns:
            Tensor: (N, K + 1, H, W): the threshold, then the CAMs of
            the predicted tags, zero for all others.
        """
        empty = inputs.new_zeros(
            (self.num_classes + 1, *inputs.shape[-2:]))
        empty[0] = self.test_cfg['threshold']
        # Not in place: gradients may be on.
        return torch.stack([
            empty.index_copy(0, sample.class_ids + 1, sample.cams.to(empty))
            for sample in self.predict(inputs)
        ])

    def _forward(self,
                 inputs: Tensor,
                 data_samples: list[SegDataSample] | None = None
                 ) -> Tensor:
        """Class logits (N, K); what profilers and exporters run."""
        return self.forward_view(inputs).logits


def full_precision(request: AttentionRequest | None,
                   device: torch.device) -> AbstractContextManager:
    """Without autocast where attention is read.

    Maps of 1e-7 to 1e-5 would not survive half precision.

    Args:
        request (AttentionRequest, optional): What a localizer reads.
        device (torch.device): Of the batch.

    Returns:
        AbstractContextManager: For the passes and the localizer.
    """
    return nullcontext() if request is None else torch.autocast(
        device.type, enabled=False)


def scaled_size(inputs: Tensor, scale: float) -> list[int]:
    """Height and width of a batch at a scale.

    Args:
        inputs (Tensor): (N, 3, H, W).
        scale (float): Factor on height and width.

    Returns:
        list[int]: At least 1 each.
    """
    # int: traced for export, sizes are tensors.
    return [max(round(int(s) * scale), 1) for s in inputs.shape[-2:]]


def refuse_pretrained(pretrained: str | None) -> None:
    """Say where weights are given instead.

    Args:
        pretrained (str, optional): Argument of models of mmseg 0.x, which
            ``mmseg.apis.init_model`` sets to None.

    Raises:
        ValueError: If it is set.
    """
    if pretrained is not None:
        raise ValueError(
            f'pretrained={pretrained!r} is not known here. Give '
            "backbone=dict(init_cfg=dict(type='Pretrained', "
            f'checkpoint={pretrained!r})).')


def pad_class_ids(class_ids: Sequence[Tensor], like: Tensor) -> Tensor:
    """Stack index lists of different lengths.

    Args:
        class_ids (Sequence[Tensor]): Per image int64 (k,).
        like (Tensor): Gives the device.

    Returns:
        Tensor: int64 (N, K'), filled up with -1.
    """
    padded = torch.nn.utils.rnn.pad_sequence(
        [torch.as_tensor(ids) for ids in class_ids],
        batch_first=True,
        padding_value=-1)
    return send(padded, like.device)


def present_classes(tags: Tensor, like: Tensor) -> Tensor:
    """Which classes each image has.

    Args:
        tags (Tensor): Bool (N, K). On a GPU this waits, once.
        like (Tensor): Gives the device.

    Returns:
        Tensor: int64 (N, K'), ascending, filled up with -1.
    """
    return pad_class_ids([row.nonzero()[:, 0] for row in tags.cpu()], like)


def cams_to_mask(cams: Tensor, class_ids: Tensor,
                 threshold: float) -> Tensor:
    """The class with the highest map where it exceeds the threshold.

    Args:
        cams (Tensor): (K', h, w).
        class_ids (Tensor): (K',).
        threshold (float): Constant background score; a tie is background.

    Returns:
        Tensor: int64 (h, w), 0 = background, c + 1 = class c.
    """
    if len(class_ids) == 0:
        return cams.new_zeros(cams.shape[-2:], dtype=torch.int64)
    score, best = cams.max(dim=0)
    return torch.where(score > threshold, class_ids[best] + 1, 0)
