"""No tool runs the code that stands in a checkpoint, unless told to."""
import os
import runpy
import sys

import pytest
import torch
from mmengine.config import Config

from .test_datasets.builders import make_voc
from .test_engine.test_output_hooks import make_cfg
from .toy import ROOT, write_config

TOOLS = ROOT / 'tools'
CONVERTERS = sorted(
    p.name for p in (TOOLS / 'model_converters').glob('*.py'))


class Evil:
    """Leaves a file when it is unpickled."""

    def __reduce__(self):
        return os.system, ('touch evil-was-here', )


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Everything happens here; mmengine's loaders are put back."""
    from mmengine.runner import CheckpointLoader
    monkeypatch.setattr(CheckpointLoader, '_schemes',
                        CheckpointLoader._schemes.copy())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('LOCAL_RANK', '0')
    torch.save(
        dict(
            state_dict={'layer.weight': torch.zeros(4, 4)},
            optimizer={},
            meta={},
            extra=Evil()), 'evil.pth')
    return tmp_path


def tool(name, *arguments, monkeypatch):
    """Run a tool in this process; what it says when it fails, else None."""
    monkeypatch.setattr(sys, 'argv', [name, *map(str, arguments)])
    try:
        runpy.run_path(str(TOOLS / name), run_name='__main__')
    except (SystemExit, ValueError) as error:
        return str(error)
    return None


def refused(folder, *arguments, monkeypatch):
    """Whether a tool refuses, and runs the code only if it is told to."""
    trace = folder / 'evil-was-here'
    message = tool(*arguments, monkeypatch=monkeypatch) or ''
    assert 'evil.pth is refused' in message
    assert '--trust-checkpoint' in message
    assert not trace.exists()
    # The option exists, and the file would have done harm. It holds no
    # weights of use, so most tools then fail for other reasons.
    later = tool(*arguments, '--trust-checkpoint', monkeypatch=monkeypatch)
    assert 'is refused' not in (later or '')
    assert trace.exists()


@pytest.mark.parametrize('options', [
    ('load_from=evil.pth', ),
    ('model.init_cfg.type=Pretrained', 'model.init_cfg.checkpoint=evil.pth'),
])
def test_train_from(options, folder, monkeypatch):
    config = write_config(folder / 'toy.py', folder / 'run', steps=1)
    refused(
        folder, 'train.py', config, '--cfg-options', *options,
        monkeypatch=monkeypatch)


def test_train_resume(folder, monkeypatch):
    config = write_config(folder / 'toy.py', folder / 'run', steps=1)
    (folder / 'run').mkdir()
    (folder / 'evil.pth').rename(folder / 'run' / 'evil.pth')
    (folder / 'run' / 'last_checkpoint').write_text('evil.pth')
    refused(folder, 'train.py', config, '--resume', monkeypatch=monkeypatch)


def test_test(folder, monkeypatch):
    config = write_config(folder / 'toy.py', folder / 'run', steps=1)
    refused(folder, 'test.py', config, 'evil.pth', monkeypatch=monkeypatch)


def test_infer(folder, monkeypatch):
    data = make_voc(folder / 'data', {'a1': [0]})
    Config(make_cfg(data, folder / 'run', [])).dump('cam.py')
    refused(
        folder, 'infer.py', 'cam.py', 'evil.pth', data / 'JPEGImages',
        '--out', 'seen', monkeypatch=monkeypatch)
    assert not (folder / 'seen').exists()


def test_browse_words(folder, monkeypatch):
    config = write_config(folder / 'toy.py', folder / 'run', steps=1)
    refused(
        folder, 'analysis_tools/browse_words.py', config, 'evil.pth',
        monkeypatch=monkeypatch)


@pytest.mark.parametrize('name', CONVERTERS)
def test_converters(name, folder, monkeypatch):
    refused(
        folder, f'model_converters/{name}', 'evil.pth', 'out.pth',
        monkeypatch=monkeypatch)
    assert not (folder / 'out.pth').exists()


@pytest.mark.parametrize('hook', [
    'CheckpointHook', 'mmwsss.AtomicCheckpointHook'])
def test_checkpoints_of_trainings_load(hook, folder, monkeypatch):
    """With optimizer, schedulers and log buffers, nobody has to trust."""
    config = write_config(folder / 'toy.py', folder / 'run', steps=1)
    options = ('--cfg-options', f'default_hooks.checkpoint.type={hook}')
    assert tool('train.py', config, *options, monkeypatch=monkeypatch) is None
    resume = ('train.py', config, '--resume', *options,
              'train_cfg.max_epochs=2')
    if hook == 'CheckpointHook' and not hasattr(torch.serialization,
                                                'safe_globals'):
        # This torch cannot be told that mmengine's log buffers are harmless.
        message = tool(*resume, monkeypatch=monkeypatch)
        assert 'HistoryBuffer' in message and '--trust-checkpoint' in message
        return
    assert tool(*resume, monkeypatch=monkeypatch) is None
    assert tool(
        'test.py', config, 'run/epoch_2.pth', monkeypatch=monkeypatch) is None


def test_a_trusted_run_trains(folder, monkeypatch):
    config = write_config(folder / 'toy.py', folder / 'run', steps=1)
    message = tool(
        'train.py', config, '--trust-checkpoint', '--cfg-options',
        'load_from=evil.pth', monkeypatch=monkeypatch)
    assert message is None
    assert (folder / 'run' / 'epoch_1.pth').is_file()
