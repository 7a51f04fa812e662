"""Statistics of frozen features, in trainings of a linear classifier."""
import sys

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from mmwsss.models.backbones.frozen_features import (
    FrozenBackbone,
    FrozenFeatures,
)
from mmwsss.registry import HOOKS
from mmwsss.utils.read_images import read_image
from tests.test_tools import call, free_port

from .frozen_run import SIZES, make_data, networks, score, train


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path / 'data')


def all_positions(root):
    """(positions, channels) of all images, one by one."""
    model = FrozenFeatures(networks(root, False), standardize=False)
    columns = []
    for img_id in SIZES:
        image = read_image(str(root / f'JPEGImages/{img_id}.jpg'), img_id)
        rgb = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)
        columns.append(model(rgb[None].float())[0][0].flatten(1).T.numpy())
    return np.concatenate(columns).astype(np.float64)


def steps_of(runner):
    return runner.message_hub.get_scalar('train/loss').data[0]


def test_statistics_of_all_positions(data, tmp_path):
    runner = train(data, tmp_path / 'run', epochs=1)
    backbone = runner.model.backbone
    values = all_positions(data)
    # c is 6 x 6 positions of 4 pixels, and so on.
    assert len(values) == sum(h * w // 16 for h, w in SIZES.values())
    assert int(backbone.num_positions) == len(values)
    assert_close(
        backbone.mean.numpy(), values.mean(axis=0), check_dtype=False,
        rtol=1e-5, atol=1e-6)
    assert_close(
        backbone.std.numpy(), values.std(axis=0), check_dtype=False,
        rtol=1e-5, atol=1e-6)
    # Saved, and safe to load.
    saved = torch.load(
        tmp_path / 'run' / 'epoch_1.pth', weights_only=True)['state_dict']
    assert torch.equal(saved['backbone.mean'], backbone.mean)
    assert set(saved) == {
        'backbone.mean', 'backbone.std', 'backbone.num_positions',
        'backbone.networks.0.digest', 'backbone.networks.1.digest',
        'cls_head.conv.weight', 'cls_head.conv.bias'
    }
    assert saved['backbone.networks.0.digest'].any()


def test_a_model_that_has_them_is_left_alone(data, tmp_path, monkeypatch):
    train(data, tmp_path / 'run', epochs=1)
    path = tmp_path / 'run' / 'epoch_1.pth'
    before = torch.load(path, weights_only=True)

    def never(*args):
        raise AssertionError('estimated again')

    monkeypatch.setattr(FrozenFeatures, 'set_statistics', never)
    runner = train(
        data, tmp_path / 'run', epochs=2, resume=True, load_from=str(path))
    assert runner.epoch == 2
    assert torch.equal(runner.model.backbone.mean,
                       before['state_dict']['backbone.mean'])


@pytest.mark.slow
def test_a_resumed_training_is_the_unbroken_one(data, tmp_path):
    """Nothing depends on when the frozen networks are built."""
    whole = train(data, tmp_path / 'whole', dropout=0.5)
    train(data, tmp_path / 'part', epochs=1, dropout=0.5)
    resumed = train(
        data, tmp_path / 'part', epochs=2, dropout=0.5, resume=True,
        load_from=str(tmp_path / 'part' / 'epoch_1.pth'))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_models_without_frozen_features():
    class Runner:
        model = torch.nn.BatchNorm1d(1)

    before = {k: v.clone() for k, v in Runner.model.state_dict().items()}
    HOOKS.build(dict(type='mmwsss.FeatureStatisticsHook')).before_train(
        Runner())
    after = Runner.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[k], v) for k, v in before.items())


@pytest.mark.slow
def test_with_and_without_a_cache(data, tmp_path, monkeypatch):
    plain = train(data, tmp_path / 'plain')
    filling = train(data, tmp_path / 'filling', cache=True)
    runs = []
    monkeypatch.setattr(FrozenBackbone, '_run',
                        lambda self, image: runs.append(len(image)))
    reading = train(data, tmp_path / 'reading', cache=True)
    assert not runs  # Everything was there.
    one, other = (r.model.state_dict() for r in (filling, reading))
    for name in one:
        assert torch.equal(one[name], other[name]), name
    assert np.array_equal(steps_of(filling), steps_of(reading))
    # Beside features rounded to half precision. Adam's first steps do not
    # know the size of a gradient, only its sign.
    for name, value in plain.model.state_dict().items():
        if value.is_floating_point():
            assert_close(value, one[name], rtol=1e-2, atol=2e-3)
    assert_close(steps_of(plain), steps_of(filling), rtol=2e-3, atol=1e-4)


@pytest.mark.slow
def test_two_processes(data, tmp_path):
    """Same statistics, one cache filled by both, one metric."""
    one = train(data, tmp_path / 'one', cache=True, epochs=1)
    expected = score(0, 1)
    entries = {p.name for p in data.rglob('*.npy')}
    for path in data.rglob('*.npy'):
        path.unlink()
    (tmp_path / 'two').mkdir()
    call(
        sys.executable, '-W', 'ignore', '-m', 'torch.distributed.run',
        '--nproc_per_node=2', f'--master_port={free_port()}', '-m',
        'tests.test_engine.frozen_run', data, tmp_path / 'two')
    state = one.model.state_dict()
    for rank in (0, 1):
        found = torch.load(
            tmp_path / 'two' / f'result{rank}.pth', weights_only=True)
        assert int(found['state']['backbone.num_positions']) == int(
            state['backbone.num_positions'])
        for name in ('mean', 'std', 'networks.0.digest'):
            assert_close(
                found['state'][f'backbone.{name}'],
                state[f'backbone.{name}'],
                rtol=1e-6,
                atol=1e-7)
        assert found['metric'] == pytest.approx(expected)
    assert {p.name for p in data.rglob('*.npy')} == entries
    assert not list(data.rglob('.*.tmp-*'))
