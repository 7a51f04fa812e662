"""Training of an object finder without labels."""
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.pseudo_labels.object_discovery import PatchTokens
from mmwsss.registry import MODELS

from ..discovery import (
    LinearSaliency,
    ObjectDiscovery,
    cached_patch_tokens,
    read_patch_tokens,
    refine_masks,
)
from ..utils.training_phase import has_reached
from .cam_segmentor import refuse_pretrained


@MODELS.register_module()
class DiscoverySegmentor(BaseSegmentor):
    """FOUND's second step: many photographs teach what an object looks like.

    (Simeoni et al., CVPR 2023, https://arxiv.org/abs/2212.07834,
    self-training.) The finder of an :class:`ObjectDiscovery`, a linear map
    of frozen keys, learns with binary cross entropy from three targets: the
    masks of a rule that needs no training, refined; its own masks, refined;
    and, once the rule has done its part, its own masks as they are. Targets
    are constants. A refined mask is taken where it overlaps the mask before
    by half; it is brought back to the patches (bilinear), and a patch counts
    if any of it is left.

    The mean of a loss is over the patches of the batch, so training images
    should have one size; then 1 and N processes train alike. Frozen
    networks see images in grey levels: set ``mean=[0, 0, 0], std=[1, 1, 1],
    bgr_to_rgb=True`` in the data preprocessor.

    ``tools/train.py`` trains it, ``tools/discover_objects.py`` takes it from
    the work folder and writes saliency maps and proposals.

    Args:
        discovery (dict): Arguments of :class:`ObjectDiscovery` with an
            ``mmwsss.LinearSaliency`` as ``finder``. Its refiner is for
            predictions.
        teacher (dict): The rule, a finder that is not trained, such as
            ``mmwsss.BackgroundDiscovery``.
        refiner (dict, optional): Of the targets, see
            :class:`ObjectDiscovery`. Defaults to None.
        rule_share (float): Share of the training in which the rule teaches.
            Defaults to 0.2, FOUND's 100 of 500 steps.
        refined_weight (float): Of the loss to its own refined masks.
            Defaults to 1.5.
        own_weight (float): Of the loss to its own masks. Defaults to 4.
        train_cfg (dict, optional): Unused, accepted like in mmseg.
        test_cfg (dict, optional): Unused, accepted like in mmseg.
        data_preprocessor (dict, optional): See mmseg.
        init_cfg (dict, optional): Initialisation. Defaults to None.
        pretrained (None): There for mmseg's ``init_model``, which sets it.

    Raises:
        ValueError: If the finder cannot be trained.
    """
    #: It knows no classes.
    class_agnostic = True

    def __init__(self,
                 discovery: dict,
                 teacher: dict,
                 refiner: dict | None = None,
                 rule_share: float = 0.2,
                 refined_weight: float = 1.5,
                 own_weight: float = 4.,
                 train_cfg: dict | None = None,
                 test_cfg: dict | None = None,
                 data_preprocessor: dict | None = None,
                 init_cfg: dict | None = None,
                 pretrained: None = None) -> None:
        super().__init__(
            data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        refuse_pretrained(pretrained)
        self.discovery = ObjectDiscovery(**discovery)
        if not isinstance(self.discovery.finder, LinearSaliency):
            raise ValueError(
                'DiscoverySegmentor trains an mmwsss.LinearSaliency, but '
                'discovery.finder is an '
                f'{type(self.discovery.finder).__name__}.')
        self.teacher = MODELS.build(teacher)
        self.refiner = None if refiner is None else MODELS.build(refiner)
        self.rule_share = rule_share
        self.refined_weight = refined_weight
        self.own_weight = own_weight

    # ------------------------------------------------------------- training
    def loss(self, inputs: Tensor,
             data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            inputs (Tensor): (N, 3, H, W), RGB, grey levels, padded at the
                right and bottom where images differ in size.
            data_samples (list[SegDataSample]): Nothing but their
                ``img_shape`` is read.

        Returns:
            dict[str, Tensor]: ``loss_refined`` and either ``loss_rule`` or
            ``loss_own``, scalars with their weights.

        Raises:
            ValueError: If an image is too long, or the network does not
                suit the teacher.
        """
        images = [
            image[None, :, :sample.img_shape[0], :sample.img_shape[1]]
            for image, sample in zip(inputs, data_samples)
        ]
        network = self.discovery.network
        if len({image.shape for image in images}) == 1:
            tokens = cached_patch_tokens(network, torch.cat(images))
        else:
            tokens = [cached_patch_tokens(network, i)[0] for i in images]
        logits = [self.discovery.finder.logits(t) for t in tokens]
        rule = not has_reached(self.rule_share)
        targets = [
            self.targets(*one, rule)
            for one in zip(images, tokens, logits)
        ]
        # One row per target, all patches of the batch.
        flat = torch.cat([one.flatten() for one in logits])
        targets = torch.cat([one.flatten(1) for one in targets], dim=1)
        own, refined, *taught = (
            F.binary_cross_entropy_with_logits(flat, row.to(flat))
            for row in targets)
        losses = dict(loss_refined=self.refined_weight * refined)
        if rule:
            losses['loss_rule'] = taught[0]
        else:
            losses['loss_own'] = self.own_weight * own
        return losses

    @torch.no_grad()
    def targets(self, image: Tensor, tokens: PatchTokens, logits: Tensor,
                rule: bool) -> Tensor:
        """What the finder shall say of the patches of an image.

        Args:
            image (Tensor): (1, 3, H, W), RGB, grey levels.
            tokens (PatchTokens): Of the image.
            logits (Tensor): (gh, gw), what it says now.
            rule (bool): Whether to ask the teacher.

        Returns:
            Tensor: bool (2 or 3, gh, gw): its own mask, that refined, and
            the refined mask of the teacher.
        """
        masks = [logits > 0]
        if rule:
            found = torch.from_numpy(self.teacher(tokens).any(axis=0))
            masks.append(found.to(logits.device))
        masks = torch.stack(masks)
        maps = F.interpolate(
            masks[None].float(), image.shape[2:], mode='bilinear')
        refined = refine_masks(self.refiner, image, maps).float()
        refined = F.interpolate(refined, masks.shape[1:], mode='bilinear')[0]
        return torch.cat((masks[:1], refined > 0))

    # ----------------------------------------------------------- prediction
    def extract_feat(self, inputs: Tensor) -> list[PatchTokens]:
        """Keys and class attention of each image.

        Args:
            inputs (Tensor): (N, 3, H, W), RGB, grey levels.

        Returns:
            list[PatchTokens]: Of each image.
        """
        return [
            read_patch_tokens(self.discovery.network, image[None])
            for image in self.discovery.shrink(inputs)
        ]

    def encode_decode(self, inputs: Tensor,
                      batch_img_metas: list[dict]) -> Tensor:
        """Logits at the size of the images.

        Args:
            inputs (Tensor): (N, 3, H, W), RGB, grey levels.
            batch_img_metas (list[dict]): Unused.

        Returns:
            Tensor: (N, 1, H, W), positive on objects.
        """
        return self._forward(inputs)

    def _forward(self,
                 inputs: Tensor,
                 data_samples: list[SegDataSample] | None = None) -> Tensor:
        """See :meth:`encode_decode`."""
        return torch.cat([
            self._enlarged(tokens, inputs)
            for tokens in self.extract_feat(inputs)
        ])

    def _enlarged(self, tokens: PatchTokens, image: Tensor) -> Tensor:
        """Logits (1, 1, H, W)."""
        return F.interpolate(
            self.discovery.finder.logits(tokens)[None, None],
            image.shape[2:],
            mode='bilinear')

    def predict(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Find objects.

        Args:
            inputs (Tensor): (N, 3, H, W), RGB, grey levels.
            data_samples (list[SegDataSample], optional): They are given
                back.

        Returns:
            list[SegDataSample]: With ``pred_sem_seg`` (1, h, w), 1 where an
            object is, and ``seg_logits`` (1, h, w), those before the
            refiner, at the size of the images without padding.
        """
        data_samples = data_samples or [SegDataSample() for _ in inputs]
        for image, sample in zip(inputs, data_samples):
            height, width = sample.get('img_shape', image.shape[1:])[:2]
            image = image[None, :, :height, :width]
            tokens = self.extract_feat(image)[0]
            mask = self.discovery.find(
                self.discovery.shrink(image), tokens,
                (height, width)).any(axis=0)[None]
            sample.set_data(
                dict(
                    seg_logits=PixelData(
                        data=self._enlarged(tokens, image)[0]),
                    pred_sem_seg=PixelData(
                        data=torch.from_numpy(mask).long().to(
                            inputs.device))))
        return data_samples
