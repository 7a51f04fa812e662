"""Stage 1 of every method: a classifier that can say where."""
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import AttentionRequest, ViewOutput

from ..localizers.fusion import (fuse_maps, normalize_maps, resize_image,
                                 resize_maps)


def merge_requests(
        requests: Sequence[Optional[AttentionRequest]]
) -> Optional[AttentionRequest]:
    """Join what several readers want of one forward pass.

    Args:
        requests (Sequence[AttentionRequest | None]): The wishes. None
            reads no attention, but possibly the patch tokens.

    Returns:
        AttentionRequest | None: One that serves all, None if all are None.

    Raises:
        ValueError: If one reader wants matrices per head and another
            head-averaged ones.
    """
    plain = [r for r in requests if r is None]
    requests = [r for r in requests if r is not None]
    if not requests:
        return None
    matrices = {r.matrices for r in requests} - {None}
    if len(matrices) > 1:
        raise ValueError('Two regularizers want attention in different forms '
                         f'({sorted(matrices)}); configure one of them.')
    layers = [
        r.class_rows_from for r in requests if r.class_rows_from is not None
    ]
    return AttentionRequest(
        matrices=matrices.pop() if matrices else None,
        class_rows_from=min(layers) if layers else None,
        affinity=any(r.affinity for r in requests),
        patch_tokens=bool(plain) or any(r.patch_tokens for r in requests))


@MODELS.register_module()
class CAMSegmentor(BaseSegmentor):
    """A classifier trained from tags whose class maps segment.

    Training adds up the classification loss of one or two views and the
    terms of all regularizers. Prediction reads class maps with the localizer,
    fuses scales and flips, normalises them per class and image, and
    thresholds them, so mmseg's metrics, visualizers and demos work unchanged.

    Args:
        backbone (dict): Any mmseg or mmpretrain backbone, or one of ours.
        decode_head (dict): A class head, e.g. ``mmwsss.ClassTokenHead``.
        localizer (dict): E.g. ``mmwsss.GETAM``.
        neck (dict, optional): Applied to the feature maps; with the class
            tokens if its class says ``reads_cls_tokens``, as
            ``mmwsss.DPTReassemble`` does.
        refiner (dict, optional): Gives the view's ``refined_cams``, e.g.
            ``mmwsss.PixelCorrelationModule``.
        second_view (dict, optional): E.g. ``mmwsss.HorizontalFlip``.
        regularizers (Sequence[dict], optional): Extra losses.
        train_cfg (dict, optional): Unused, accepted like in mmseg.
        test_cfg (dict, optional): With keys

            - ``scales`` (tuple[float]): Factors on the input size.
              Defaults to (1.0,).
            - ``interpolation`` (str): How the input is scaled, ``'bilinear'``
              or ``'bicubic'``. Defaults to 'bilinear'.
            - ``size_divisor`` (int, optional): Inputs are padded to a
              multiple of it. None takes what backbone and neck need, see
              :attr:`size_divisor`. Defaults to None.
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
                 decode_head: dict,
                 localizer: dict,
                 neck: Optional[dict] = None,
                 refiner: Optional[dict] = None,
                 second_view: Optional[dict] = None,
                 regularizers: Optional[Sequence[dict]] = None,
                 train_cfg: Optional[dict] = None,
                 test_cfg: Optional[dict] = None,
                 data_preprocessor: Optional[dict] = None,
                 init_cfg: Optional[dict] = None,
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
        self.decode_head = MODELS.build(decode_head)
        self.localizer = MODELS.build(localizer)
        self.refiner = MODELS.build(refiner) if refiner else None
        self.second_view = MODELS.build(second_view) if second_view else None
        self.regularizers = torch.nn.ModuleList(
            MODELS.build(cfg) for cfg in regularizers or ())
        self.train_cfg = train_cfg
        self.test_cfg = {**self.TEST_DEFAULTS, **(test_cfg or {})}
        self.align_corners = self.localizer.align_corners
        self.num_classes = self.decode_head.num_classes
        self.out_channels = self.num_classes + 1
        if self.neck_reads_cls_tokens and not hasattr(self.backbone,
                                                      'forward_view'):
            raise ValueError(
                f'{type(self.neck).__name__} reads class tokens, of which '
                f'{type(self.backbone).__name__} has none. Use '
                'mmwsss.AttentionViT or mmwsss.HybridViT as backbone.')
        for regularizer in self.regularizers:
            if regularizer.needs_second_view and self.second_view is None:
                raise ValueError(
                    f'{type(regularizer).__name__} compares two views; add '
                    "e.g. second_view=dict(type='mmwsss.HorizontalFlip') to "
                    'the model.')
        for reader in (self.localizer, *self.regularizers):
            if (reader.needs_pixel_logits
                    and not self.decode_head.with_background):
                raise ValueError(
                    f'{type(reader).__name__} reads a score of the '
                    'background at every position, which '
                    f'{type(self.decode_head).__name__} does not give; take '
                    "decode_head=dict(type='mmwsss.CAMHead', "
                    'with_background=True, ...).')
            if reader.needs_refined_cams and self.refiner is None:
                raise ValueError(
                    f'{type(reader).__name__} reads refined class maps; add '
                    "refiner=dict(type='mmwsss.PixelCorrelationModule', ...) "
                    'to the model.')

    # ------------------------------------------------------------- views
    @property
    def neck_reads_cls_tokens(self) -> bool:
        """Whether the neck is called with feature maps and class tokens."""
        return self.with_neck and getattr(self.neck, 'reads_cls_tokens',
                                          False)

    @property
    def reads_last_map_only(self) -> bool:
        """Whether classifying and localising read but the last map."""
        return (getattr(self.decode_head, 'in_index', -1) == -1
                and self.refiner is None and not self.regularizers)

    @property
    def size_divisor(self) -> int:
        """Input sizes that are multiples of this need no padding."""
        divisor = getattr(self.backbone, 'size_divisor', 1)
        if self.with_neck:
            divisor *= getattr(self.neck, 'grid_divisor', 1)
        return divisor

    def extract_feat(self, inputs: Tensor) -> Tuple[Tensor, ...]:
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
                     labels: Optional[Tensor] = None,
                     request: Optional[AttentionRequest] = None,
                     align: Optional[Callable[[Tensor], Tensor]] = None,
                     last_only: Optional[bool] = None) -> ViewOutput:
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

        Returns:
            ViewOutput: With lazy ``logits`` and ``cams``. Without patch
            tokens of the last block it has no ``feats`` of a neck.

        Raises:
            TypeError: If attention is asked of a backbone without any.
        """
        needs_graph = request is not None and \
            request.class_rows_from is not None
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
            raise TypeError(
                f'{type(self.backbone).__name__} shows no attention, but the '
                'configured localizer or a regularizer reads it. Use '
                'mmwsss.AttentionViT or mmwsss.HybridViT as backbone.')
        else:
            fields = dict(feats=tuple(self.extract_feat(image)))

        def logits(view: ViewOutput) -> Tensor:
            with torch.set_grad_enabled(needs_graph
                                        or torch.is_grad_enabled()):
                return self.decode_head(view)

        providers = dict(logits=logits, cams=self.decode_head.cams)
        if self.decode_head.with_background:
            providers['pixel_logits'] = self.decode_head.pixel_logits
        if self.refiner is not None:
            providers['refined_cams'] = self.refiner
        return ViewOutput(image, labels, fields=fields, providers=providers)

    def _apply_neck(self, feats: Tuple[Tensor, ...],
                    cls_tokens: Tuple[Tensor, ...],
                    last_only: Optional[bool]) -> Tuple[Tensor, ...]:
        if not self.neck_reads_cls_tokens:
            return self.neck(feats)
        if last_only is None:
            last_only = self.reads_last_map_only
        return self.neck(feats, cls_tokens, last_only=last_only)

    def forward_views(
        self,
        image: Tensor,
        labels: Tensor,
        request: Optional[AttentionRequest],
        last_only: Optional[bool] = None
    ) -> Tuple[ViewOutput, Optional[ViewOutput], Dict[str, Callable]]:
        """Both views of a training batch.

        Views of equal size share one forward pass of a transformer, which
        knows no batch statistics; a convolutional backbone sees them one
        after the other.

        Args:
            image (Tensor): (N, 3, H, W).
            labels (Tensor): (N, K).
            request (AttentionRequest, optional): Attention to keep.
            last_only (bool, optional): See :meth:`forward_view`.

        Returns:
            tuple: First view, second view or None, and the functions
            ``transform`` and ``inverse`` that a :class:`Regularizer` gets to
            bring maps of one view into the other one's frame.
        """
        second = self.second_view
        if second is None:
            view = self.forward_view(
                image, labels, request, last_only=last_only)
            return view, None, {}
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
            return view, other, dict.fromkeys(('transform', 'inverse'),
                                              lambda maps: maps)
        view, other = (
            self.forward_view(x, labels, request, last_only=last_only)
            for x in (image, other_image))

        def inverse(maps: Tensor) -> Tensor:
            size = [
                round(m * a / b) for m, a, b in zip(
                    maps.shape[2:], image.shape[2:], other_image.shape[2:])
            ]
            return second.inverse(maps, size)

        return view, other, dict(transform=second.apply, inverse=inverse)

    # ---------------------------------------------------------- training
    def loss(self, inputs: Tensor,
             data_samples: List[SegDataSample]) -> Dict[str, Tensor]:
        """Classification losses of all views and the regularizers' terms.

        Args:
            inputs (Tensor): (N, 3, H, W).
            data_samples (list[SegDataSample]): With ``gt_label``.

        Returns:
            dict[str, Tensor]: ``loss_cls`` (and ``loss_cls_view2``), the
            regularizers' terms and ``acc_tags``, the share of right tags in
            percent.

        Raises:
            KeyError: If a sample has no tags or two regularizers use one
                name.
        """
        return self.classification_losses(inputs, data_samples)[1]

    def classification_losses(
        self,
        inputs: Tensor,
        data_samples: List[SegDataSample],
        reads_maps: bool = False
    ) -> Tuple[ViewOutput, Dict[str, Tensor]]:
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
            KeyError: If a sample has no tags or two regularizers use one
                name.
        """
        labels = self.stack_labels(data_samples, inputs)
        request = merge_requests([
            self.decode_head.attention_request(),
            *(r.attention_request() for r in self.regularizers),
            # None reads patch tokens.
            *([None] if reads_maps else [])
        ])
        view, other, frames = self.forward_views(
            inputs, labels, request, last_only=False if reads_maps else None)
        losses = dict(loss_cls=self.decode_head.loss(view))
        if other is not None:
            losses['loss_cls_view2'] = self.decode_head.loss(other)
        self.add_terms(losses, view, other, frames, inputs, data_samples)
        right = (view.logits.detach() > 0) == (labels > 0.5)
        losses['acc_tags'] = 100 * right.float().mean()
        return view, losses

    def add_terms(self, losses: Dict[str, Tensor], view: ViewOutput,
                  other: Optional[ViewOutput], frames: Dict[str, Callable],
                  inputs: Tensor, data_samples: List[SegDataSample]) -> None:
        """Add what the regularizers return.

        Args:
            losses (dict[str, Tensor]): Changed.
            view (ViewOutput): First view.
            other (ViewOutput, optional): Second view.
            frames (dict): See :meth:`forward_views`.
            inputs (Tensor): (N, 3, H, W).
            data_samples (list[SegDataSample]): Of the batch.

        Raises:
            KeyError: If two of them use one name.
        """
        batch = dict(inputs=inputs, data_samples=data_samples)
        for regularizer in self.regularizers:
            terms = regularizer(view, other, **frames, batch=batch)
            taken = losses.keys() & terms.keys()
            if taken:
                raise KeyError(f'{type(regularizer).__name__} returns '
                               f'{sorted(taken)}, which another part of the '
                               'model already uses.')
            losses.update(terms)

    def stack_labels(self, data_samples: List[SegDataSample],
                     inputs: Tensor) -> Tensor:
        """Multi-hot tags (N, K) of a batch.

        Args:
            data_samples (list[SegDataSample]): With ``gt_label``.
            inputs (Tensor): Gives device and type.

        Returns:
            Tensor: (N, K).

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
                    'model.decode_head.num_classes to the former.')
            scores.append(sample.gt_label.score)
        return torch.stack(scores).to(inputs)

    # --------------------------------------------------------- prediction
    def predict(
        self,
        inputs: Tensor,
        data_samples: Optional[List[SegDataSample]] = None
    ) -> List[SegDataSample]:
        """Class maps and the mask they give at the configured threshold.

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
        views, class_ids, scores = self.class_maps(inputs, class_ids)
        for i, sample in enumerate(data_samples):
            size = tuple(sample.get('ori_shape', inputs.shape[-2:]))[:2]
            ids = class_ids[i][class_ids[i] >= 0]
            cams = inputs.new_zeros((len(ids), *size), dtype=torch.float32)
            if len(ids):
                cams = normalize_maps(
                    fuse_maps([
                        resize_maps(maps[i, :len(ids)], size,
                                    self.align_corners, covered)
                        for maps, covered in views
                    ], self.test_cfg['fuse']), self.test_cfg['normalize'],
                    self.test_cfg['eps']).clamp(min=0)
            mask = cams_to_mask(cams, ids, self.test_cfg['threshold'])
            sample.set_data(
                dict(
                    cams=cams,
                    class_ids=ids,
                    tag_scores=scores[i],
                    pred_sem_seg=PixelData(data=mask[None])))
        return data_samples

    def class_maps(
        self,
        inputs: Tensor,
        class_ids: Optional[Tensor] = None
    ) -> Tuple[List[Tuple[Tensor, Tuple[float, float]]], Tensor, Tensor]:
        """Raw class maps of all scales and flips, not yet normalised.

        Args:
            inputs (Tensor): (N, 3, H, W).
            class_ids (Tensor, optional): (N, K'), -1 as padding. None takes
                the tags predicted at the first scale.

        Returns:
            tuple: A list with a pair per view, of maps (N, K', h, w) and the
            share of their height and width that is not padding; the class
            ids (N, K'); the predicted probabilities (N, K).
        """
        cfg, n = self.test_cfg, len(inputs)
        request = self.localizer.attention_request(self)
        views, scores = [], None
        for scale in cfg['scales']:
            image, covered = self.scale_and_pad(inputs, scale)
            if cfg['flip']:
                image = torch.cat((image, image.flip(-1)))
            view = self.forward_view(image, request=request)
            if scores is None:
                scores = view.logits.detach().float().sigmoid()
                scores = scores.unflatten(0, (-1, n)).mean(dim=0)
                if class_ids is None:
                    class_ids = pad_class_ids([
                        (s > cfg['tag_threshold']).nonzero()[:, 0]
                        for s in scores
                    ], inputs)
            if class_ids.shape[1] == 0:
                break
            asked = class_ids.repeat(len(image) // n, 1)
            maps = self.localizer(self, view, asked).float()
            if cfg['flip']:
                maps = fuse_maps((maps[:n], maps[n:].flip(-1)),
                                 cfg['flip_fuse'] or cfg['fuse'])
            views.append((maps, covered))
        return views, class_ids, scores

    def scale_and_pad(
            self, inputs: Tensor,
            scale: float) -> Tuple[Tensor, Tuple[float, float]]:
        """Resize a batch and pad it to what the backbone can divide.

        Padding is zero, the mean colour, at the right and bottom.

        Args:
            inputs (Tensor): (N, 3, H, W).
            scale (float): Factor on height and width.

        Returns:
            tuple: The batch and the share of its height and width that is
            not padding.
        """
        # int: traced for export, sizes are tensors.
        size = [max(round(int(s) * scale), 1) for s in inputs.shape[-2:]]
        if scale != 1:
            inputs = resize_image(inputs, size,
                                  self.test_cfg['interpolation'])
        divisor = self.test_cfg['size_divisor'] or self.size_divisor
        padded = [-(-s // divisor) * divisor for s in size]
        inputs = F.pad(inputs,
                       (0, padded[1] - size[1], 0, padded[0] - size[0]))
        return inputs, (size[0] / padded[0], size[1] / padded[1])

    def encode_decode(self, inputs: Tensor,
                      batch_img_metas: List[dict]) -> Tensor:
        """Scores of background and all classes at input size.

        Args:
            inputs (Tensor): (N, 3, H, W).
            batch_img_metas (list[dict]): Not needed.

        Returns:
            Tensor: (N, K + 1, H, W): the threshold, then the class maps of
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
                 data_samples: Optional[List[SegDataSample]] = None
                 ) -> Tensor:
        """Class logits (N, K); what profilers and exporters run."""
        return self.forward_view(inputs).logits


def refuse_pretrained(pretrained: Optional[str]) -> None:
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
    longest = max(len(ids) for ids in class_ids)
    padded = torch.full((len(class_ids), longest), -1, device=like.device)
    for row, ids in zip(padded, class_ids):
        row[:len(ids)] = torch.as_tensor(ids)
    return padded


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
