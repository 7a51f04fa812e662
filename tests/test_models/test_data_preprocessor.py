import pytest
import torch
from mmengine.structures import LabelData, PixelData
from mmseg.models import SegDataPreProcessor
from mmseg.structures import SegDataSample

from mmwsss.models import data_preprocessor as ours
from mmwsss.utils.transfer import send, send_all

from ..fake_gpu import FakeGPU

SETTINGS = dict(
    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True)


def batch(sizes, dtype=torch.uint8, seed=0):
    """Images with all that a pipeline may pack."""
    generator = torch.Generator().manual_seed(seed)
    inputs, samples = [], []
    for i, size in enumerate(sizes):
        inputs.append(
            torch.randint(0, 256, (3, *size), generator=generator).to(dtype))
        sample = SegDataSample(metainfo=dict(img_id=f'{i}', ori_shape=size))
        label = torch.tensor([i, 3])
        sample.gt_label = LabelData(
            label=label, score=torch.zeros(5).index_fill(0, label, 1.))
        mask = torch.randint(0, 3, (1, *size), generator=generator)
        mask[0, 0, 0] = 255
        sample.gt_sem_seg = PixelData(data=mask)
        sample.valid_mask = PixelData(data=mask > 0)
        sample.gt_saliency = PixelData(data=torch.rand(1, *size))
        sample.set_data(dict(class_ids=label, cams=torch.rand(2, *size)))
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


def same(one, other):
    """Two samples hold the same."""
    assert one.metainfo == other.metainfo
    assert set(one.keys()) == set(other.keys())
    for key in ('cams', 'class_ids'):
        assert torch.equal(one.get(key).cpu(), other.get(key))
    for key in ('gt_sem_seg', 'valid_mask', 'gt_saliency'):
        a, b = one.get(key).data.cpu(), other.get(key).data
        assert a.dtype == b.dtype and torch.equal(a, b)
    assert torch.equal(one.gt_label.score, other.gt_label.score)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('sizes,options', [
    (((64, 80), (64, 80)), dict(size_divisor=1)),
    (((64, 80), (64, 80)), dict(size_divisor=96)),
    (((64, 80), (48, 80)), dict(size_divisor=1)),
    (((64, 80), (64, 80)), dict(size=(64, 80))),
    (((64, 80), (64, 80)), dict(size=(96, 96))),
    (((64, 80), ), dict(size_divisor=1, test_cfg=dict(size_divisor=32))),
])
@pytest.mark.parametrize('dtype', [torch.uint8, torch.float32])
def test_equals_mmsegs(training, sizes, options, dtype):
    """Bit for bit, on the CPU and on a device."""
    if not training and len(set(sizes)) > 1:
        pytest.skip('mmseg refuses it as well')
    theirs = SegDataPreProcessor(**SETTINGS, **options)(
        batch(sizes, dtype), training)
    torch.manual_seed(0)
    for gpu in (False, True):
        module = ours.SegDataPreProcessor(**SETTINGS, **options)
        torch.manual_seed(0)
        data = batch(sizes, dtype)
        if gpu:
            with FakeGPU() as device:
                found = module.to(device.device)(data, training)
                check(found, reference(sizes, dtype, options, training))
        else:
            check(module(data, training),
                  reference(sizes, dtype, options, training))
    assert theirs['inputs'].dtype == torch.float32


def reference(sizes, dtype, options, training):
    torch.manual_seed(0)
    return SegDataPreProcessor(**SETTINGS, **options)(
        batch(sizes, dtype), training)


def check(found, expected):
    inputs = found['inputs'].cpu()
    assert inputs.dtype == expected['inputs'].dtype
    assert torch.equal(inputs, expected['inputs'])
    for one, other in zip(found['data_samples'], expected['data_samples']):
        same(one, other)


def test_a_batch_goes_to_the_device_without_a_wait():
    """mmseg's makes the host wait for every piece."""
    waits = {}
    for kind in (SegDataPreProcessor, ours.SegDataPreProcessor):
        with FakeGPU() as gpu:
            module = kind(**SETTINGS, size_divisor=1).to(gpu.device)
            data = batch([(64, 80)] * 2)
            with gpu.counting() as counts:
                out = module(data, True)
            waits[kind] = counts.num_waits
            assert out['inputs'].device == gpu.device
            sample = out['data_samples'][0]
            assert sample.gt_sem_seg.data.device == gpu.device
    assert waits[SegDataPreProcessor] >= 12
    assert waits[ours.SegDataPreProcessor] == 0
    # The host reads them.
    assert sample.gt_label.label.device.type == 'cpu'


def test_numbers_that_are_no_bytes_arrive():
    """Also those outside a byte, of odd shapes, and none at all."""
    tensors = [
        torch.full((70, 70), -1),
        torch.full((70, 70), 256),
        torch.full((70, 70), 255),
        torch.arange(3), torch.zeros(0, 4), torch.tensor(7.5),
        torch.rand(5, 4).T
    ]
    with FakeGPU() as gpu:
        with gpu.counting() as counts:
            moved = send_all(tensors, gpu.device)
            single = send(tensors[-1], gpu.device)
        assert counts.num_waits == 0
        for x, y in zip([*tensors, tensors[-1]], [*moved, single]):
            assert y.device == gpu.device and y.dtype == x.dtype
            assert torch.equal(y.cpu(), x)
