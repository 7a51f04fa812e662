import http.server
import os
import pickle
import subprocess
import sys
import tarfile
import threading
from collections import OrderedDict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from torch import nn

from mmwsss.utils.checkpoint import (
    compare_state,
    from_plain,
    load_checkpoint_file,
    state_dict_of,
    to_plain,
    use_safe_loading,
)


class Evil:
    """Runs a command when unpickled."""

    def __reduce__(self):
        return os.system, ('touch evil-was-here', )


def roundtrip(value, path):
    torch.save(to_plain(value), path)
    return from_plain(torch.load(path, weights_only=True))


def test_plain_roundtrip(tmp_path):
    history = HistoryBuffer([1., 2.], [1, 3], max_length=7)
    value = OrderedDict(
        tensor=torch.arange(3),
        parameter=nn.Parameter(torch.ones(2)),
        array=np.arange(6).reshape(2, 3),
        scalar=np.float64(0.25),
        flag=np.bool_(True),
        words=np.array(['a', 'b']),
        path=Path('a/b'),
        nested=[(1, None, 'x'), {
            3: np.int64(4)
        }],
        history=history,
        empty=HistoryBuffer())
    back = roundtrip(value, tmp_path / 'x.pth')
    assert list(back) == list(value)
    assert torch.equal(back['tensor'], value['tensor'])
    assert torch.equal(back['parameter'], torch.ones(2))
    assert np.array_equal(back['array'], value['array'])
    assert back['array'].dtype == value['array'].dtype
    assert back['scalar'] == 0.25 and type(back['scalar']) is float
    assert back['flag'] is True
    assert back['words'] == ['a', 'b']
    assert back['path'] == str(Path('a/b'))
    assert back['nested'] == [(1, None, 'x'), {3: 4}]
    assert back['history'].mean() == history.mean() == 0.75
    assert back['history'].max_length == 7
    back['empty'].update(1.)
    assert back['empty'].current() == 1.


def test_what_cannot_be_saved_is_named(tmp_path, caplog):
    value = dict(good=1, bad=dict(worse=object()), listed=[2, {1, 2}])
    with caplog.at_level('WARNING', logger='mmengine'):
        back = roundtrip(value, tmp_path / 'x.pth')
    assert back == dict(good=1, bad={}, listed=[2, None])


def test_mmengine_checkpoint(tmp_path):
    # As mmengine's own hook writes them, with log buffers inside.
    content = dict(
        state_dict=dict(w=torch.ones(2)),
        message_hub=dict(log_scalars=dict(loss=HistoryBuffer([1.], [1]))),
        best=np.float64(0.5))
    torch.save(content, tmp_path / 'x.pth')
    if not hasattr(torch.serialization, 'safe_globals'):
        pytest.skip('this torch cannot be told which classes are harmless')
    loaded = load_checkpoint_file(tmp_path / 'x.pth')
    assert loaded['message_hub']['log_scalars']['loss'].current() == 1.
    assert loaded['best'] == 0.5


def save_evil(path, kind):
    """A file that runs a command when it is loaded without checks."""
    content = dict(state_dict={}, extra=Evil())
    if kind == 'zip':
        torch.save(content, path)
    elif kind == 'legacy':  # torch < 1.6
        torch.save(content, path, _use_new_zipfile_serialization=False)
    elif kind == 'pickle':
        path.write_bytes(pickle.dumps(content, protocol=2))
    elif kind == 'new pickle':
        path.write_bytes(pickle.dumps(content, protocol=5))
    else:  # torch < 0.2; its first part is unpickled first.
        with tarfile.open(path, 'w:') as tar:
            for name in ('sys_info', 'pickle', 'storages', 'tensors'):
                part = path.parent / name
                part.write_bytes(pickle.dumps(Evil(), protocol=2))
                tar.add(part, name)


@pytest.mark.parametrize('kind',
                         ['zip', 'legacy', 'pickle', 'new pickle', 'tar'])
def test_code_is_refused_in_every_format(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'evil.pth'
    save_evil(path, kind)
    with pytest.raises(
            ValueError,
            match=r'(?s)evil.pth is refused.*--trust-checkpoint.*OUT.pth'):
        load_checkpoint_file(path)
    assert not (tmp_path / 'evil-was-here').exists()
    if kind in ('zip', 'legacy'):
        with pytest.raises(ValueError, match='objects .*system'):
            load_checkpoint_file(path)


def test_trusted_files(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'evil.pth'
    save_evil(path, 'zip')
    with caplog.at_level('WARNING', logger='mmengine'):
        loaded = load_checkpoint_file(path, trusted=True)
    assert loaded['state_dict'] == {}
    # The refusals of the other tests are worth something.
    assert (tmp_path / 'evil-was-here').exists()

    torch.save(dict(w=torch.ones(2)), path)
    assert torch.equal(
        load_checkpoint_file(path, trusted=True)['w'], torch.ones(2))
    path.write_text('<html>404 not found</html>' * 9)
    with pytest.raises(ValueError, match='evil.pth cannot be loaded'):
        load_checkpoint_file(path, trusted=True)


def test_objects_of_missing_programs(tmp_path):
    script = ("import sys, types, torch; m = types.ModuleType('gone'); "
              "exec('class Thing: pass', m.__dict__); "
              "m.Thing.__module__ = 'gone'; sys.modules['gone'] = m; "
              f"torch.save(dict(x=m.Thing()), {str(tmp_path / 'x.pth')!r})")
    subprocess.run([sys.executable, '-c', script], check=True)
    with pytest.raises(ValueError, match=r'refused.*\(gone.Thing\)'):
        load_checkpoint_file(tmp_path / 'x.pth')
    with pytest.raises(ValueError, match="'gone'.*program that wrote it"):
        load_checkpoint_file(tmp_path / 'x.pth', trusted=True)


def test_old_and_foreign_weights_load(tmp_path):
    state = OrderedDict(a=torch.randn(3), b=nn.Parameter(torch.ones(2)))
    state._metadata = {'': dict(version=1)}
    for content in (state, dict(model=state, epoch=3, lr=0.1)):
        for new in (True, False):
            torch.save(
                content,
                tmp_path / 'x.pth',
                _use_new_zipfile_serialization=new)
            loaded = load_checkpoint_file(tmp_path / 'x.pth')
            loaded = loaded.get('model', loaded)
            assert torch.equal(loaded['a'], state['a'])
            assert torch.equal(loaded['b'], state['b'])


def test_our_own_weights_load():
    """What lies in checkpoints/ here, if anything does."""
    files = sorted(
        (Path(__file__).parents[2] / 'checkpoints').glob('*.pth'))
    if not files:
        pytest.skip('no weights in checkpoints/')
    for path in files:
        assert state_dict_of(load_checkpoint_file(path)), path


def test_programs_are_named(tmp_path):
    torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / 'x.pth'))
    for trusted in (False, True):
        with pytest.raises(ValueError, match='x.pth is a TorchScript'):
            load_checkpoint_file(tmp_path / 'x.pth', trusted=trusted)


def test_getattr_is_no_way_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    class Sneaky:

        def __reduce__(self):
            return getattr, (HistoryBuffer, '__init__')

    torch.save(dict(x=Sneaky()), 'sneaky.pth')
    with pytest.raises(ValueError, match='sneaky.pth is refused'):
        load_checkpoint_file('sneaky.pth')


def test_bad_files(tmp_path):
    with pytest.raises(FileNotFoundError, match='does not exist either'):
        load_checkpoint_file(tmp_path / 'nowhere' / 'x.pth')
    with pytest.raises(FileNotFoundError, match='holds no .pth file'):
        load_checkpoint_file(tmp_path / 'x.pth')
    torch.save(dict(w=torch.zeros(1000)), tmp_path / 'epoch_8.pth')
    with pytest.raises(FileNotFoundError, match='holds epoch_8.pth'):
        load_checkpoint_file(tmp_path / 'epoch_9.pth')

    whole = (tmp_path / 'epoch_8.pth').read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / 'cut.pth').write_bytes(whole[:size])
        with pytest.raises(
                ValueError, match=rf'cut.pth \({size} bytes\) is cut short'):
            load_checkpoint_file(tmp_path / 'cut.pth')
    (tmp_path / 'text.pth').write_text('<html>404 not found</html>' * 9)
    with pytest.raises(ValueError, match='text.pth'):
        load_checkpoint_file(tmp_path / 'text.pth')
    torch.save(torch.zeros(2), tmp_path / 'tensor.pth')
    with pytest.raises(ValueError, match='holds a Tensor, not'):
        load_checkpoint_file(tmp_path / 'tensor.pth')


def test_compare_state():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    same = compare_state(model, dict(state_dict=model.state_dict()))
    assert same.complete and not same.unexpected
    wrapped = {f'module.{k}': v for k, v in model.state_dict().items()}
    assert compare_state(model, wrapped).complete
    assert set(state_dict_of(wrapped)) == set(model.state_dict())

    other = dict(model.state_dict())
    other['1.weight'] = torch.zeros(5, 3)
    del other['0.bias']
    other['2.weight'] = torch.zeros(1)
    result = compare_state(model, other)
    assert not result.complete
    assert result.missing == ['0.bias']
    assert result.unexpected == ['2.weight']
    assert result.mismatched == [('1.weight', (5, 3), (1, 3))]
    text = result.describe()
    assert '1.weight (5, 3) here (1, 3)' in text
    assert '1 in the model, not in the checkpoint: 0.bias' in text
    assert '2 match' in text


def test_long_lists_are_cut():
    model = nn.Sequential(*[nn.Linear(1, 1) for _ in range(5)])
    text = compare_state(model, {}).describe()
    assert 'and 7 more' in text and '4.bias' not in text


@pytest.fixture
def loader(monkeypatch):
    """mmengine's loader, put back afterwards."""
    from mmengine.runner import CheckpointLoader
    monkeypatch.setattr(CheckpointLoader, '_schemes',
                        CheckpointLoader._schemes.copy())
    return CheckpointLoader


def test_use_safe_loading(tmp_path, monkeypatch, loader):
    monkeypatch.chdir(tmp_path)
    save_evil(tmp_path / 'evil.pth', 'zip')
    use_safe_loading()
    with pytest.raises(ValueError, match='is refused'):
        loader.load_checkpoint('evil.pth')
    assert not (tmp_path / 'evil-was-here').exists()
    use_safe_loading(trusted=True)
    loader.load_checkpoint('evil.pth')
    assert (tmp_path / 'evil-was-here').exists()


def test_no_other_way_into_mmengine(tmp_path, loader):
    loader.register_scheme('other://', lambda *args: dict(unsafe=True))
    use_safe_loading()
    for name in ('s3://x/y.pth', 'a:s3://x', 'petrel://x', 'pavi://x',
                 'other://x'):
        with pytest.raises(ValueError, match='Copy it to the disk'):
            loader.load_checkpoint(name)
    for name in ('torchvision://nosuchnet', 'open-mmlab://nosuchnet',
                 'openmmlab://nosuchnet', 'mmcls://nosuchnet'):
        with pytest.raises(ValueError, match='nosuchnet names no model'):
            loader.load_checkpoint(name)


class QuietHandler(http.server.SimpleHTTPRequestHandler):

    def log_message(self, *args):
        pass


def test_downloads(tmp_path, monkeypatch, loader):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    (tmp_path / 'www').mkdir()
    save_evil(tmp_path / 'www' / 'evil.pth', 'legacy')
    torch.save(
        dict(state_dict={
            'backbone.w': torch.ones(2),
            'head.w': torch.ones(1)
        }), tmp_path / 'www' / 'good.pth')
    handler = partial(QuietHandler, directory=str(tmp_path / 'www'))
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f'http://127.0.0.1:{server.server_port}'
    try:
        use_safe_loading()
        with pytest.raises(ValueError, match='evil.pth is refused'):
            loader.load_checkpoint(f'{url}/evil.pth')
        loaded = loader.load_checkpoint(f'{url}/good.pth', 'cpu')
        # The names of model zoos lead to addresses.
        monkeypatch.setattr('mmengine.runner.checkpoint.get_mmcls_models',
                            lambda: dict(good=f'{url}/good.pth'))
        backbone = loader.load_checkpoint('mmcls://good')
    finally:
        server.shutdown()
        server.server_close()
    assert not (tmp_path / 'evil-was-here').exists()
    assert torch.equal(loaded['state_dict']['backbone.w'], torch.ones(2))
    assert list(backbone['state_dict']) == ['w']
    # A second time without the server.
    again = loader.load_checkpoint(f'{url}/good.pth')
    assert set(again['state_dict']) == {'backbone.w', 'head.w'}
