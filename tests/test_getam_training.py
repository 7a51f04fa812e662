"""GETAM on Shapes, as a whole: resumed where its phase changes."""
import json
import shutil

import pytest
import torch

from .test_tools import ROOT, SMALL, TOOLS, python
from .test_visualization.test_run_page import data_of

CONFIG = ROOT / 'configs' / 'getam' / 'getam_vit_shapes.py'
pytestmark = pytest.mark.slow  # four epochs, and two of them again


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Runs of four epochs: unbroken, and stopped after the second."""
    folder = tmp_path_factory.mktemp('getam')
    options = [
        x.replace('max_epochs=1', 'max_epochs=4') for x in SMALL
    ] + ['train_cfg.val_interval=1', 'default_hooks.checkpoint.interval=1',
         'default_hooks.checkpoint.max_keep_ckpts=4']
    python(
        TOOLS / 'train.py', CONFIG, '--work-dir', 'whole', '--cfg-options',
        *options, cwd=folder)
    shutil.copytree(folder / 'whole', folder / 'parts')
    for epoch in (3, 4):
        (folder / 'parts' / f'epoch_{epoch}.pth').unlink()
    (folder / 'parts' / 'last_checkpoint').write_text(
        str(folder / 'parts' / 'epoch_2.pth'))
    # What the stopped run has logged: two validations, each with a number
    # that tells them from the unbroken run's.
    log, = (folder / 'parts').glob('*/vis_data/scalars.json')
    lines = [json.loads(x) for x in log.read_text().splitlines()]
    kept = [
        dict(x, pseudo_mIoU=90.) for x in lines
        if 'pseudo_mIoU' in x and x['step'] <= 2
    ]
    assert len(kept) == 2
    log.write_text(''.join(json.dumps(x) + '\n' for x in kept))
    for old in (folder / 'parts' / 'history.png',
                folder / 'parts' / 'gallery' / 'index.html'):
        old.unlink()
    python(
        TOOLS / 'train.py', CONFIG, '--work-dir', 'parts', '--resume',
        '--cfg-options', *options, cwd=folder)
    return folder


def validations(folder):
    lines = [
        json.loads(x) for log in sorted(folder.glob('*/vis_data/scalars.json'))
        for x in log.read_text().splitlines()
    ]
    return [x for x in lines if 'pseudo_mIoU' in x]


def test_resumed_at_the_switch_is_unbroken(folder):
    parts, whole = (
        torch.load(folder / x / 'epoch_4.pth', weights_only=True)
        for x in ('parts', 'whole'))
    assert parts['meta']['iter'] == whole['meta']['iter'] == 8
    for name, value in whole['state_dict'].items():
        assert torch.equal(value, parts['state_dict'][name]), name
    before = torch.load(folder / 'whole' / 'epoch_2.pth', weights_only=True)
    start = torch.load(folder / 'whole' / 'epoch_1.pth', weights_only=True)
    for name, value in whole['state_dict'].items():
        if name.startswith('decode_head.'):
            # Untouched in phase 1, trained in phase 2.
            assert torch.equal(start['state_dict'][name],
                               before['state_dict'][name]), name
            assert not torch.equal(value, before['state_dict'][name]), name


def test_page_and_plot(folder):
    """They are made from all validations, those before the resume too."""
    for name in ('whole', 'parts'):
        page = folder / name / 'gallery' / 'index.html'
        row = data_of(page)['rows'][0]
        assert list(row['stages']) == ['CAM', 'pseudo label',
                                       'predicted mask']
        assert row['gt'] and data_of(page)['settings'] == ''
        for part in ('results over the training', 'pseudo_coverage'):
            assert part in page.read_text(), part
        assert len(validations(folder / name)) == 4
    # The first two are those of the stopped run, so the plots differ.
    assert (folder / 'whole' / 'history.png').read_bytes() != (
        folder / 'parts' / 'history.png').read_bytes()
    seen = [x['pseudo_mIoU'] for x in validations(folder / 'parts')]
    assert seen[:2] == [90., 90.]
    assert seen[2:] == [
        x['pseudo_mIoU'] for x in validations(folder / 'whole')[2:]]


def test_test_tool(folder):
    done = python(
        TOOLS / 'test.py', CONFIG, folder / 'whole', '--work-dir', 'test',
        '--cfg-options', *SMALL, cwd=folder)
    output = done.stdout + done.stderr
    assert 'pseudo_mIoU' in output
    metrics = json.loads(
        (folder / 'test' / 'metrics.json').read_text())['metrics']
    last = validations(folder / 'whole')[-1]
    for name in ('mIoU', 'pseudo_mIoU', 'pseudo_coverage'):
        assert metrics[name] == pytest.approx(last[name], abs=0.01)
