import contextlib
import random
import warnings

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from mmwsss.engine.hooks.checkpoint_hook import (
    AtomicCheckpointHook,
    AtomicLocalBackend,
    seed_step,
)
from mmwsss.utils.checkpoint import use_safe_loading

from ..toy import write_config


def make_runner(tmp_path, name, stop_after=None, **kwargs):
    """A runner of the toy; may raise after so many iterations."""
    facts = {
        k: kwargs.pop(k)
        for k in ('by_epoch', 'steps', 'workers', 'keep', 'more')
        if k in kwargs
    }
    path = write_config(tmp_path / f'{name}.py', tmp_path / name, **facts)
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(kwargs)
    cfg.experiment_name = f'{tmp_path.name}_{name}_{random.random()}'
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        runner = Runner.from_cfg(cfg)
    if stop_after is not None:
        from mmengine.hooks import Hook

        class Stop(Hook):
            priority = 'LOWEST'

            def after_train_iter(self, runner, **kwargs):
                if runner.iter + 1 == stop_after:
                    raise KeyboardInterrupt

        runner.register_hook(Stop(), 'LOWEST')
    return runner


def run(runner):
    with contextlib.suppress(KeyboardInterrupt):
        runner.train()
    return {k: v.clone() for k, v in runner.model.state_dict().items()}


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    # mmengine sleeps two seconds whenever a loader starts anew.
    monkeypatch.setattr('time.sleep', lambda seconds: None)


@pytest.mark.parametrize('by_epoch,stop,workers', [(True, 10, 0),
                                                   (True, 9, 1),
                                                   (False, 6, 0),
                                                   (False, 5, 0)])
def test_resume_is_exact(tmp_path, by_epoch, stop, workers):
    facts = dict(
        by_epoch=by_epoch, workers=workers, steps=4 if by_epoch else 12)
    whole = run(make_runner(tmp_path, 'whole', **facts))
    run(make_runner(tmp_path, 'parts', stop_after=stop, **facts))
    resumed = make_runner(tmp_path, 'parts', resume=True, **facts)
    state = run(resumed)
    assert resumed.iter == (16 if by_epoch else 12)
    for name, value in whole.items():
        assert torch.equal(value, state[name]), name


def test_number_of_workers_does_not_matter(tmp_path):
    one = run(make_runner(tmp_path, 'one', workers=0, steps=2))
    two = run(make_runner(tmp_path, 'two', workers=2, steps=2))
    for name, value in one.items():
        assert torch.equal(value, two[name]), name


def test_reseed_can_be_switched_off(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr('mmwsss.engine.hooks.checkpoint_hook.seed_step',
                        lambda *args, **kwargs: calls.append(args))
    run(
        make_runner(tmp_path, 'off', steps=1,
                    **{'default_hooks.checkpoint.reseed': False}))
    assert not calls
    run(make_runner(tmp_path, 'on', steps=1))
    assert calls == [(3, 0)] + [(3, i) for i in range(4)]


def test_seed_step_seeds_all_generators():

    def draw(*args):
        seed_step(*args)
        return random.random(), float(np.random.rand()), float(torch.rand(1))

    first = draw(0, 7)
    assert draw(0, 7) == first
    others = [draw(1, 7), draw(0, 8), draw(0, 7, 1)]
    for other in others:
        assert not set(first) & set(other)


def test_checkpoint_loads_safely_and_log_survives(tmp_path):
    runner = make_runner(tmp_path, 'run', steps=2)
    runner.message_hub.update_info('curve', {'miou': np.arange(3.)})
    runner.message_hub.update_info('best_score', np.float32(0.5))
    run(runner)
    path = tmp_path / 'run' / 'epoch_2.pth'
    plain = torch.load(path, weights_only=True)
    losses = runner.message_hub.get_scalar('train/loss').data[0]
    saved = plain['message_hub']['log_scalars']['train/loss']
    assert np.array_equal(saved['history'].numpy(), losses)

    other = make_runner(
        tmp_path, 'other', steps=3, resume=True, load_from=str(path))
    run(other)
    hub = other.message_hub
    history = hub.get_scalar('train/loss')
    assert isinstance(history, HistoryBuffer)
    assert len(history.data[0]) == 12
    assert np.array_equal(history.data[0][:8], losses)
    assert np.array_equal(hub.get_info('curve')['miou'], np.arange(3.))
    assert hub.get_info('best_score') == 0.5
    # Number 1 was about to be removed when number 3 was written.
    assert hub.get_info('keep_ckpt_ids') == [1, 2, 3]


def test_outdated_are_removed_after_the_new_one_is_there(
        tmp_path, monkeypatch):
    runner = make_runner(tmp_path, 'run', steps=3, keep=1)
    seen = []
    put = AtomicLocalBackend.put

    def look(self, obj, filepath):
        put(self, obj, filepath)
        seen.append(sorted(p.name for p in (tmp_path / 'run').glob('*.pth')))

    monkeypatch.setattr(AtomicLocalBackend, 'put', look)
    run(runner)
    assert seen == [['epoch_1.pth'], ['epoch_1.pth', 'epoch_2.pth'],
                    ['epoch_2.pth', 'epoch_3.pth']]
    assert [p.name for p in (tmp_path / 'run').glob('*.pth')
            ] == ['epoch_3.pth']


def test_left_over_files_of_a_killed_run_are_removed(tmp_path):
    folder = tmp_path / 'run'
    folder.mkdir()
    (folder / '.epoch_1.tmp-abc.pth').write_bytes(b'half')
    (folder / 'mine.pth').write_bytes(b'not ours')
    run(make_runner(tmp_path, 'run', steps=1))
    assert not (folder / '.epoch_1.tmp-abc.pth').exists()
    assert (folder / 'mine.pth').read_bytes() == b'not ours'


def test_failed_write_leaves_the_old_note(tmp_path, monkeypatch):
    runner = make_runner(tmp_path, 'run', steps=2)
    put = AtomicLocalBackend.put

    def full(self, obj, filepath):
        if 'epoch_2' in str(filepath):
            raise OSError('no space left on device')
        put(self, obj, filepath)

    monkeypatch.setattr(AtomicLocalBackend, 'put', full)
    with pytest.raises(OSError, match='no space'):
        runner.train()
    note = tmp_path / 'run' / 'last_checkpoint'
    assert note.read_text().endswith('epoch_1.pth')
    assert (tmp_path / 'run' / 'epoch_1.pth').is_file()


def test_best_checkpoint_is_written_atomically_too(tmp_path, monkeypatch):
    names = []
    put = AtomicLocalBackend.put

    def note(self, obj, filepath):
        names.append(str(filepath).rsplit('/', 1)[-1])
        put(self, obj, filepath)

    monkeypatch.setattr(AtomicLocalBackend, 'put', note)
    run(
        make_runner(
            tmp_path,
            'run',
            steps=2,
            **{
                'default_hooks.checkpoint.save_best': 'mean',
                'default_hooks.checkpoint.rule': 'greater'
            }))
    assert 'best_mean_epoch_2.pth' in names
    assert (tmp_path / 'run' / 'best_mean_epoch_2.pth').is_file()


def test_killed_before_the_final_validation(tmp_path):
    runner = make_runner(tmp_path, 'run', steps=2)

    def die():
        raise KeyboardInterrupt

    runner.train_loop  # Built now, so that the loop below is the one used.
    runner.val_loop.run = die
    run(runner)
    again = make_runner(tmp_path, 'run', steps=2, resume=True)
    ran = []
    loop = again.val_loop
    original = loop.run
    loop.run = lambda: ran.append(original())
    run(again)
    assert len(ran) == 1 and 'mean' in ran[0]
    assert again.iter == 8


def test_foreign_storage_is_left_alone():
    hook = AtomicCheckpointHook(backend_args=dict(backend='local'))
    assert hook.backend_args == dict(backend='local')


def test_resume_with_safe_loading(tmp_path):
    from mmengine.runner import CheckpointLoader
    before = CheckpointLoader._schemes.copy()
    try:
        use_safe_loading()
        run(make_runner(tmp_path, 'run', steps=1))
        again = make_runner(tmp_path, 'run', steps=2, resume=True)
        run(again)
        assert again.iter == 8
    finally:
        CheckpointLoader._schemes = before
