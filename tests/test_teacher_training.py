"""ToCo and CoSA on Shapes: a resumed training is the unbroken one."""
import shutil

import pytest
import torch

from .test_tools import ROOT, SMALL, TOOLS, python

pytestmark = pytest.mark.slow  # two epochs, and one of them again


@pytest.mark.parametrize('config', ['toco/toco_vit_shapes',
                                    'cosa/cosa_vit_shapes'])
def test_resumed_is_unbroken(tmp_path, config):
    """Averaged weights, their steps and all random numbers go on."""
    path = ROOT / 'configs' / f'{config}.py'
    options = [x.replace('max_epochs=1', 'max_epochs=2') for x in SMALL] + [
        'train_cfg.val_interval=2', 'default_hooks.checkpoint.interval=1',
        'custom_hooks=[]']
    python(
        TOOLS / 'train.py', path, '--work-dir', 'whole', '--cfg-options',
        *options, cwd=tmp_path)
    whole = torch.load(tmp_path / 'whole/epoch_2.pth', weights_only=True)
    first = torch.load(tmp_path / 'whole/epoch_1.pth', weights_only=True)
    shutil.copytree(tmp_path / 'whole', tmp_path / 'parts')
    (tmp_path / 'parts/epoch_2.pth').unlink()
    (tmp_path / 'parts/last_checkpoint').write_text(
        str(tmp_path / 'parts/epoch_1.pth'))
    python(
        TOOLS / 'train.py', path, '--work-dir', 'parts', '--resume',
        '--cfg-options', *options, cwd=tmp_path)
    parts = torch.load(tmp_path / 'parts/epoch_2.pth', weights_only=True)
    assert parts['state_dict'].keys() == whole['state_dict'].keys()
    moved = set()
    for name, value in whole['state_dict'].items():
        assert torch.equal(value, parts['state_dict'][name]), name
        if 'teacher.' in name and not torch.equal(
                value, first['state_dict'][name]):
            moved.add(name.rpartition('.')[2])
    assert {'steps', 'weight', 'bias'} <= moved
