"""Small networks with weights in files, to be frozen by the tests."""
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import nn

from mmwsss.registry import MODELS

#: For an AttentionViT with two blocks.
TINY_ARCH = dict(
    embed_dims=12, num_layers=2, num_heads=3, feedforward_channels=24)


@MODELS.register_module()
class ToyFrozenNet(BaseModule):
    """A convolution of patches; everything that training mode changes.

    Gives two maps: one of ``channels`` at ``stride``, one of half the
    channels at twice the stride.
    """

    def __init__(self, stride: int = 4, channels: int = 6,
                 init_cfg=None) -> None:
        super().__init__(init_cfg)
        self.conv = nn.Conv2d(3, channels, stride, stride)
        self.norm = nn.BatchNorm2d(channels)
        self.drop = nn.Dropout(0.5)
        self.reduce = nn.Conv2d(channels, channels // 2, 2, 2)

    def forward(self, x):
        x = self.drop(self.norm(self.conv(x)))
        even = F.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))
        return x, self.reduce(even)


def _saved(cfg: dict, path: Path, seed: int) -> dict:
    """Save random weights and name them in a config."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = MODELS.build(cfg)
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                value.normal_(std=0.3)
            if name.endswith(('running_var', )):
                value.abs_().add_(0.5)
    torch.save(network.state_dict(), path)
    return dict(
        cfg, init_cfg=dict(type='Pretrained', checkpoint=str(path)))


def toy_network(folder: Path, seed: int = 0, stride: int = 4,
                channels: int = 6, **kwargs) -> dict:
    """Arguments of a FrozenBackbone around a ToyFrozenNet."""
    backbone = _saved(
        dict(type='mmwsss.ToyFrozenNet', stride=stride, channels=channels),
        folder / f'toy{seed}_{stride}_{channels}.pth', seed)
    kwargs.setdefault('out_index', 0)
    kwargs.setdefault('divisor', stride)
    kwargs.setdefault('channels', channels)
    return dict(backbone=backbone, **kwargs)


def vit_network(folder: Path, seed: int = 0, **kwargs) -> dict:
    """The same around an AttentionViT of two blocks, patch 8."""
    backbone = _saved(
        dict(
            type='mmwsss.AttentionViT',
            arch=TINY_ARCH,
            img_size=32,
            patch_size=8,
            out_indices=(0, 1)), folder / f'vit{seed}.pth', seed)
    kwargs.setdefault('out_index', 0)
    kwargs.setdefault('divisor', 8)
    kwargs.setdefault('channels', 12)
    return dict(backbone=backbone, **kwargs)


def pictures(*size: int, seed: int = 0) -> torch.Tensor:
    """Random images in grey levels."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, size, generator=generator).float()


def plain_features(network: dict, image: torch.Tensor,
                   index: int = 0) -> torch.Tensor:
    """Map of a frozen network whose image needs no resizing."""
    model = MODELS.build(network['backbone'])
    path = network['backbone']['init_cfg']['checkpoint']
    model.load_state_dict(torch.load(path, weights_only=True))
    mean = torch.tensor([123.675, 116.28, 103.53]).view(-1, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375]).view(-1, 1, 1)
    model.eval()
    with torch.no_grad():
        return model((image - mean) / std)[index]
