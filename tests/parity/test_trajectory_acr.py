"""Ten steps of ACR's training against a plain training script.

The reference is written from the method alone: a small hybrid transformer,
two forward passes per step, attention of the mirrored image put back token by
token, SGD as the authors' script really sets it. It shares no code with the
package.
"""
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ..small_models import load
from .trajectory import (
    FEW,
    OTHER,
    SAME,
    STEPS,
    batches,
    check_moved,
    normalised,
    run,
    scaled,
    soft_margin,
    start,
    steps_of,
    worst,
)

SIZE, WIDTH, HEADS, DEPTH, HIDDEN = 64, 16, 2, 3, 24
STORED = 3  # Rows of the position embedding; the image has four.
LAYERS, CHANNELS, STEM = (1, 2, 1), (16, 32, 64), 8


# ------------------------------------------------------------ the network
class StdConv(nn.Conv2d):
    """Standardised weights, TensorFlow's SAME padding."""

    def __init__(self, a, b, kernel, stride=1):
        super().__init__(a, b, kernel, stride, bias=False)

    def forward(self, x):
        w = self.weight
        mean = w.mean(dim=(1, 2, 3), keepdim=True)
        std = ((w - mean)**2).mean(dim=(1, 2, 3), keepdim=True).sqrt()
        x = pad_same(x, self.kernel_size[0], self.stride[0], 0.)
        return F.conv2d(x, (w - mean) / (std + 1e-5), stride=self.stride)


def pad_same(x, kernel, stride, value):
    sides = []
    for n in (x.shape[3], x.shape[2]):
        total = max((-(-n // stride) - 1) * stride + kernel - n, 0)
        sides += [total // 2, total - total // 2]
    return F.pad(x, sides, value=value)


def norm(channels):
    return nn.GroupNorm(min(32, channels), channels, eps=1e-5)


class Bottleneck(nn.Module):

    def __init__(self, a, b, stride, project):
        super().__init__()
        m = b // 4
        self.conv1, self.norm1 = StdConv(a, m, 1), norm(m)
        self.conv2, self.norm2 = StdConv(m, m, 3, stride), norm(m)
        self.conv3, self.norm3 = StdConv(m, b, 1), norm(b)
        self.project = project
        if project:
            self.short_conv, self.short_norm = StdConv(a, b, 1,
                                                       stride), norm(b)

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        y = self.norm3(self.conv3(y))
        if self.project:
            x = self.short_norm(self.short_conv(x))
        return F.relu(x + y)


class Block(nn.Module):

    def __init__(self):
        super().__init__()
        self.norm1 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)
        self.norm2 = nn.LayerNorm(WIDTH, eps=1e-6)
        self.fc1 = nn.Linear(WIDTH, HIDDEN)
        self.fc2 = nn.Linear(HIDDEN, WIDTH)

    def forward(self, x):
        n, t, d = x.shape
        q, k, v = (
            part.view(n, t, HEADS, d // HEADS).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).split(d, dim=2))
        attention = torch.softmax(
            q @ k.transpose(2, 3) / (d // HEADS)**0.5, dim=3)
        heads = (attention @ v).transpose(1, 2).reshape(n, t, d)
        x = x + self.proj(heads)
        x = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return x, attention.mean(dim=1)


class Net(nn.Module):

    def __init__(self):
        super().__init__()
        self.stem_conv, self.stem_norm = StdConv(3, STEM, 7, 2), norm(STEM)
        self.stages = nn.ModuleList()
        width = STEM
        for i, (depth, channels) in enumerate(zip(LAYERS, CHANNELS)):
            stage = nn.ModuleList()
            for j in range(depth):
                stride = 2 if i > 0 and j == 0 else 1
                stage.append(Bottleneck(width, channels, stride, j == 0))
                width = channels
            self.stages.append(stage)
        self.to_tokens = nn.Conv2d(width, WIDTH, 1)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + STORED**2, WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.head = nn.Linear(WIDTH, 20)

    def forward(self, image):
        """Logits (N, 20) and attention (N, layers, T, T)."""
        x = F.relu(self.stem_norm(self.stem_conv(image)))
        x = F.max_pool2d(pad_same(x, 3, 2, -torch.inf), 3, 2)
        for stage in self.stages:
            for block in stage:
                x = block(x)
        x = self.to_tokens(x)
        n, _, gh, gw = x.shape
        pos = self.pos_embed[:, 1:].transpose(1, 2)
        pos = F.interpolate(
            pos.reshape(1, WIDTH, STORED, STORED), (gh, gw), mode='bilinear',
            align_corners=False)
        pos = pos.flatten(2).transpose(1, 2)
        pos = torch.cat((self.pos_embed[:, :1], pos), dim=1)
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(n, 1, WIDTH), x), dim=1) + pos
        attention = []
        for block in self.blocks:
            x, matrix = block(x)
            attention.append(matrix)
        # Before any final LayerNorm.
        return self.head(x[:, 0]), torch.stack(attention, dim=1)


OUR_NAMES = (
    ('stem_conv.', 'patch_embed.backbone.stem.conv.'),
    ('stem_norm.', 'patch_embed.backbone.stem.norm.'),
    ('short_conv.', 'downsample.conv.'),
    ('short_norm.', 'downsample.norm.'),
    ('to_tokens.', 'patch_embed.projection.'),
    ('qkv.', 'attn.qkv.'),
    ('proj.', 'attn.proj.'),
    ('fc1.', 'ffn.layers.0.0.'),
    ('fc2.', 'ffn.layers.1.'),
)


def our_name(name):
    if name.startswith('head.'):
        return name.replace('head.', 'cls_head.fc.')
    if name.startswith('stages.'):
        _, i, j, rest = name.split('.', 3)
        name = f'patch_embed.backbone.stages.{i}.blocks.{j}.{rest}'
    elif name.startswith('blocks.'):
        name = name.replace('blocks.', 'layers.').replace('norm', 'ln')
    for theirs, ours in OUR_NAMES:
        if theirs in name and ours not in name:
            name = name.replace(theirs, ours)
            break
    return 'backbone.' + name


def state(net):
    """In our names."""
    return {our_name(k): v.clone() for k, v in net.state_dict().items()}


# ----------------------------------------------------------- the training
def reference(data,
              steps=STEPS,
              alpha=125.,
              lr=0.05,
              momentum=5e-4,
              decay=0.,
              power=0.9,
              views=2,
              affinity=True,
              realign=True,
              detach=False):
    """States of a plain training; each argument changes one thing."""
    net = start(Net())
    states = [state(net)]
    optimizer = torch.optim.SGD(
        net.parameters(), lr=lr, momentum=momentum, weight_decay=decay)
    for batch in steps_of(optimizer, data, power, steps):
        image, labels = normalised(batch.images), batch.labels
        logits1, attention1 = net(image)
        logits2, attention2 = net(torch.flip(image, dims=(3, )))
        if detach:
            attention2 = attention2.detach()
        loss = soft_margin(logits1, labels)
        if views == 2:
            loss = loss + soft_margin(logits2, labels)
        side = SIZE // 16
        order = torch.arange(side * side)
        if realign:
            order = torch.tensor([
                i * side + side - 1 - j for i in range(side)
                for j in range(side)
            ])
        rows1 = attention1[:, :, 0, 1:]
        rows2 = attention2[:, :, 0, 1:][:, :, order]
        activation = (rows1 - rows2).abs().mean()
        pairs1 = attention1[:, :, 1:, 1:]
        pairs2 = attention2[:, :, 1:, 1:][:, :, order][:, :, :, order]
        consistency = activation
        if affinity:
            consistency = consistency + (pairs1 - pairs2).abs().mean()
        loss = loss + alpha * consistency
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        states.append(state(net))
    return states


@pytest.fixture(scope='module')
def data():
    return batches(SIZE)


@pytest.fixture(scope='module')
def ours(data, tmp_path_factory):
    """States of the paper's config with a small network."""
    cfg = scaled(load('acr/acr_vit_voc'))
    cfg.model.backbone.update(
        arch=dict(
            embed_dims=WIDTH,
            num_layers=DEPTH,
            num_heads=HEADS,
            feedforward_channels=HIDDEN),
        img_size=16 * STORED,
        stem=dict(layers=LAYERS, channels=CHANNELS, stem_channels=STEM))
    cfg.model.cls_head.in_channels = WIDTH
    # The script's weight belongs to the tokens of its crop, here to these.
    cfg.model.regularizers.acr.num_tokens = (SIZE // 16)**2
    return run(cfg, state(start(Net())), data,
               tmp_path_factory.mktemp('acr'))


def test_every_weight_follows(data, ours):
    error, step, name = worst(ours, reference(data))
    assert error < SAME, f'step {step}: {name} differs by {error}'
    check_moved(ours, still=set())


@pytest.mark.parametrize('change', [
    dict(alpha=100.),
    dict(lr=0.01),
    dict(momentum=0.),
    dict(momentum=0.9),
    dict(decay=5e-4),
    dict(power=1.),
    dict(views=1),
    dict(affinity=False),
    dict(realign=False),
    dict(detach=True),
], ids=str)
def test_another_training_is_told_apart(data, ours, change):
    other = reference(data, FEW, **change)
    assert worst(ours[:FEW + 1], other)[0] > OTHER
