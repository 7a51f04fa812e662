"""Small models and samples that the model tests share."""
from collections.abc import Sequence

import torch
from mmengine.structures import LabelData
from mmengine.utils import digit_version
from mmseg.structures import SegDataSample

from mmwsss.registry import MODELS

NUM_CLASSES = 5
#: What this torch autocasts to on a CPU.
HALF_DTYPES = (torch.bfloat16, *([torch.float16] if digit_version(
    torch.__version__) >= digit_version('2.2') else []))
ARCH = dict(
    embed_dims=24, num_layers=4, num_heads=3, feedforward_channels=48)


def vit_cfg(**kwargs) -> dict:
    cfg = dict(
        type='mmwsss.AttentionViT', arch=ARCH, img_size=64, patch_size=16)
    cfg.update(kwargs)
    return cfg


def build_segmentor(seed: int = 0, **kwargs):
    """A four-block ViT CAMSegmentor; keyword arguments override parts."""
    cfg = dict(
        type='mmwsss.CAMSegmentor',
        backbone=vit_cfg(),
        cls_head=dict(
            type='mmwsss.ClassTokenHead',
            num_classes=NUM_CLASSES,
            in_channels=24),
        localizer=dict(type='mmwsss.GETAM', start_layer=2))
    cfg.update(kwargs)
    torch.manual_seed(seed)
    model = MODELS.build(cfg)
    # Weights far from their tiny initial values, so nothing vanishes.
    for param in model.parameters():
        torch.nn.init.normal_(param, std=0.2)
    return model


def resnet_cfg(**kwargs) -> dict:
    """A CAMSegmentor on a ResNet of mmseg."""
    return dict(
        backbone=dict(
            type='ResNet', depth=18, num_stages=2, out_indices=(1, ),
            strides=(1, 2), dilations=(1, 1), norm_cfg=dict(type='BN')),
        cls_head=dict(
            type='mmwsss.CAMHead', num_classes=NUM_CLASSES, in_channels=128),
        localizer=dict(type='mmwsss.CAM'),
        **kwargs)


def dpt_cfg(**kwargs) -> dict:
    """Parts of a segmentor whose class head reads a DPT pyramid."""
    cfg = dict(
        backbone=vit_cfg(out_indices=(0, 1, 2, 3)),
        neck=dict(
            type='mmwsss.DPTReassemble',
            in_channels=24,
            out_channels=(4, 6, 8, 10)),
        cls_head=dict(
            type='mmwsss.CAMHead',
            num_classes=NUM_CLASSES,
            in_channels=10,
            bias=True),
        localizer=dict(
            type='mmwsss.GETAM',
            func='cam_grad_s',
            start_layer=1,
            affinity=False))
    cfg.update(kwargs)
    return cfg


def sample(labels: Sequence[int],
           ori_shape: tuple[int, int] | None = None,
           img_id: str = 'x') -> SegDataSample:
    """A data sample with tags."""
    meta = dict(img_id=img_id)
    if ori_shape is not None:
        meta['ori_shape'] = ori_shape
    data_sample = SegDataSample(metainfo=meta)
    score = torch.zeros(NUM_CLASSES)
    score[list(labels)] = 1
    data_sample.gt_label = LabelData(
        label=torch.tensor(list(labels), dtype=torch.int64), score=score)
    return data_sample
