"""DisplacementMeanHook in real trainings and tests of a small IRNet."""
import sys

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmwsss.engine import AtomicCheckpointHook, DisplacementMeanHook
from mmwsss.engine.hooks.displacement_mean_hook import plain_image_loader
from mmwsss.registry import DATASETS, HOOKS

from ..test_tools import ROOT, call, free_port
from .irnet_run import LABELS, build, make_cfg, make_data

HOOK = dict(type='mmwsss.DisplacementMeanHook')
MEAN = 'displacement_head.running_mean'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp('data'))


@pytest.fixture(scope='module')
def trained(data, tmp_path_factory):
    """Work folder of a training with the hook."""
    work_dir = tmp_path_factory.mktemp('mean_trained')
    runner = build(data, work_dir, [HOOK])
    modes = [m.training for m in runner.model.train().modules()]
    runner.train()
    assert [m.training for m in runner.model.modules()] == modes
    return work_dir


def saved_mean(path):
    return torch.load(path, weights_only=True)['state_dict'][MEAN]


def measured(data, work_dir, checkpoint):
    """The mean of a checkpoint's displacements, measured directly."""
    runner = build(data, work_dir)
    runner.load_checkpoint(str(checkpoint))
    loader = Runner.build_dataloader(
        plain_image_loader(ConfigDict(runner.cfg.train_dataloader)))
    return runner.model.calibrate_displacement(loader).clone()


def test_the_last_checkpoint_holds_the_mean(data, trained, tmp_path):
    last = saved_mean(trained / 'epoch_2.pth')
    assert last.abs().min() > 1e-6
    torch.testing.assert_close(
        last, measured(data, tmp_path / 'measured', trained / 'epoch_2.pth'))
    assert not saved_mean(trained / 'epoch_1.pth').any()


def test_training_that_counts_iterations(data, tmp_path):
    work_dir = tmp_path / 'mean_of_iters'
    build(data, work_dir, [HOOK], by_epoch=False).train()
    assert not saved_mean(work_dir / 'iter_2.pth').any()
    torch.testing.assert_close(
        saved_mean(work_dir / 'iter_4.pth'),
        measured(data, tmp_path / 'measured2', work_dir / 'iter_4.pth'))


def test_a_training_is_not_disturbed(data, trained, tmp_path):
    work_dir = tmp_path / 'mean_each_epoch'
    build(data, work_dir, [dict(HOOK, interval=1)]).train()
    # Here the first epoch's checkpoint has one too.
    assert saved_mean(work_dir / 'epoch_1.pth').any()
    # One more measurement, but the same training.
    one, other = (
        torch.load(folder / 'epoch_2.pth', weights_only=True)['state_dict']
        for folder in (trained, work_dir))
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


class Killed(Exception):
    pass


class KillHook(Hook):
    """Ends the run while the mean is measured."""
    priority = 'ABOVE_NORMAL'

    def after_train_epoch(self, runner) -> None:
        if self.is_last_train_epoch(runner):
            raise Killed


def test_a_killed_training_measures_after_its_resume(data, trained, tmp_path):
    work_dir = tmp_path / 'mean_killed'
    runner = build(data, work_dir, [HOOK])
    runner.register_hook(KillHook())
    with pytest.raises(Killed):
        runner.train()
    assert not (work_dir / 'epoch_2.pth').exists()
    build(
        data,
        work_dir, [HOOK],
        experiment_name='mean_resumed',
        load_from=str(work_dir / 'epoch_1.pth'),
        resume=True).train()
    assert torch.equal(
        saved_mean(work_dir / 'epoch_2.pth'),
        saved_mean(trained / 'epoch_2.pth'))


def test_before_a_test_if_it_is_missing(data, tmp_path):
    runner = build(data, tmp_path / 'mean_bare')
    with pytest.raises(ValueError, match='Image a: .*DisplacementMeanHook'):
        runner.test()
    runner = build(data, tmp_path / 'mean_test', [HOOK])
    assert 'AP50' in runner.test()
    mean = runner.model.displacement_head.running_mean
    assert mean.any()
    # What is there is kept.
    mean += 1
    kept = mean.clone()
    runner.test()
    assert torch.equal(mean, kept)


def test_loader_sees_images_only(data):
    cfg = ConfigDict(make_cfg(data, 'w')['train_dataloader'])
    repeated = ConfigDict(
        cfg, dataset=dict(type='RepeatDataset', times=3, dataset=cfg.dataset))
    for one in (cfg, repeated):
        loader = Runner.build_dataloader(plain_image_loader(one))
        batches = list(loader)
        ids = [b['data_samples'][0].img_id for b in batches]
        assert ids == list(LABELS)
        for batch in batches:
            sample, = batch['data_samples']
            assert 'gt_sem_seg' not in sample and 'cams' not in sample
            assert batch['inputs'][0].shape == (3, 40, 48)
    # The config stays as it was.
    assert len(cfg.dataset.pipeline) == 5
    assert not cfg.dataset.get('test_mode')
    assert len(DATASETS.build(cfg.dataset)[0]) == 2


def test_own_loader_and_errors(data, tmp_path):
    hook = HOOKS.build(dict(HOOK, loader=dict(dataset=dict())))
    assert isinstance(hook, DisplacementMeanHook)
    cfg = make_cfg(data, tmp_path / 'mean_own')
    own = plain_image_loader(ConfigDict(cfg['train_dataloader']))
    own.dataset.ann_file = 'ImageSets/Segmentation/one.txt'
    (data / own.dataset.ann_file).write_text('b\n')
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper'):
        del cfg[key]
    cfg['custom_hooks'] = [HOOK]
    with pytest.raises(ValueError, match='Set the loader'):
        Runner.from_cfg(Config(cfg)).test()
    cfg.update(
        custom_hooks=[dict(HOOK, loader=own)], experiment_name='mean_own2')
    runner = Runner.from_cfg(Config(cfg))
    runner.test()
    mean = runner.model.displacement_head.running_mean
    image = next(iter(Runner.build_dataloader(own)))
    inputs = runner.model.data_preprocessor(image, False)['inputs']
    with torch.no_grad():
        field = runner.model.predict_field(inputs[0])
    assert field.mean((1, 2)).abs().max() < 1e-5 < mean.abs().min()

    class Bare:
        model = torch.nn.Linear(1, 1)

    with pytest.raises(ValueError, match='Linear has no displacements'):
        DisplacementMeanHook().measure(Bare)
    DisplacementMeanHook().before_test_epoch(Bare)  # Nothing to do.


def test_runs_before_the_checkpoint():
    order = ('HIGHEST', 'VERY_HIGH', 'HIGH', 'ABOVE_NORMAL', 'NORMAL',
             'BELOW_NORMAL', 'LOW', 'VERY_LOW', 'LOWEST')
    assert order.index(DisplacementMeanHook.priority) < order.index(
        AtomicCheckpointHook.priority)


@pytest.mark.slow
def test_two_processes_measure_what_one_does(data, tmp_path):
    # Three images: one process has two of them.
    work_dir = tmp_path / 'two'
    work_dir.mkdir()
    call(
        sys.executable, '-W', 'ignore', '-m', 'torch.distributed.run',
        '--nproc_per_node=2', f'--master_port={free_port()}', '-m',
        'tests.test_engine.irnet_run', data, work_dir, cwd=ROOT)
    runner = build(data, tmp_path / 'mean_one', [HOOK])
    runner.test()
    one = runner.model.displacement_head.running_mean
    for rank in (0, 1):
        two = torch.load(work_dir / f'mean{rank}.pth', weights_only=True)
        torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-6)
