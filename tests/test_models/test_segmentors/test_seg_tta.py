"""Averages over scales and flips, and the CRF behind them."""
import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from mmwsss.models.segmentors import SegTTAModel
from mmwsss.pseudo_labels.dense_crf import DenseCRF, unary_from_probs
from mmwsss.registry import MODELS

CRF = dict(num_iters=3, bilateral_sxy=10, backend='torch')


class Net(nn.Module):
    """Has what the wrapper asks of a model."""
    out_channels = 3

    def test_step(self, data):
        raise AssertionError('not in these tests')


def looks(count=3, size=(10, 12), **meta):
    torch.manual_seed(0)
    return [
        SegDataSample(
            seg_logits=PixelData(data=3 * torch.randn(3, *size)),
            metainfo=dict(ori_shape=size, img_id='x', **meta))
        for _ in range(count)
    ]


def logits_of(samples):
    return torch.stack([s.seg_logits.data for s in samples])


def test_averages():
    samples = looks()
    logits = logits_of(samples)
    expected = logits.sum(0) / 3
    merged, = SegTTAModel(Net()).merge_preds([looks()])
    assert torch.allclose(merged.seg_logits.data, expected, atol=1e-6)
    assert torch.equal(merged.pred_sem_seg.data, expected.argmax(0)[None])
    probs = (logits.exp() / logits.exp().sum(1, keepdim=True)).sum(0) / 3
    merged, = SegTTAModel(Net(), average='probs').merge_preds([samples])
    assert torch.allclose(merged.seg_logits.data, probs, atol=1e-6)
    assert (probs.argmax(0) != expected.argmax(0)).any()


@pytest.mark.parametrize('average', ['logits', 'probs'])
def test_crf_refines_the_mean(tmp_path, average):
    path = tmp_path / 'x.png'
    image = np.random.default_rng(0).integers(
        0, 256, (10, 12, 3), dtype=np.uint8)
    cv2.imwrite(str(path), image)
    logits = logits_of(looks())
    probs = (
        logits.mean(0).softmax(0)
        if average == 'logits' else logits.softmax(1).mean(0))
    expected = DenseCRF(**CRF)(image, unary_from_probs(probs.numpy()))
    model = SegTTAModel(Net(), average=average, crf=CRF)
    merged, = model.merge_preds([looks(img_path=str(path))])
    assert np.allclose(merged.seg_logits.data.numpy(), expected, atol=1e-5)
    assert np.array_equal(merged.pred_sem_seg.data.numpy(),
                          expected.argmax(0)[None])
    # It does something.
    assert (expected.argmax(0) != probs.argmax(0).numpy()).any()


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="'logits' or 'probs'"):
        SegTTAModel(Net(), average='votes')
    with pytest.raises(TypeError, match='bilateral'):
        SegTTAModel(Net(), crf=dict(bilateral=1))
    binary = Net()
    binary.out_channels = 1
    with pytest.raises(ValueError, match='single channel'):
        SegTTAModel(binary)
    model = SegTTAModel(Net(), crf=CRF)
    with pytest.raises(ValueError, match="Image x: .*img_path.*meta_keys"):
        model.merge_preds([looks()])
    with pytest.raises(FileNotFoundError, match="'x'"):
        model.merge_preds([looks(img_path=str(tmp_path / 'gone.jpg'))])
    path = tmp_path / 'other.png'
    cv2.imwrite(str(path), np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(ValueError, match=r"'x'.*\(4, 5\).*\(10, 12\)"):
        model.merge_preds([looks(img_path=str(path))])


def test_whole_pipeline(tmp_path):
    """TestTimeAug: sizes and flips are undone before the mean."""
    init_default_scope('mmseg')
    path = tmp_path / 'a.png'
    image = np.random.default_rng(0).integers(
        0, 256, (24, 36, 3), dtype=np.uint8)
    cv2.imwrite(str(path), image)
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='mmwsss.SegTTAModel',
            module=dict(
                type='EncoderDecoder',
                data_preprocessor=dict(type='SegDataPreProcessor'),
                backbone=dict(
                    type='ResNet',
                    depth=18,
                    stem_channels=4,
                    base_channels=4,
                    num_stages=1,
                    strides=(1, ),
                    dilations=(1, ),
                    out_indices=(0, )),
                decode_head=dict(
                    type='mmwsss.DeepLabV2Head',
                    in_channels=4,
                    in_index=0,
                    num_classes=3,
                    dilations=(1, )),
                test_cfg=ConfigDict(mode='whole')))).eval()
    pipeline = Compose([
        dict(type='mmwsss.LoadImage'),
        dict(
            type='TestTimeAug',
            transforms=[[
                dict(type='Resize', scale_factor=s, keep_ratio=True)
                for s in (1.0, 1.5)
            ],
                        [
                            dict(type='RandomFlip', prob=0.),
                            dict(type='RandomFlip', prob=1.)
                        ], [dict(type='mmwsss.PackWSSSInputs')]])
    ])
    data = pseudo_collate([pipeline(dict(img_path=str(path), img_id='a'))])
    with torch.no_grad():
        result, = model.test_step(data)
        expected = 0
        for size in ((24, 36), (36, 54)):
            resized = cv2.resize(image, size[::-1])
            for flip in (False, True):
                seen = np.ascontiguousarray(
                    resized[:, ::-1] if flip else resized)
                x = torch.from_numpy(seen).permute(2, 0, 1)[None].float()
                out = F.interpolate(
                    model.module(x, mode='tensor'), size, mode='bilinear')
                out = out.flip(3) if flip else out
                expected = expected + F.interpolate(
                    out, (24, 36), mode='bilinear')[0] / 4
    assert torch.allclose(result.seg_logits.data, expected, atol=1e-4)
    assert result.img_path == str(path)
