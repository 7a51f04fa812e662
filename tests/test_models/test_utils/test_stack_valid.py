"""Where a batch shows images."""
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmwsss.models.utils.stack_valid import stack_valid


def test_stack_valid():
    samples = [SegDataSample() for _ in range(3)]
    part = torch.zeros(1, 4, 5, dtype=torch.uint8)
    part[0, 1:3, 2:] = 1
    samples[1].valid_mask = PixelData(data=part)
    samples[2].valid_mask = PixelData(data=part[:, :3, :4])
    valid = stack_valid(samples, torch.zeros(3, 3, 4, 5))
    assert valid.dtype == torch.bool
    assert valid[0].all()
    assert torch.equal(valid[1], part[0] > 0)
    # A batch that was padded further shows nothing there.
    assert torch.equal(valid[2, :3, :4], part[0, :3, :4] > 0)
    assert not valid[2, 3].any() and not valid[2, :, 4].any()


def test_without_a_mask_the_size_of_the_image_counts():
    sample = SegDataSample(metainfo=dict(img_shape=(3, 4)))
    valid, = stack_valid([sample], torch.zeros(1, 3, 4, 6))
    assert valid[:3, :4].all() and valid.sum() == 12
