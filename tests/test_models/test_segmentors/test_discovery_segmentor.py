"""FOUND's training: losses by hand, its phases, runs, maps on disk."""
import copy
import os
import runpy
import sys

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmseg.structures import SegDataSample
from torch import nn

from mmwsss.apis.discover_objects import discover_objects
from mmwsss.apis.run import train
from mmwsss.models.backbones.frozen_features import FrozenBackbone
from mmwsss.models.discovery import (
    LinearSaliency,
    cached_patch_tokens,
    read_patch_tokens,
)
from mmwsss.pseudo_labels.bilateral_solver import BilateralSolver
from mmwsss.pseudo_labels.object_discovery import (
    BackgroundDiscovery,
    PatchTokens,
)
from mmwsss.registry import MODELS
from mmwsss.utils.read_images import read_image, read_saliency

from ...fake_gpu import FakeGPU
from ...test_datasets.builders import METAINFO, make_voc
from ...test_tools import TOOLS, call, free_port
from ..frozen_builders import pictures, toy_network, vit_network

GREY = dict(
    type='SegDataPreProcessor',
    mean=[0., 0., 0.],
    std=[1., 1., 1.],
    bgr_to_rgb=True,
    size_divisor=1)


def settings(folder, network=None, **kwargs):
    return dict(
        dict(
            type='mmwsss.DiscoverySegmentor',
            data_preprocessor=GREY,
            discovery=dict(
                network=network or vit_network(folder),
                finder=dict(
                    type='mmwsss.LinearSaliency',
                    in_channels=12,
                    init_cfg=dict(type='Normal', layer='Conv2d', std=1.))),
            teacher=dict(type='mmwsss.BackgroundDiscovery'),
            refiner=dict(type='mmwsss.BilateralSolver')), **kwargs)


def build(folder, seed=0, **kwargs):
    model = MODELS.build(settings(folder, **kwargs))
    torch.manual_seed(seed)
    model.init_weights()
    return model


def scenes(count, height=32, width=48):
    """Halves of two colours, with a little noise."""
    images = pictures(count, 3, height, width) / 16
    for i in range(count):
        images[i, 0, :, :12 + 8 * i] += 150
        images[i, 2, :, 12 + 8 * i:] += 90
    return images


def samples(images):
    return [
        SegDataSample(metainfo=dict(img_shape=tuple(i.shape[1:])))
        for i in images
    ]


def at(step, steps=500):
    """As a runner notes it before the step, counted from 0."""
    hub = MessageHub.get_current_instance()
    hub.update_info('iter', step)
    hub.update_info('max_iters', steps)


@pytest.fixture(autouse=True)
def _clean():
    yield
    at(0, None)
    MessageHub.get_current_instance().update_info('iter', None)


def plain_losses(model, images, step):
    """Of one batch, a patch at a time; the switch is at step 100."""
    conv = model.discovery.finder.conv
    weight, bias = conv.weight.detach().flatten(), float(conv.bias.detach())
    sums, count = dict(refined=0., rule=0., own=0.), 0
    for image in images:
        keys, row = read_patch_tokens(model.discovery.network, image[None])
        heads, gh, gw, size = keys.shape
        logits = np.zeros((gh, gw))
        for y in range(gh):
            for x in range(gw):
                logits[y, x] = bias + sum(
                    float(weight[h * size + c] * keys[h, y, x, c])
                    for h in range(heads) for c in range(size))

        def refine(mask, image=image):
            maps = F.interpolate(
                torch.from_numpy(mask)[None, None].float(), image.shape[1:],
                mode='bilinear')
            before = maps[0, 0].numpy() > .5
            after = BilateralSolver()(image[None], maps)[0, 0].numpy() > .5
            both, any_ = (before & after).sum(), (before | after).sum()
            if any_ and both / any_ < .5:
                return mask
            # Of each patch of 8 x 8, bilinear: its four inner pixels.
            return np.array([[
                after[8 * y + 3:8 * y + 5, 8 * x + 3:8 * x + 5].any()
                for x in range(gw)
            ] for y in range(gh)])

        own = logits > 0
        rule = BackgroundDiscovery()(PatchTokens(keys, row)).any(axis=0)
        chance = 1 / (1 + np.exp(-logits))
        for name, target in (('own', own), ('refined', refine(own)),
                             ('rule', refine(rule))):
            sums[name] -= np.where(target, np.log(chance),
                                   np.log(1 - chance)).sum()
        count += logits.size
    means = {name: value / count for name, value in sums.items()}
    losses = dict(loss_refined=1.5 * means['refined'])
    if step < 100:
        losses['loss_rule'] = means['rule']
    else:
        losses['loss_own'] = 4 * means['own']
    return losses


@pytest.mark.parametrize('step', [0, 99, 100, 499])
def test_losses(tmp_path, step):
    model = build(tmp_path)
    images = scenes(3)
    at(step)
    found = model.loss(images, samples(images))
    expected = plain_losses(model, images, step)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert float(found[name].detach()) == pytest.approx(value, rel=1e-4)
    # Targets are constants: the gradient is that of the logits alone.
    sum(found.values()).backward()
    grads = {n for n, p in model.named_parameters() if p.grad is not None}
    assert grads == {f'discovery.finder.conv.{n}' for n in ('weight', 'bias')}


def test_losses_are_means_over_processes(tmp_path):
    """What two processes compute of halves of a batch is what one does."""
    model = build(tmp_path)
    images = scenes(4)
    for step in (3, 300):
        at(step)
        whole = model.loss(images, samples(images))
        parts = [model.loss(half, samples(half)) for half in images.split(2)]
        for name, value in whole.items():
            torch.testing.assert_close(
                value, (parts[0][name] + parts[1][name]) / 2)


def test_several_sizes(tmp_path):
    """Padding changes nothing; the mean is over all patches."""
    model = build(tmp_path)
    small, large = scenes(1, 16, 24), scenes(1)
    batch = torch.full((2, 3, 32, 48), 77.)
    batch[0, :, :16, :24], batch[1] = small[0], large[0]
    at(0)
    found = model.loss(batch, [*samples(small), *samples(large)])
    parts = [
        model.loss(one, samples(one)) for one in (small, large)
    ]
    for name, value in found.items():
        expected = (6 * parts[0][name] + 24 * parts[1][name]) / 30
        torch.testing.assert_close(value, expected)


class Fixed(nn.Module):
    """A teacher with a given answer."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, tokens):
        return self.answer


class Half(nn.Module):
    """A refiner that answers with the left part of the image."""

    def __init__(self, columns):
        super().__init__()
        self.columns = columns

    def forward(self, image, maps):
        found = torch.zeros(*maps.shape[:2], *image.shape[2:])
        found[..., :self.columns] = 1
        return found


def test_targets_by_hand(tmp_path):
    model = build(tmp_path)
    image = scenes(1)
    tokens = read_patch_tokens(model.discovery.network, image)
    logits = torch.full((4, 6), -1.)
    logits[:, :2] = 1  # 16 of 48 columns.
    own = logits > 0
    # Overlap 16 / 21. Column 20 is the last, of the third patch the fifth:
    # its middle pixels are 19 and 20.
    for columns, patches in ((21, 3), (20, 3), (19, 2), (8, 1), (7, 2)):
        model.refiner = Half(columns)
        found = model.targets(image, tokens, logits, rule=False)
        expected = torch.zeros(4, 6, dtype=torch.bool)
        expected[:, :patches] = True
        assert torch.equal(found[0], own)
        assert torch.equal(found[1], expected), columns
        assert len(found) == 2
    # The teacher's mask is refined as well, whatever it found.
    grid = np.zeros((2, 4, 6), bool)
    grid[0, :, 1], grid[1, :, 0] = True, True
    for teacher, column in ((grid, 3), (grid[:0], 0)):
        model.teacher = Fixed(teacher)
        model.refiner = Half(21)
        found = model.targets(image, tokens, logits, rule=True)
        expected = torch.zeros(4, 6, dtype=torch.bool)
        expected[:, :column] = True
        assert torch.equal(found[2], expected)
    model.refiner = None
    model.teacher = Fixed(grid)
    found = model.targets(image, tokens, logits, rule=True)
    assert torch.equal(found, own.expand(3, -1, -1))


def test_logits(tmp_path):
    finder = LinearSaliency(in_channels=12)
    model = build(tmp_path)
    tokens = read_patch_tokens(model.discovery.network, scenes(1))
    found = finder(tokens)
    keys = tokens.keys.permute(1, 2, 0, 3).reshape(4, 6, 12)
    expected = keys @ finder.conv.weight.flatten() + finder.conv.bias
    np.testing.assert_allclose(
        found[0], expected.detach().numpy(), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match='in_channels=13.*12 channels'):
        LinearSaliency(in_channels=13)(tokens)
    with pytest.raises(ValueError, match='NormalizedCut'):
        MODELS.build(settings(tmp_path, discovery=dict(
            network=vit_network(tmp_path),
            finder=dict(type='mmwsss.NormalizedCut'))))


def test_prediction(tmp_path):
    """Logits are enlarged before they are compared."""
    model = build(tmp_path)
    images = scenes(2)
    found = model.predict(images, samples(images))
    logits = model._forward(images)
    assert logits.shape == (2, 1, 32, 48)
    for i, sample in enumerate(found):
        torch.testing.assert_close(sample.seg_logits.data, logits[i])
        mask = sample.pred_sem_seg.data
        assert torch.equal(mask, (sample.seg_logits.data > 0).long())
        assert 0 < mask.float().mean() < 1
        assert np.array_equal(
            model.discovery(images[i:i + 1]).any(axis=0), mask[0].bool())
    # Longer images are looked at smaller, as for the maps on disk.
    model.discovery.long_side = 24
    mask = model.predict(images, samples(images))[0].pred_sem_seg.data
    assert np.array_equal(model.discovery(images[:1]).any(axis=0),
                          mask[0].bool())
    assert mask.shape == (1, 32, 48)
    model.discovery.long_side = None
    coarse = F.interpolate(
        torch.from_numpy(model.discovery.finder(read_patch_tokens(
            model.discovery.network, images[:1])) > 0)[None].float(),
        (32, 48), mode='bilinear') > .5
    assert not torch.equal(coarse[0].long(), found[0].pred_sem_seg.data)


# ------------------------------------------------------------------- cache
def test_cache(tmp_path):
    network = vit_network(tmp_path)
    model = build(tmp_path, network=dict(
        network, cache_dir=str(tmp_path / 'cache')))
    plain = build(tmp_path, network=network)
    images = scenes(3)
    first = cached_patch_tokens(model.discovery.network, images)
    for image, tokens in zip(images, first):
        expected = read_patch_tokens(plain.discovery.network, image[None])
        for one, other in zip(tokens, expected):
            assert one.shape == other.shape
            torch.testing.assert_close(
                one, other.half().float(), rtol=2e-3, atol=1e-6)
    files = [p for p in (tmp_path / 'cache').rglob('*.npy')]
    assert len(files) == 3
    # Read, not computed: nothing but one image goes through the network.
    seen = []
    model.discovery.network.get_network().register_forward_hook(
        lambda module, inputs, output: seen.append(len(inputs[0])))
    again = cached_patch_tokens(
        model.discovery.network, torch.cat((images, scenes(1).flip(3))))
    assert seen == [1]
    for one, other in zip(again, first):
        assert torch.equal(one.keys, other.keys)
        assert torch.equal(one.class_row, other.class_row)


def test_cache_without_class_token(tmp_path):
    network = FrozenBackbone(**toy_network(
        tmp_path, cache_dir=str(tmp_path / 'cache')))
    images = pictures(2, 3, 20, 28)
    for _ in range(2):
        found = cached_patch_tokens(network, images)
        assert [t.class_row for t in found] == [None, None]
    assert torch.equal(found[1].keys[0],
                       network(images)[1].permute(1, 2, 0))


# -------------------------------------------------------------------- runs
@pytest.fixture
def home(tmp_path, monkeypatch):
    """A config of a training of five steps, and its images."""
    make_voc(tmp_path / 'data', dict(a=[0], b=[1], c=[0, 1], d=[1]))
    for img_id, image in zip('abcd', scenes(4)):
        cv2.imwrite(
            str(tmp_path / f'data/JPEGImages/{img_id}.jpg'),
            image.permute(1, 2, 0).byte().numpy()[..., ::-1])
    runtime = Config.fromfile(TOOLS.parent / 'configs/_base_'
                              '/found_runtime.py')
    schedule = Config.fromfile(TOOLS.parent / 'configs/_base_/schedules'
                               '/found_500.py')
    cfg = Config(dict(runtime._cfg_dict.to_dict()))
    cfg.merge_from_dict(schedule._cfg_dict.to_dict())
    cfg.merge_from_dict(
        dict(
            model=settings(
                tmp_path,
                network=vit_network(
                    tmp_path, cache_dir=str(tmp_path / 'cache'))),
            train_dataloader=dict(
                batch_size=2,
                num_workers=0,
                sampler=dict(type='mmwsss.InfiniteSeededSampler'),
                dataset=dict(
                    type='mmwsss.ImageLevelDataset',
                    data_root=str(tmp_path / 'data'),
                    ann_file='ImageSets/Segmentation/train.txt',
                    labels_file='labels.json',
                    metainfo=METAINFO,
                    pipeline=[
                        dict(type='mmwsss.LoadImage'),
                        dict(type='mmwsss.SquareResize', size=32),
                        dict(type='mmwsss.PackWSSSInputs')
                    ])),
            train_cfg=dict(max_iters=5),
            # Predictions stay apart.
            optim_wrapper=dict(optimizer=dict(lr=1e-3)),
            default_hooks=dict(checkpoint=dict(interval=3))))
    cfg.dump(tmp_path / 'config.py')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def weights(folder):
    last = torch.load(
        (folder / 'last_checkpoint').read_text(), weights_only=True)
    return last['state_dict']


def test_train_and_discover(home):
    with pytest.raises(
            FileNotFoundError,
            match='(?s)no checkpoint.*trained first.*train.py config.py'):
        discover_objects('config.py')
    model = train('config.py')
    state = weights(home / 'work_dirs/config')
    assert set(state) == {
        'discovery.network.digest', 'discovery.finder.conv.weight',
        'discovery.finder.conv.bias'
    }
    assert state['discovery.network.digest'].any()
    # The same folder, without a word about the checkpoint.
    parse = runpy.run_path(str(TOOLS / 'discover_objects.py'))['parse_args']
    result = discover_objects(**vars(parse(['config.py'])))
    assert result.num_written == 4
    model.eval()
    shares = []
    for img_id in 'abcd':
        image = read_image(f'data/JPEGImages/{img_id}.jpg', img_id)
        image = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)
        sample = model.predict(image[None].float())[0]
        saliency = read_saliency(
            f'work_dirs/config/saliency/{img_id}.png', img_id)
        assert np.array_equal(saliency > 0,
                              sample.pred_sem_seg.data[0].bool())
        shares.append((saliency > 0).mean())
    assert 0 < np.mean(shares) < 1
    assert discover_objects('config.py').num_written == 0
    # Other weights are other settings.
    os.mkdir('other')
    other = torch.load('work_dirs/config/iter_5.pth', weights_only=True)
    other['state_dict']['discovery.finder.conv.bias'] += 9
    torch.save(other, 'other/iter_5.pth')
    with pytest.raises(ValueError, match='(?s)other settings.*learned'):
        discover_objects('config.py', checkpoint='other/iter_5.pth')
    found = discover_objects(
        'config.py', 'all', checkpoint='other/iter_5.pth')
    assert found.num_written == 4
    assert read_saliency('all/saliency/a.png', 'a').all()


def test_refuses_other_checkpoints(home):
    train('config.py')
    torch.save(dict(state_dict={'head.weight': torch.ones(2)}), 'x.pth')
    with pytest.raises(ValueError, match='(?s)x.pth is no.*finder.conv'):
        discover_objects('config.py', checkpoint='x.pth')
    options = {'model.discovery.network.long_side': 64}
    with pytest.raises(ValueError, match='features of another network'):
        discover_objects('config.py', 'other', cfg_options=options)
    cfg = Config.fromfile('config.py')
    cfg.discovery = dict(
        cfg.model.discovery, finder=dict(type='mmwsss.NormalizedCut'))
    with pytest.raises(ValueError, match='rule without weights'):
        discover_objects(cfg, 'rule', checkpoint='x.pth')


def test_resume(home):
    """Interrupted after three of five steps, it ends with the same weights."""
    train('config.py', work_dir='whole')
    # The rule teaches in the first step of five, FOUND's own in the others.
    train(
        'config.py', work_dir='part',
        cfg_options={'train_cfg.max_iters': 3, 'model.rule_share': 1 / 3})
    before = weights(home / 'part')
    train('config.py', work_dir='part', resume=True)
    whole, part = weights(home / 'whole'), weights(home / 'part')
    assert not torch.equal(before['discovery.finder.conv.weight'],
                           part['discovery.finder.conv.weight'])
    for name, value in whole.items():
        assert torch.equal(value, part[name]), name


def test_half_precision(tmp_path):
    model = build(tmp_path)
    images = scenes(2)
    for step in (0, 400):
        at(step)
        full = model.loss(images, samples(images))
        with torch.autocast('cpu', torch.bfloat16):
            half = model.loss(images, samples(images))
        for name, value in full.items():
            assert half[name].dtype == torch.float32
            torch.testing.assert_close(
                half[name], value, rtol=.05, atol=.02)


def test_fake_gpu(tmp_path):
    model = build(tmp_path)
    images = scenes(2)
    on_gpu = copy.deepcopy(model)
    at(0)
    expected = model.loss(images, samples(images))
    mask = model.predict(images, samples(images))[1].pred_sem_seg.data
    with FakeGPU() as gpu:
        on_gpu.to(gpu.device)
        found = on_gpu.loss(images.to(gpu.device), samples(images))
        sum(found.values()).backward()
        after = on_gpu.predict(images.to(gpu.device), samples(images))
        assert torch.equal(after[1].pred_sem_seg.data.cpu(), mask)
    for name, value in expected.items():
        torch.testing.assert_close(found[name].cpu(), value)


@pytest.mark.slow
def test_two_processes(home):
    """They end with the weights of one that takes the whole batch."""
    options = ['--cfg-options', 'train_dataloader.batch_size=4']
    call(sys.executable, TOOLS / 'train.py', 'config.py', '--work-dir', 'one',
         *options, cwd=home)
    call(
        sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2',
        f'--master_port={free_port()}', TOOLS / 'train.py', 'config.py',
        '--work-dir', 'two', '--launcher', 'pytorch', cwd=home)
    one, two = weights(home / 'one'), weights(home / 'two')
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], rtol=1e-4, atol=1e-5)
