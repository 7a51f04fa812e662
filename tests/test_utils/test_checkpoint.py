import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from torch import nn

from mmwsss.utils.checkpoint import (compare_state, from_plain,
                                     load_checkpoint_file, state_dict_of,
                                     to_plain, use_safe_loading)


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


def test_pickles_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(dict(state_dict={}, extra=Evil()), 'evil.pth')
    with pytest.raises(ValueError, match=r'evil.pth is refused.*system'):
        load_checkpoint_file('evil.pth')
    assert not (tmp_path / 'evil-was-here').exists()


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


def test_use_safe_loading(tmp_path, monkeypatch):
    from mmengine.runner import CheckpointLoader
    monkeypatch.setattr(CheckpointLoader, '_schemes',
                        CheckpointLoader._schemes.copy())
    monkeypatch.chdir(tmp_path)
    torch.save(dict(extra=Evil()), 'evil.pth')
    use_safe_loading()
    with pytest.raises(ValueError, match='is refused'):
        CheckpointLoader.load_checkpoint('evil.pth')
    assert not (tmp_path / 'evil-was-here').exists()
