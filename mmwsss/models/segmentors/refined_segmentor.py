"""A segmentation model whose probabilities are refined at test time."""
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmwsss.registry import MODELS
from mmwsss.utils.memory import explain_memory

from .cam_refiner import take_options
from .cam_segmentor import refuse_pretrained


@MODELS.register_module()
class RefinedSegmentor(BaseSegmentor):
    """Any mmseg model with refiners after it.

    Training is that of the model inside. At test time its probabilities go
    through the refiners in their order: :class:`FrozenAffinity`,
    :class:`PAMR`, :class:`DenseCRFRefiner`, or any module that is called
    with (image (1, 3, H, W) RGB in grey levels, probabilities (1, C, h, w))
    and gives (1, C, h', w'). Where a sample has image-level labels and
    ``use_image_labels`` is set, classes that it lacks are taken out before;
    without labels none are needed.

    A sample also gets the mask before and after each refiner, for
    :class:`~mmwsss.evaluation.RefinementIoUMetric`.

    Only the background and classes that win at some position take part in a
    refiner. The others cost as much and would hardly ever win after it; their
    probabilities are 0 from there on.

    Args:
        segmentor (dict): The model, e.g. of type ``EncoderDecoder``. Give it
            no ``data_preprocessor``.
        refiners (Sequence[dict]): What follows, in this order; hence a list,
            not parts with names. Defaults to ().
        train_cfg (dict, optional): Unused, accepted like in mmseg.
        test_cfg (dict, optional): With keys

            - ``use_image_labels`` (bool): As above. Defaults to False.
            - ``long_side`` (int, optional): Images that are longer, in
              pixels, are refined at this size, and probabilities enlarged
              afterwards; time and memory then stay bounded. None refines
              every image at its input size. Defaults to None.

        data_preprocessor (dict, optional): See mmseg.
        init_cfg (dict, optional): Initialisation. Defaults to None.
        pretrained (None): There for mmseg's ``init_model``, which sets it.

    Raises:
        ValueError: If the model has a single output channel.
    """
    TEST_DEFAULTS = dict(use_image_labels=False, long_side=None)

    def __init__(self,
                 segmentor: dict,
                 refiners: Sequence[dict] = (),
                 train_cfg: dict | None = None,
                 test_cfg: dict | None = None,
                 data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None,
                 pretrained: None = None) -> None:
        super().__init__(
            data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        refuse_pretrained(pretrained)
        self.segmentor = MODELS.build(segmentor)
        self.refiners = nn.ModuleList(MODELS.build(r) for r in refiners)
        self.test_cfg = take_options('RefinedSegmentor.test_cfg', test_cfg,
                                     self.TEST_DEFAULTS)
        self.train_cfg = train_cfg
        self.out_channels = self.segmentor.out_channels
        self.num_classes = self.segmentor.num_classes
        self.align_corners = self.segmentor.align_corners
        if self.out_channels == 1:
            raise ValueError('RefinedSegmentor needs a model with one output '
                             'channel per class, background included; this '
                             'one has a single channel.')

    # ------------------------------------------------- what the model does
    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of the model, see mmseg."""
        return self.segmentor.extract_feat(inputs)

    def encode_decode(self, inputs: Tensor,
                      batch_img_metas: list[dict]) -> Tensor:
        """Logits of the model (N, C, H, W), see mmseg."""
        return self.segmentor.encode_decode(inputs, batch_img_metas)

    def loss(self, inputs: Tensor,
             data_samples: list[SegDataSample]) -> dict[str, Any]:
        """Losses of the model, see mmseg."""
        return self.segmentor.loss(inputs, data_samples)

    def _forward(self,
                 inputs: Tensor,
                 data_samples: list[SegDataSample] | None = None
                 ) -> Tensor:
        return self.segmentor._forward(inputs, data_samples)

    # ---------------------------------------------------------- prediction
    def predict(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Segment and refine.

        Args:
            inputs (Tensor): (N, 3, H, W).
            data_samples (list[SegDataSample], optional): See mmseg; with
                ``gt_label`` where image-level labels are to be used.

        Returns:
            list[SegDataSample]: With ``seg_logits`` (C, h, w), here
            probabilities, and ``pred_sem_seg`` (1, h, w), at the size of the
            original image; ``step_sem_seg`` (steps, h, w) with their
            ``step_names``.

        Raises:
            MemoryError: If there is not enough; names images and settings.
            ValueError: If an image does not suit a refiner; names it.
        """
        if data_samples is None:
            data_samples = [SegDataSample() for _ in inputs]
        names = ', '.join(str(s.get('img_id', '?')) for s in data_samples)
        height, width = inputs.shape[-2:]
        with explain_memory(
                f'image {names} ({width} x {height} pixels, {inputs.device})',
                'Refine it at a smaller size (model.test_cfg.long_side, now '
                f'{self.test_cfg["long_side"]}), take smaller batches, or '
                'shrink pictures in the test pipeline.'):
            return self._predict(inputs, data_samples)

    def _predict(self, inputs: Tensor,
                 data_samples: list[SegDataSample]) -> list[SegDataSample]:
        size, scale = tuple(inputs.shape[-2:]), 1.
        if self.test_cfg['long_side'] is not None:
            scale = min(self.test_cfg['long_side'] / max(size), 1.)
            size = tuple(max(round(s * scale), 1) for s in size)
        metas = [self._meta(s, inputs, size) for s in data_samples]
        infer = getattr(self.segmentor, 'inference',
                        self.segmentor.encode_decode)
        logits = infer(inputs, metas).float()
        images = self._grey_levels(inputs)
        if scale < 1:
            images = F.interpolate(
                images, size, mode='bilinear', antialias=True)
        for one, image, sample, meta in zip(logits, images, data_samples,
                                            metas):
            padding = meta['padding_size']
            h, w = (
                max(side - round(pad * scale), 1)
                for side, pad in zip(size, (padding[3], padding[1])))
            try:
                steps = self.refine(
                    self._probabilities(one[:, :h, :w], sample),
                    image[:, :h, :w])
            except ValueError as error:
                raise ValueError(f'Image {sample.get("img_id", "?")}: '
                                 f'{error}') from error
            masks = []
            for step in steps:
                found = self._at_original(step, meta)
                masks.append(found.argmax(dim=0))
            masks = torch.stack(masks)
            # What was left out on the way, and kernels like PAR's, leave
            # sums other than one.
            found = found / found.sum(dim=0, keepdim=True).clamp(min=1e-12)
            sample.set_data(
                dict(
                    seg_logits=PixelData(data=found),
                    pred_sem_seg=PixelData(data=masks[-1:]),
                    step_sem_seg=PixelData(data=masks)))
            sample.set_metainfo(dict(step_names=self.step_names))
        return data_samples

    @property
    def step_names(self) -> list[str]:
        """``'model'`` and what follows it, numbered where it repeats."""
        names = ['model']
        for refiner in self.refiners:
            name = type(refiner).__name__
            again = sum(n.split('_')[0] == name for n in names)
            names.append(f'{name}_{again + 1}' if again else name)
        return names

    @staticmethod
    def _meta(sample: SegDataSample, inputs: Tensor,
              size: tuple[int, int]) -> dict:
        """What mmseg's heads and this class read of a sample."""
        shape = tuple(inputs.shape[-2:])
        meta = dict(
            ori_shape=shape,
            img_shape=shape,
            pad_shape=shape,
            padding_size=[0, 0, 0, 0])
        meta.update(sample.metainfo)
        # What test-time padding of the preprocessor is called.
        meta['padding_size'] = meta.pop('img_padding_size',
                                        meta['padding_size'])
        # The head resizes its logits to this; padding is cut off after it.
        meta['img_shape'] = meta['pad_shape'] = size
        return meta

    def _grey_levels(self, inputs: Tensor) -> Tensor:
        """The inputs as RGB in grey levels."""
        mean = getattr(self.data_preprocessor, 'mean', None)
        if mean is None:
            return inputs.float()
        return inputs.float() * self.data_preprocessor.std + mean

    def _probabilities(self, logits: Tensor, sample: SegDataSample) -> Tensor:
        """Softmax (C, h, w) over the classes that may occur."""
        if self.test_cfg['use_image_labels'] and 'gt_label' in sample:
            present = torch.zeros(
                len(logits), dtype=torch.bool, device=logits.device)
            present[0] = True
            present[1:][sample.gt_label.label.to(logits.device)] = True
            logits = logits.masked_fill(~present[:, None, None], -torch.inf)
        return logits.softmax(dim=0)

    def refine(self, probs: Tensor, image: Tensor) -> list[Tensor]:
        """Apply all refiners to one image.

        Args:
            probs (Tensor): (C, h, w).
            image (Tensor): (3, H, W), RGB, grey levels.

        Returns:
            list[Tensor]: ``probs``, then (C, h', w') after each refiner.
        """
        steps = [probs]
        for refiner in self.refiners:
            kept = torch.cat((probs.argmax(dim=0).flatten(),
                              probs.new_zeros(1, dtype=torch.int64))).unique()
            # FrozenAffinity's forward belongs to CAMSegmentor.
            run = getattr(refiner, 'refine_maps', refiner)
            maps = run(image[None], probs[None, kept])[0]
            probs = maps.new_zeros((len(probs), *maps.shape[1:]))
            probs[kept] = maps
            steps.append(probs)
        return steps

    def _at_original(self, probs: Tensor, meta: dict) -> Tensor:
        """Undo flips and resize (C, h, w) to the original image."""
        if meta.get('flip'):
            axis = dict(horizontal=2, vertical=1)[meta['flip_direction']]
            probs = probs.flip(axis)
        size = tuple(meta['ori_shape'])[:2]
        if tuple(probs.shape[1:]) == size:
            return probs
        return F.interpolate(
            probs[None],
            size,
            mode='bilinear',
            align_corners=self.align_corners)[0]
