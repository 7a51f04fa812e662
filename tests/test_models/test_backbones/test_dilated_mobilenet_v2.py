"""MobileNetV2 at stride 16: same weights, every position of stride 32 too."""
import torch
from mmpretrain.models.backbones import MobileNetV2
from torch import nn
from torch.testing import assert_close

from mmwsss.registry import MODELS

SMALL = dict(widen_factor=0.25, out_indices=(6, 7))


def pair(**kwargs):
    torch.manual_seed(0)
    theirs = MobileNetV2(**SMALL, **kwargs)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=.1)
            module.running_var.uniform_(.5, 2)
    ours = MODELS.build(
        dict(type='mmwsss.DilatedMobileNetV2', **SMALL, **kwargs))
    ours.load_state_dict(theirs.state_dict())  # Every name and shape.
    # Of these, eval() returns nothing.
    ours.eval(), theirs.eval()
    return ours, theirs


@torch.no_grad()
def test_it_gives_what_lies_between_as_well():
    """Of the positions at stride 16, every second one is that of stride 32."""
    ours, theirs = pair()
    x = torch.randn(1, 3, 128, 192)
    for one, other in zip(ours(x), theirs(x)):
        assert one.shape == (*other.shape[:2], 8, 12)
        assert other.shape[2:] == (4, 6)
        assert_close(one[..., ::2, ::2], other, rtol=1e-4, atol=1e-6)
        # Which says nothing if it were constant.
        assert other.std(dim=(2, 3)).mean() > 1e-3


@torch.no_grad()
def test_strides_and_dilations():
    ours, _ = pair()
    convs = [m for m in ours.modules() if isinstance(m, nn.Conv2d)]
    strides = [c.stride for c in convs if c.stride != (1, 1)]
    assert strides == [(2, 2)] * 4
    dilated = [c for c in convs if c.dilation != (1, 1)]
    # The three blocks that follow the one whose stride is gone.
    assert len(dilated) == 3
    for conv in dilated:
        assert conv.kernel_size == (3, 3)
        assert conv.dilation == conv.padding == (2, 2)
    for size, expected in (((64, 96), (4, 6)), ((63, 81), (4, 6)),
                           ((16, 16), (1, 1))):
        assert ours(torch.randn(1, 3, *size))[-1].shape[2:] == expected
    assert ours(torch.randn(1, 3, 32, 32))[-1].shape[1] == 1280
