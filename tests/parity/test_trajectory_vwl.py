"""Ten steps of VWL's training, both kinds, against a plain training script.

The reference is written from the method alone, with the order and settings of
the authors' scripts: a narrow ResNet-50, one view, words counted one by one,
the memory bank moved after every forward pass and started anew after the
first, SGD as those scripts really set it. It shares no code with the package.
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
    SEED,
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

# Five by five cells at the end, which no grid divides.
SIZE, BASE, WORDS = 80, 2, 12
WIDTH = 32 * BASE


# ------------------------------------------------------------ the network
class Bottleneck(nn.Module):

    def __init__(self, a, m, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(a, m, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(m)
        self.conv2 = nn.Conv2d(m, m, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(m)
        self.conv3 = nn.Conv2d(m, 4 * m, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * m)
        self.downsample = None
        if stride > 1 or a != 4 * m:
            self.downsample = nn.Sequential(
                nn.Conv2d(a, 4 * m, 1, stride, bias=False),
                nn.BatchNorm2d(4 * m))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (self.downsample(x) if self.downsample else x))


class Net(nn.Module):

    def __init__(self, learned):
        super().__init__()
        self.conv1 = nn.Conv2d(3, BASE, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(BASE)
        width = BASE
        for i, (depth, stride) in enumerate(
                zip((3, 4, 6, 3), (1, 2, 2, 1))):
            blocks = []
            for j in range(depth):
                blocks.append(
                    Bottleneck(width, BASE * 2**i, stride if j == 0 else 1))
                width = 4 * BASE * 2**i
            setattr(self, f'layer{i + 1}', nn.Sequential(*blocks))
        self.classifier = nn.Conv2d(WIDTH, 20, 1, bias=False)
        self.fc_b = nn.Conv2d(WIDTH, WORDS, 1, bias=False)
        words = torch.zeros(WORDS, WIDTH, 1, 1)
        if learned:
            self.fc_a = nn.Conv2d(WORDS, 20, 1, bias=False)
            self.words = nn.Parameter(words)
        else:
            self.register_buffer('words', words)
            self.register_buffer('started', torch.tensor(False))

    def forward(self, image, detach_stage2):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(image))), 3, 2, 1)
        x = self.layer2(self.layer1(x))
        if detach_stage2:
            x = x.detach()
        return self.layer4(self.layer3(x))


def draw(learned):
    """The network at its start."""
    net = start(Net(learned), 1.4)
    # Sums of many blocks stay small.
    for module in net.modules():
        if isinstance(module, Bottleneck):
            module.bn3.weight.data *= 0.3
    return net


def state(net):
    """In our names and shapes."""
    names = {
        'classifier.weight': 'cls_head.conv.weight',
        'fc_a.weight': 'regularizers.vwl.histogram_head.weight',
        'fc_b.weight': 'regularizers.vwl.word_head.weight',
        'words': 'regularizers.vwl.codebook',
        'started': 'regularizers.vwl.initialised'
    }
    out = {}
    for key, value in net.state_dict().items():
        ours = names.get(key, f'backbone.{key}')
        if ours.startswith('regularizers') and value.ndim:
            value = value.flatten(1)
        out[ours] = value.clone()
    return out


# ----------------------------------------------------------- the training
def hybrid_pool(x, gamma=2):
    total = gamma * x.mean(dim=(2, 3), keepdim=True)
    for i in (1, 2, 4):
        kernel = (x.shape[2] // i, x.shape[3] // i)
        peaks = F.max_pool2d(x, kernel_size=kernel, stride=kernel)
        total = total + peaks.mean(dim=(2, 3), keepdim=True)
    return total / (gamma + 3)


def assign(x, words):
    cosines = F.conv2d(F.normalize(x, dim=1), F.normalize(words, dim=1))
    soft = torch.softmax(cosines, dim=1)
    return soft, soft.max(dim=1)[1]


def present(ids):
    labels = torch.zeros(len(ids), WORDS, dtype=torch.float64)
    for n, image in enumerate(ids):
        for k in image.flatten().tolist():
            labels[n, k] = 1
    return labels


def move(words, x, ids, rho):
    """C <- rho mu + (1 - rho) C, mu the mean of each word's features."""
    features, members = x.permute(0, 2, 3, 1).flatten(0, 2), ids.flatten()
    for k in range(WORDS):
        mine = features[members == k]
        mean = mine.sum(dim=0) / (len(mine) + 1e-4)
        words[k, :, 0, 0] = rho * mean + (1 - rho) * words[k, :, 0, 0]


def drawn(x):
    """Features of random positions, the run's fixed draw."""
    features = x.permute(0, 2, 3, 1).flatten(0, 2)
    generator = torch.Generator().manual_seed(SEED)
    rows = torch.randint(len(features), (WORDS, ), generator=generator)
    return features[rows][:, :, None, None]


def decorrelation(words):
    c = words.flatten(1)
    c = c - c.mean(dim=1, keepdim=True)
    gram = c @ c.t()
    return ((gram**2).sum().sqrt() - (gram.diag()**2).sum().sqrt()) / 2


def reference(data,
              learned,
              steps=STEPS,
              lr=0.01,
              head_factor=10.,
              momentum=1e-4,
              decay=1e-4,
              power=0.9,
              gamma=2,
              word=1.,
              histogram=1.,
              apart=1.,
              detach_words=True,
              detach_pooled=False,
              detach_stage2=None,
              rho=1e-3,
              update_first=False,
              replace=True,
              replace_first=False):
    """States of a plain training; each argument changes one thing."""
    net = draw(learned)
    states = [state(net)]
    # Always the statistics it came with.
    net.eval()
    net.conv1.requires_grad_(False)
    net.bn1.requires_grad_(False)
    if detach_stage2 is None:
        detach_stage2 = learned
    backbone = [
        p for layer in (net.layer1, net.layer2, net.layer3, net.layer4)
        for p in layer.parameters()
    ]
    heads = [net.classifier.weight, net.fc_b.weight]
    if learned:
        heads += [net.words, net.fc_a.weight]
    optimizer = torch.optim.SGD(
        [dict(params=backbone), dict(params=heads, lr=lr * head_factor)],
        lr=lr, momentum=momentum, weight_decay=decay)
    for step, batch in enumerate(steps_of(optimizer, data, power, steps)):
        labels = batch.labels
        x = net(normalised(batch.images), detach_stage2)
        outputs = net.classifier(hybrid_pool(x, gamma)).flatten(1)
        constant = x.detach() if detach_words else x

        def update():
            with torch.no_grad():
                move(net.words, constant, assign(constant, net.words)[1], rho)
                if step == 0 and replace:
                    net.words.copy_(drawn(constant))
                net.started.fill_(True)

        if not learned and step == 0 and replace_first:
            with torch.no_grad():
                net.words.copy_(drawn(constant))
        if not learned and update_first:
            update()
        soft, ids = assign(constant, net.words)
        pooled = x.mean(dim=(2, 3), keepdim=True)
        if detach_pooled:
            pooled = pooled.detach()
        loss = soft_margin(outputs, labels)
        loss = loss + word * soft_margin(
            net.fc_b(pooled).flatten(1), present(ids))
        if learned:
            counts = soft.sum(dim=(2, 3), keepdim=True)
            loss = loss + histogram * soft_margin(
                net.fc_a(counts).flatten(1), labels)
            loss = loss + apart * decorrelation(net.words)
        elif not update_first:
            update()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        states.append(state(net))
    return states


@pytest.fixture(scope='module')
def data():
    return batches(SIZE)


@pytest.fixture(scope='module')
def trained(data, tmp_path_factory):
    """States of the paper's configs with a narrow network, by kind."""
    found = {}
    for kind in 'lm':
        cfg = scaled(load(f'vwl/vwl-{kind}_r101_voc'))
        cfg.model.backbone.update(
            depth=50, base_channels=BASE, stem_channels=BASE)
        cfg.model.cls_head.in_channels = WIDTH
        cfg.model.regularizers.vwl.update(
            in_channels=WIDTH, num_words=WORDS)
        found[kind] = run(cfg, state(draw(kind == 'l')), data,
                          tmp_path_factory.mktemp(f'vwl-{kind}'))
    return found


@pytest.mark.parametrize('kind', ['l', 'm'])
def test_every_weight_follows(data, trained, kind):
    ours = trained[kind]
    error, step, name = worst(ours, reference(data, kind == 'l'))
    assert error < SAME, f'step {step}: {name} differs by {error}'
    fixed = ('backbone.conv1.', 'backbone.bn1.')
    if kind == 'l':
        fixed += ('backbone.layer1.', 'backbone.layer2.')
    check_moved(
        ours,
        still={
            name
            for name in ours[0]
            if name.startswith(fixed) or name.endswith(
                ('running_mean', 'running_var', 'num_batches_tracked'))
        })


BOTH = [
    dict(lr=0.001),
    dict(head_factor=1.),
    dict(momentum=0.),
    dict(momentum=0.9),
    dict(decay=0.),
    dict(power=1.),
    dict(gamma=1),
    dict(word=0.9),
    dict(detach_pooled=True),
]


@pytest.mark.parametrize('kind,change', [
    *(('l', change) for change in BOTH),
    *(('m', change) for change in BOTH),
    ('l', dict(histogram=0.9)),
    ('l', dict(apart=0.9)),
    ('l', dict(detach_words=False)),
    ('l', dict(detach_stage2=False)),
    ('m', dict(detach_stage2=True)),
    ('m', dict(rho=2e-3)),
    ('m', dict(update_first=True)),
    ('m', dict(replace=False)),
    ('m', dict(replace_first=True)),
], ids=str)
def test_another_training_is_told_apart(data, trained, kind, change):
    other = reference(data, kind == 'l', FEW, **change)
    assert worst(trained[kind][:FEW + 1], other)[0] > OTHER
