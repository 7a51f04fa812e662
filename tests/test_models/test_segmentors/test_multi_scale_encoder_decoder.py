"""The maximum over scales, and its losses."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image

from mmwsss.models.segmentors.multi_scale_encoder_decoder import resize_labels
from mmwsss.registry import MODELS


def build(**kwargs):
    torch.manual_seed(0)
    cfg = dict(
        type='mmwsss.MultiScaleEncoderDecoder',
        data_preprocessor=dict(type='mmseg.SegDataPreProcessor',
                               size_divisor=1),
        backbone=dict(
            type='mmseg.ResNet',
            depth=18,
            stem_channels=4,
            base_channels=4,
            num_stages=1,
            strides=(1, ),
            dilations=(1, ),
            out_indices=(0, ),
            norm_eval=True),
        decode_head=dict(
            type='mmwsss.DeepLabV2Head',
            in_channels=4,
            in_index=0,
            num_classes=3,
            dilations=(1, 2),
            init_cfg=dict(type='Normal', layer='Conv2d', std=1.),
            loss_decode=dict(
                type='mmseg.CrossEntropyLoss', avg_non_ignore=True)),
        test_cfg=ConfigDict(mode='whole'))
    cfg.update(kwargs)
    model = MODELS.build(cfg)
    model.init_weights()
    return model.train()


def make_samples(label, **meta):
    size = tuple(label.shape[1:])
    return [
        SegDataSample(
            gt_sem_seg=PixelData(data=x[None]),
            metainfo=dict(img_shape=size, ori_shape=size, **meta))
        for x in label
    ]


def labels(h=32, w=40):
    rng = np.random.default_rng(0)
    coarse = rng.choice([0, 1, 2, 255], (2, h // 8, w // 8))
    return torch.from_numpy(coarse.repeat(8, 1).repeat(8, 2))


def single(model, x):
    return model.decode_head(model.backbone(x))


def test_fused_logits_are_the_maximum():
    model = build()
    x = torch.randn(2, 3, 32, 40)
    full = single(model, x)
    assert full.shape[2:] == (8, 10)
    expected = torch.stack([full] + [
        F.interpolate(
            single(model, F.interpolate(x, size, mode='bilinear')),
            (8, 10), mode='bilinear') for size in ((16, 20), (24, 30))
    ]).max(dim=0).values
    got = model(x, mode='tensor')
    assert torch.allclose(got, expected, atol=1e-6)
    assert (got > full).any(), 'Another scale must win somewhere.'
    samples = make_samples(labels())
    out = model.eval().predict(x, samples)
    assert torch.allclose(
        torch.stack([s.seg_logits.data for s in out]),
        F.interpolate(expected, (32, 40), mode='bilinear'),
        atol=1e-5)
    assert out[0].pred_sem_seg.data.shape == (1, 32, 40)


def test_losses_of_every_scale_and_of_the_maximum():
    model = build()
    x = torch.randn(2, 3, 32, 40)
    label = labels()
    losses = model.loss(x, make_samples(label))
    logits = model.scale_logits(x)
    total = 0
    for name, output in zip(('scale_1', 'scale_0.5', 'scale_0.75', 'max'),
                            (*logits, model.fuse(logits))):
        h, w = output.shape[2:]
        rows = ((torch.arange(h) + 0.5) * 32 / h).long()
        columns = ((torch.arange(w) + 0.5) * 40 / w).long()
        small = label[:, rows][:, :, columns]
        valid = small != 255
        picked = output.log_softmax(1).gather(
            1, small.where(valid, torch.tensor(0))[:, None])[:, 0]
        expected = -picked[valid].sum() / valid.sum()
        assert torch.allclose(losses[f'{name}.loss_ce'], expected, atol=1e-5)
        total = total + expected
    parsed, _ = model.parse_losses(losses)
    assert torch.allclose(parsed, total, atol=1e-4)
    parsed.backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize('size', [(5, 9), (41, 17), (1, 1), (27, 33)])
def test_labels_are_resized_as_pillow_does(size):
    # Odd sides: no centre falls between two pixels.
    rng = np.random.default_rng(0)
    label = rng.choice([0, 1, 20, 255], (79, 83)).astype(np.uint8)
    small, = resize_labels(
        make_samples(torch.from_numpy(label)[None].long()), size)
    expected = np.array(
        Image.fromarray(label).resize(size[::-1], Image.NEAREST))
    assert small.gt_sem_seg.data.dtype == torch.int64
    assert np.array_equal(small.gt_sem_seg.data[0].numpy(), expected)


def test_labels_all_ignored():
    model = build()
    label = torch.full((1, 32, 40), 255)
    total, _ = model.parse_losses(
        model.loss(torch.randn(1, 3, 32, 40), make_samples(label)))
    total.backward()
    assert total == 0


def test_no_auxiliary_head():
    head = dict(
        type='mmseg.FCNHead',
        in_channels=4,
        channels=4,
        num_convs=1,
        in_index=0,
        num_classes=3)
    with pytest.raises(ValueError, match='auxiliary_head'):
        build(auxiliary_head=head)


def test_without_other_scales_it_is_an_encoder_decoder():
    model = build(scales=()).eval()
    x = torch.randn(1, 3, 30, 35)
    assert torch.equal(model(x, mode='tensor'), single(model, x))
    losses = model.loss(x, make_samples(torch.zeros(1, 30, 35).long()))
    assert set(losses) == {'scale_1.loss_ce', 'scale_1.acc_seg'}
    # Images of one pixel are scaled to one pixel.
    assert build().eval()(x[..., :1, :1], mode='tensor').shape == (1, 3, 1, 1)
