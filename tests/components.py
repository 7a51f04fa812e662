"""A minimal config of every registered class.

:data:`MODELS` holds, for each class of that registry, the smallest whole
model with it: what a component has to do (train, predict, be saved) is done
by a model. A new class needs one line here, which a test demands; the tests
that every component has to pass are in ``test_components.py``.
"""
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData, LabelData, PixelData
from mmseg.structures import SegDataSample

from mmwsss.pseudo_labels import write_cam
from mmwsss.pseudo_labels.proposal_file import write_proposals

from .test_datasets.builders import METAINFO, make_voc, save_mask
from .test_models.frozen_builders import toy_network, vit_network

NUM_CLASSES = 4
PREPROCESSOR = dict(
    type='mmwsss.SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    size_divisor=1)
#: For frozen networks, which normalise by themselves.
GREY = PREPROCESSOR | dict(mean=[0.] * 3, std=[1.] * 3)
#: Channels 4 and 8 at strides 4 and 8.
RESNET = dict(
    type='ResNet',
    depth=18,
    stem_channels=4,
    base_channels=4,
    num_stages=2,
    strides=(1, 2),
    dilations=(1, 1),
    out_indices=(0, 1),
    norm_cfg=dict(type='BN'))
ARCH = dict(
    embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48)
VIT = dict(type='mmwsss.AttentionViT', arch=ARCH, img_size=32, patch_size=8)


def own(name: str, **kwargs: Any) -> dict:
    """Config of a class of ours."""
    return dict(type=f'mmwsss.{name}', **kwargs)


# ----------------------------------------------------------------- models
@dataclass
class Model:
    """A whole model with one component.

    Attributes:
        make (Callable): From a folder for files to the config.
        trains (bool): It has a loss. Defaults to True.
        unreached (str): Pattern of the names of parameters that no loss
            reaches although they ask for a gradient. Defaults to ''.
        label_stride (int): Pixels per cell of the label maps it learns from.
    """
    make: Callable[[Path], dict]
    trains: bool = True
    unreached: str = ''
    label_stride: int = 1


def cam(in_channels: int = 8, head: dict = {}, **parts: Any) -> Model:
    """A CAMSegmentor on a narrow ResNet, with other parts."""
    cls_head = own(
        'CAMHead', num_classes=NUM_CLASSES, in_channels=in_channels) | head
    cfg = own(
        'CAMSegmentor',
        data_preprocessor=PREPROCESSOR,
        backbone=RESNET,
        cls_head=cls_head,
        localizer=own('CAM')) | parts
    return Model(lambda folder: cfg)


def vit(**parts: Any) -> Model:
    """The same on a transformer whose class token is the head's input."""
    head = own('ClassTokenHead', num_classes=NUM_CLASSES, in_channels=24)
    return cam(
        24, head, **dict(
            dict(backbone=VIT, localizer=own('GETAM', start_layer=0)),
            **parts))


def class_tokens(**parts: Any) -> Model:
    """One class token per class (MCTformer+)."""
    return vit(**dict(
        dict(
            backbone=VIT | dict(num_class_tokens=NUM_CLASSES),
            cls_head=own(
                'MultiClassTokenHead',
                num_classes=NUM_CLASSES,
                in_channels=24),
            localizer=own('ClassAttentionCAM')), **parts))


def weighted_heads(**parts: Any) -> Model:
    """Attention heads with weights (WeakTr)."""
    return class_tokens(**dict(
        dict(
            cls_head=own(
                'WeightedAttentionHead',
                num_classes=NUM_CLASSES,
                in_channels=24,
                head_weights=own(
                    'AttentionHeadWeights',
                    num_layers=2,
                    num_heads=3,
                    reduction=1)),
            localizer=own('WeightedAttentionCAM')), **parts))


def contrast(regularizer: dict, **parts: Any) -> Model:
    """A CAMSegmentor with one regularizer."""
    return cam(regularizers=dict(it=regularizer), **parts)


REFINER = own(
    'PixelCorrelationModule',
    in_channels=(4, 8),
    channels=(3, 5),
    query_channels=6)


def encoder_decoder(head: dict, name: str = 'EncoderDecoder',
                    **kwargs: Any) -> dict:
    """A segmentation network on masks."""
    return dict(
        type=name,
        data_preprocessor=PREPROCESSOR,
        backbone=RESNET,
        decode_head=dict(
            dict(
                in_channels=8,
                in_index=1,
                num_classes=NUM_CLASSES + 1,
                loss_decode=dict(
                    type='CrossEntropyLoss', avg_non_ignore=True)), **head),
        train_cfg=dict(),
        test_cfg=ConfigDict(mode='whole')) | kwargs


LINEAR = dict(
    type='FCNHead',
    num_convs=0,
    kernel_size=1,
    concat_input=False,
    channels=8,
    dropout_ratio=0.,
    norm_cfg=None)


def segmenting(head: dict = LINEAR, *args: Any, **kwargs: Any) -> Model:
    cfg = encoder_decoder(head, *args, **kwargs)
    return Model(lambda folder: cfg)


def single_stage(**parts: Any) -> Model:
    """CAMs, labels and masks in one model (GETAM)."""
    cfg = own(
        'EndToEndSegmentor',
        data_preprocessor=PREPROCESSOR,
        backbone=VIT | dict(
            arch=ARCH | dict(num_layers=4), out_indices=(0, 1, 2, 3)),
        neck=own(
            'DPTReassemble', in_channels=24, out_channels=(4, 6, 8, 10)),
        cls_head=own(
            'CAMHead', num_classes=NUM_CLASSES, in_channels=10, bias=True),
        localizer=own(
            'GETAM', func='cam_grad_s', start_layer=0, affinity=False),
        decode_head=own(
            'DPTDecoderHead',
            in_channels=(4, 6, 8, 10),
            channels=8,
            reduction=4,
            num_classes=NUM_CLASSES + 1),
        label_refiner=own('PAMR', num_iters=2, dilations=(1, 2)),
        label_maker=own('LabelCompletion', opening=3),
        seg_losses=dict(ce=own('BalancedCrossEntropy'))) | parts
    return Model(lambda folder: cfg)


def frozen(folder: Path, **kwargs: Any) -> dict:
    """A frozen backbone of six channels at stride 4."""
    return own(
        'FrozenFeatures',
        networks=[toy_network(folder)],
        standardize=False,
        **kwargs)


def on_frozen(folder: Path) -> dict:
    return cam(6, data_preprocessor=GREY, backbone=frozen(folder)).make(folder)


def affinity_of(folder: Path) -> dict:
    return own('FrozenAffinity', network=toy_network(folder))


def cam_refiner(folder: Path) -> dict:
    affinity = affinity_of(folder)
    return own(
        'AffinityRefiner',
        data_preprocessor=GREY,
        affinity={k: v for k, v in affinity.items() if k != 'type'})


def refined(*refiners: dict) -> Model:
    return Model(lambda folder: own(
        'RefinedSegmentor',
        data_preprocessor=PREPROCESSOR,
        segmentor={
            k: v
            for k, v in encoder_decoder(LINEAR).items()
            if k != 'data_preprocessor'
        },
        refiners=refiners))


def discovery(folder: Path) -> dict:
    """A finder of objects that is trained."""
    return own(
        'DiscoverySegmentor',
        data_preprocessor=GREY,
        discovery=dict(
            network=vit_network(folder),
            finder=own('LinearSaliency', in_channels=12),
            refiner=own('BilateralSolver')),
        teacher=own('BackgroundDiscovery'),
        refiner=own('BilateralSolver'))


def irnet(**kwargs: Any) -> Model:
    """Channels 8, 8, 16, 32, 64 at strides 4, 4, 8, 16, 16."""
    channels = (8, 4, 8, 16, 32)
    cfg = own(
        'IRNet',
        data_preprocessor=PREPROCESSOR,
        backbone=own(
            'ResNetWithStem',
            depth=18,
            stem_channels=8,
            base_channels=4,
            strides=(1, 2, 2, 1),
            dilations=(1, 1, 1, 1),
            style='pytorch',
            norm_eval=True),
        edge_head=own(
            'EdgeHead', in_channels=channels, channels=4, num_groups=2),
        displacement_head=own(
            'DisplacementHead',
            in_channels=channels,
            channels=(4, ) * 5,
            num_groups=(2, ) * 5),
        radius=4,
        propagate=dict(crop_size=96)) | kwargs
    return Model(lambda folder: cfg, label_stride=4)


AFFINITY_NET = Model(
    lambda folder: own(
        'AffinityNet',
        data_preprocessor=PREPROCESSOR,
        backbone=RESNET | dict(strides=(1, 1)),
        decode_head=own(
            'AffinityHead', in_channels=(4, 8), channels=(3, 5), radius=3),
        stride=4),
    label_stride=4)
AMN = Model(lambda folder: own(
    'AMN',
    data_preprocessor=PREPROCESSOR,
    backbone=RESNET,
    cls_head=own(
        'LabelConditionedHead',
        num_classes=NUM_CLASSES,
        in_channels=8,
        dilations=(1, 2))))


def pooled(name: str, **kwargs: Any) -> Model:
    return cam(head=dict(pooling=own(name, **kwargs)))


def learning(**losses: dict) -> Model:
    return single_stage(seg_losses=losses)


def token_contrast(regularizers: dict = {}, **parts: Any) -> Model:
    """Two heads on two blocks, labels from fused maps (ToCo)."""
    head = own(
        'CAMHead',
        num_classes=NUM_CLASSES,
        in_channels=24,
        pooling=own('HybridPooling', gamma=0, levels=(1, )))
    cfg = dict(
        backbone=VIT | dict(out_indices=(0, 1), final_norm=True),
        neck=None,
        cls_head=head,
        auxiliary_head=head | dict(in_index=0),
        localizer=own('CAM'),
        decode_head=LINEAR | dict(
            in_channels=24,
            in_index=1,
            channels=24,
            num_classes=NUM_CLASSES + 1),
        label_refiner=None,
        label_maker=own(
            'RefinedLabels',
            fg_threshold=0.5,
            refiner=own('PAMR', kernel='par', num_iters=2, dilations=(1, 2))),
        regularizers=regularizers,
        train_cfg=dict(fused_labels=True),
        test_cfg=dict(
            scales=(1., 0.5), flip=True, normalize='minmax', eps=1e-5))
    return single_stage(**cfg | parts)


def co_training() -> Model:
    """The same with a teacher (CoSA)."""
    return token_contrast(
        type='mmwsss.CoTrainingSegmentor',
        auxiliary_seg_losses=dict(ce_aux=own('BalancedCrossEntropy')))


#: Name of the class, or that and a variant.
MODELS: dict[str, Model] = dict(
    # backbones
    AttentionViT=vit(),
    **{
        'AttentionViT/distilled':
        vit(backbone=VIT | dict(distilled=True)),
        # With ACR, which reads the rows of all of them.
        'AttentionViT/class tokens':
        class_tokens(
            second_view=own('HorizontalFlip'),
            regularizers=dict(acr=own('AllPairsConsistency'))),
        # Registers, layer scale and the last norm of DINOv2, ACR's views.
        'AttentionViT/dinov2':
        vit(backbone=VIT | dict(
            layer_scale_init_value=1e-5,
            num_registers=4,
            final_norm=True,
            interpolate_mode='bicubic',
            interpolate_antialias=True),
            second_view=own('HorizontalFlip'),
            regularizers=dict(acr=own('AllPairsConsistency'))),
    },
    DilatedMobileNetV2=cam(
        1280,
        backbone=own(
            'DilatedMobileNetV2', widen_factor=0.25, out_indices=(7, ))),
    FrozenBackbone=Model(on_frozen),
    FrozenFeatures=Model(on_frozen),
    HybridViT=vit(
        backbone=own(
            'HybridViT',
            arch=ARCH,
            stem=dict(layers=(1, 1), channels=(16, 32), stem_channels=8),
            img_size=32)),
    ResNet38=cam(
        256, backbone=own('ResNet38', base_channels=4)),
    ResNetWithStem=irnet(),
    TimmBackbone=cam(
        256, backbone=own('TimmBackbone', model_name='test_efficientnet')),
    WeightStdResNet=cam(
        32,
        backbone=own(
            'WeightStdResNet',
            layers=(1, 1),
            channels=(16, 32),
            stem_channels=8)),
    # neck and heads
    DPTReassemble=single_stage(),
    CAMHead=cam(),
    ClassTokenHead=vit(),
    MultiClassTokenHead=class_tokens(),
    WeightedAttentionHead=weighted_heads(),
    AttentionHeadWeights=weighted_heads(),
    LabelConditionedHead=AMN,
    DeepLabV2Head=segmenting(own('DeepLabV2Head', dilations=(1, 2))),
    LargeFOVHead=segmenting(own('LargeFOVHead', channels=8, dilation=2)),
    DPTDecoderHead=single_stage(),
    AffinityHead=AFFINITY_NET,
    EdgeHead=irnet(displacement_head=None),
    DisplacementHead=irnet(),
    # pooling
    GlobalAveragePooling=pooled('GlobalAveragePooling'),
    HybridPooling=pooled('HybridPooling'),
    ThresholdedAveragePooling=pooled('ThresholdedAveragePooling'),
    GlobalWeightedRankPooling=pooled('GlobalWeightedRankPooling'),
    TopSharePooling=pooled('TopSharePooling'),
    LogSumExpPooling=pooled('LogSumExpPooling'),
    # localizers
    CAM=cam(),
    ClassAttentionCAM=class_tokens(
        localizer=own('ClassAttentionCAM', start_layer=1, affinity=False)),
    GETAM=vit(localizer=own('GETAM', func='cam_grad_s', start_layer=1)),
    WeightedAttentionCAM=weighted_heads(
        localizer=own('WeightedAttentionCAM', affinity=False)),
    RefinedCAM=cam(
        refiner=REFINER,
        localizer=own('RefinedCAM'),
        second_view=own('Rescale', scale=0.5),
        regularizers=dict(seam=own('EquivariantRegularization'))),
    SoftmaxCAM=cam(
        localizer=own('SoftmaxCAM'), head=dict(with_background=True)),
    # second views
    HorizontalFlip=cam(second_view=own('HorizontalFlip')),
    Rescale=cam(second_view=own('Rescale', scale=0.5)),
    Compose=cam(
        second_view=own(
            'Compose',
            views=[own('HorizontalFlip'), own('Rescale', scale=0.5)])),
    # regularizers
    AllPairsConsistency=vit(
        second_view=own('HorizontalFlip'),
        regularizers=dict(acr=own('AllPairsConsistency'))),
    ClassTokenContrast=class_tokens(
        regularizers=dict(it=own('ClassTokenContrast'))),
    EquivariantRegularization=contrast(
        own('EquivariantRegularization'),
        refiner=REFINER,
        second_view=own('Rescale', scale=0.5)),
    ExplicitPseudoPixelSupervision=contrast(
        own('ExplicitPseudoPixelSupervision'),
        head=dict(with_background=True)),
    FineGrainedBackgroundContrast=contrast(
        own(
            'FineGrainedBackgroundContrast',
            in_channels=8,
            num_classes=NUM_CLASSES,
            embed_dims=6,
            num_negatives=8,
            bank_size=50),
        head=dict(with_background=True)),
    LocalCropContrast=token_contrast(dict(
        it=own(
            'LocalCropContrast',
            in_channels=24,
            crop_size=16,
            num_crops=3,
            projection=dict(
                hidden_channels=16, bottleneck_channels=8,
                out_channels=12)))),
    PatchTokenContrast=token_contrast(
        dict(it=own('PatchTokenContrast'))),
    PixelPrototypeContrast=contrast(
        own(
            'PixelPrototypeContrast',
            in_channels=8,
            num_classes=NUM_CLASSES,
            embed_dims=6),
        refiner=REFINER,
        second_view=own('Rescale', scale=0.5)),
    VisualWordsLearning=contrast(
        own(
            'VisualWordsLearning',
            in_channels=8,
            num_classes=NUM_CLASSES,
            num_words=7)),
    # losses
    BalancedCrossEntropy=learning(ce=own('BalancedCrossEntropy')),
    SaliencyLoss=learning(
        ce=own('BalancedCrossEntropy'), saliency=own('SaliencyLoss')),
    DenseEnergyLoss=learning(
        ce=own('BalancedCrossEntropy'), energy=own('DenseEnergyLoss')),
    SwappedCAMLoss=co_training(),
    CappedCrossEntropy=segmenting(
        LINEAR | dict(loss_decode=own('CappedCrossEntropy', cell=16))),
    GlobalCrossEntropy=segmenting(
        LINEAR | dict(loss_decode=own('GlobalCrossEntropy'))),
    # refiners and label makers
    PixelCorrelationModule=cam(
        refiner=REFINER,
        second_view=own('Rescale', scale=0.5),
        regularizers=dict(seam=own('EquivariantRegularization'))),
    FrozenAffinity=Model(lambda folder: refined(affinity_of(folder)).make(
        folder)),
    PAMR=refined(own('PAMR', num_iters=2, dilations=(1, 2))),
    DenseCRFRefiner=refined(own('DenseCRFRefiner', num_iters=2)),
    BilateralSolver=refined(own('BilateralSolver', fill_holes=False)),
    LinearSaliency=Model(discovery),
    LabelCompletion=single_stage(),
    RefinedLabels=token_contrast(),
    # segmentors
    CAMSegmentor=cam(),
    EndToEndSegmentor=single_stage(),
    CoTrainingSegmentor=co_training(),
    DiscoverySegmentor=Model(discovery),
    AffinityNet=AFFINITY_NET,
    IRNet=irnet(),
    AMN=AMN,
    AffinityRefiner=Model(cam_refiner, trains=False),
    RefinedSegmentor=refined(),
    FrozenEncoderDecoder=Model(lambda folder: encoder_decoder(
        LINEAR | dict(in_channels=6, channels=6, in_index=0),
        'mmwsss.FrozenEncoderDecoder',
        data_preprocessor=GREY,
        backbone=frozen(folder))),
    MultiScaleEncoderDecoder=segmenting(
        own('DeepLabV2Head', dilations=(1, 2)),
        'mmwsss.MultiScaleEncoderDecoder'),
    SegDataPreProcessor=cam(),
)
#: Not a part of any model: plain functions around one.
NO_MODELS = ('BackgroundDiscovery', 'DenseCRF', 'NormalizedCut',
             'ObjectDiscovery', 'SegTTAModel')


def batch(size: tuple[int, int] = (64, 80),
          label_stride: int = 1,
          seed: int = 0) -> dict:
    """Two images, one with two classes and one with one.

    Args:
        size (tuple[int, int]): Height and width of the images.
        label_stride (int): Pixels per cell of their masks.
        seed (int): Of all random numbers. Defaults to 0.

    Returns:
        dict: What a data loader gives, with everything that a model reads.
    """
    torch.manual_seed(seed)
    images, samples = [], []
    cells = [-(-n // label_stride) for n in size]
    for i, ids in enumerate(((1, 3), (2, ))):
        images.append(torch.randint(0, 256, (3, *size), dtype=torch.uint8))
        sample = SegDataSample(
            metainfo=dict(
                img_id=f'image {i}',
                ori_shape=tuple(size),
                img_shape=tuple(size)))
        score = torch.zeros(NUM_CLASSES)
        score[list(ids)] = 1
        sample.gt_label = LabelData(label=torch.tensor(ids), score=score)
        values = torch.tensor([0, *(c + 1 for c in ids), 255])
        mask = values[torch.arange(cells[1]) * len(values) // cells[1]]
        sample.gt_sem_seg = PixelData(data=mask.expand(1, *cells).clone())
        column = torch.arange(size[1]) * len(values) // size[1]
        sample.seed_sem_seg = PixelData(
            data=values[column].expand(1, *size).clone())
        salient = (column > 0) & (column < len(values) - 1)
        sample.gt_saliency = PixelData(
            data=salient.float().expand(1, *size).clone())
        sample.set_data(
            dict(
                cams=torch.rand(len(ids), *size),
                class_ids=torch.tensor(ids)))
        samples.append(sample)
    return dict(inputs=images, data_samples=samples)


# --------------------------------------------------------------- datasets
LABELS = {'a': [0], 'b': [0, 1], 'c': [1]}
SIZE = (21, 34)
PIPELINE = [own('LoadImage'), own('PackWSSSInputs')]


def voc(folder: Path, size: Sequence[int] = SIZE) -> Path:
    """Images, image-level labels, masks, CAMs, proposals and saliency."""
    if (folder / 'saliency').exists():
        return folder
    make_voc(folder, LABELS, size=size)
    rng = np.random.default_rng(0)
    for img_id, ids in LABELS.items():
        write_cam(folder / 'cams', img_id, ids,
                  rng.random((len(ids), *size)), tuple(size))
        write_proposals(folder / 'proposals', img_id,
                        rng.random((2, *size)) < .5)
        mask = np.zeros(size, np.uint8)
        for row in range(len(ids)):  # Each class has a row of the mask.
            mask[row, 5:20] = row + 1
        save_mask(folder / f'SegmentationObject/{img_id}.png', mask)
        mask[3:12, 5:20] = 255
        save_mask(folder / f'saliency/{img_id}.png', mask)
    return folder


def image_level(folder: Path, **kwargs: Any) -> dict:
    return own(
        'ImageLevelDataset',
        data_root=str(voc(folder)),
        ann_file='ImageSets/Segmentation/train.txt',
        labels_file='labels.json',
        metainfo=METAINFO,
        pipeline=PIPELINE) | kwargs


def renamed(name: str) -> Callable[[Path], dict]:
    """A data set whose classes are its own: the first two of them."""
    return lambda folder: {
        k: v
        for k, v in image_level(folder, type=f'mmwsss.{name}').items()
        if k not in ('metainfo', 'labels_file')
    } | dict(
        labels_file='own.json', data_prefix=dict(img_path='JPEGImages'))


#: From a folder to a config of three images.
DATASETS: dict[str, Callable[[Path], dict]] = dict(
    ImageLevelDataset=image_level,
    VOCImageLevelDataset=renamed('VOCImageLevelDataset'),
    COCOImageLevelDataset=renamed('COCOImageLevelDataset'),
    PseudoMaskDataset=lambda folder: own(
        'PseudoMaskDataset',
        dataset=image_level(folder, pipeline=[]),
        mask_dir=str(folder / 'SegmentationClass'),
        pipeline=[
            own('LoadImage'),
            dict(type='LoadAnnotations'),
            dict(type='PackSegInputs')
        ]),
    ShapesDataset=lambda folder: own(
        'ShapesDataset',
        data_root=str(folder / 'shapes'),
        num_train=3,
        num_val=1,
        image_size=32,
        pipeline=PIPELINE))


# ------------------------------------------------------------- transforms
@dataclass
class Transform:
    """A transform and what it adds or changes.

    Attributes:
        cfg (dict): Its config.
        changes (str): Key of the results that differs afterwards; an empty
            string if it writes a file.
        before (tuple[dict]): Transforms that prepare for it.
    """
    cfg: dict
    changes: str
    before: tuple[dict, ...] = ()


IMAGE = (own('LoadImage'), )
CAMS = (*IMAGE, own('LoadCAMs'))
CRF = dict(num_iters=2, bilateral_sxy=20)
SCORES = (*CAMS, own('CRFScores', crf=CRF))
SAVED_SCORES = (*SCORES, own('SaveScores', out_dir='scores'))
TRANSFORMS: dict[str, Transform] = dict(
    LoadImage=Transform(own('LoadImage'), 'img'),
    LoadMask=Transform(own('LoadMask'), 'gt_seg_map'),
    LoadSaliency=Transform(own('LoadSaliency'), 'gt_saliency'),
    LoadInstances=Transform(
        own('LoadInstances'), 'gt_instances', (own('LoadMask'), )),
    LoadCAMs=Transform(own('LoadCAMs'), 'cams'),
    LoadPseudoMask=Transform(own('LoadPseudoMask'), 'gt_seg_map', IMAGE),
    LoadScores=Transform(own('LoadScores'), 'low_scores', SAVED_SCORES),
    RandomLongSideResize=Transform(
        own('RandomLongSideResize', low=40, high=50), 'img',
        IMAGE),
    SquareResize=Transform(
        own('SquareResize', size=24), 'img', IMAGE),
    PlaceCrop=Transform(
        own('PlaceCrop', size=24), 'img', IMAGE),
    RandomSquareCrop=Transform(
        own('RandomSquareCrop', size=24), 'img', IMAGE),
    RandomRescale=Transform(
        own('RandomRescale', low=1.2, high=1.5), 'img',
        IMAGE),
    RandomFlip=Transform(
        own('RandomFlip', prob=1.), 'img', IMAGE),
    ColorJitter=Transform(own('ColorJitter'), 'img', IMAGE),
    HSVJitter=Transform(own('HSVJitter'), 'img', IMAGE),
    PackWSSSInputs=Transform(
        own('PackWSSSInputs'), 'inputs', IMAGE),
    AffinityLabel=Transform(
        own('AffinityLabel', stride=1), 'gt_seg_map',
        (*SAVED_SCORES, own('LoadScores'))),
    DownscaleLabel=Transform(
        own('DownscaleLabel'), 'gt_seg_map',
        (*IMAGE, own('LoadPseudoMask'))),
    CRFScores=Transform(own('CRFScores', crf=CRF), 'crf_scores', CAMS),
    PAMRCams=Transform(
        own('PAMRCams', num_iters=2, dilations=(1, 2)), 'cams', CAMS),
    ThresholdMask=Transform(
        own('ThresholdMask', threshold=.5), 'pseudo_mask', CAMS),
    CRFMask=Transform(
        own('CRFMask', threshold=.5, crf=CRF), 'pseudo_mask', CAMS),
    ScoreMask=Transform(
        own('ScoreMask', alpha=4), 'pseudo_mask',
        SCORES),
    IRNLabel=Transform(own('IRNLabel', crf=CRF), 'pseudo_mask', CAMS),
    CompleteLabels=Transform(
        own('CompleteLabels'), 'pseudo_mask',
        (*CAMS, own('LoadSaliency'))),
    RefineWithProposals=Transform(
        own('RefineWithProposals'), 'cams', CAMS),
    SaveCAMs=Transform(own('SaveCAMs', out_dir='out'), '', CAMS),
    SaveScores=Transform(
        own('SaveScores', out_dir='out'), '',
        SCORES),
    SaveMask=Transform(
        own('SaveMask', out_dir='out'), '',
        (*CAMS, own('ThresholdMask', threshold=.5))),
)


# ---------------------------------------------------------------- metrics
def judged(img_id: str, seed: int) -> dict:
    """A sample with a prediction of every kind and the truth."""
    rng = np.random.default_rng(seed)
    truth = torch.from_numpy(rng.integers(0, 3, (1, *SIZE)))
    sample = SegDataSample(metainfo=dict(img_id=img_id))
    found = truth.clone()
    found[:, ::2] = 0
    sample.set_data({
        name: PixelData(data=data)
        for name, data in (('gt_sem_seg', truth), ('pseudo_sem_seg', found),
                           ('pred_sem_seg', found),
                           ('step_sem_seg', torch.cat((found, truth))))
    })
    masks = torch.from_numpy(rng.random((2, *SIZE)) < .5)
    sample.gt_instances = InstanceData(
        masks=masks, labels=torch.tensor([0, 1]))
    sample.pred_instances = InstanceData(
        masks=masks, labels=torch.tensor([0, 1]), scores=torch.ones(2))
    sample.set_data(
        dict(cams=torch.rand(2, *SIZE), class_ids=torch.tensor([0, 1])))
    sample.set_metainfo(dict(step_names=['model', 'PAMR']))
    return dict(sample.to_dict(), step_names=['model', 'PAMR'], img_id=img_id)


METRICS: dict[str, dict] = dict(
    CAMIoUMetric=own('CAMIoUMetric'),
    InstanceAP=own('InstanceAP'),
    PseudoLabelIoU=own('PseudoLabelIoU'),
    RefinementIoUMetric=own('RefinementIoUMetric'),
)

# ------------------------------------------------------------------ hooks
#: Config of a hook and the run it belongs to; an out_dir is made its own.
HOOKS: dict[str, tuple[dict, str]] = dict(
    AtomicCheckpointHook=({}, 'cam'),  # The run's default hook.
    CudnnBenchmarkHook=(own('CudnnBenchmarkHook'), 'cam'),
    GalleryHook=(own('GalleryHook', num_images=2), 'cam'),
    RuntimeInfoHook=(own('RuntimeInfoHook'), 'cam'),
    SaveCAMsHook=(own('SaveCAMsHook', out_dir='out'), 'cam'),
    SaveMasksHook=(own('SaveMasksHook', out_dir='out'), 'cam'),
    SaveInstancesHook=(own('SaveInstancesHook', out_dir='out'), 'irnet'),
    DisplacementMeanHook=(own('DisplacementMeanHook'), 'irnet'),
    FeatureStatisticsHook=({}, 'frozen'),  # Put in by the run.
)
#: Registries of few classes, whose own modules test all of this.
OTHERS: dict[str, Sequence[str]] = dict(
    DATA_SAMPLERS=('SeededSampler', 'InfiniteSeededSampler'),
    OPTIM_WRAPPERS=('BFloat16OptimWrapper', ),
    OPTIM_WRAPPER_CONSTRUCTORS=('GroupedOptimWrapperConstructor', ),
    INFERENCERS=('CAMInferencer', ),
)
TABLES = dict(
    MODELS=(*{name.split('/')[0] for name in MODELS}, *NO_MODELS),
    DATASETS=tuple(DATASETS),
    TRANSFORMS=tuple(TRANSFORMS),
    METRICS=tuple(METRICS),
    HOOKS=tuple(HOOKS),
    **OTHERS)
