"""The example of docs/add_a_method.md is right, and runs as it says."""
import importlib
import json
import os
import re
import shlex
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample
from torch.testing import assert_close

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import ViewOutput, ViewPair

from .toy import ROOT

EXAMPLES = ROOT / 'docs' / 'examples'
GUIDE = (ROOT / 'docs' / 'add_a_method.md').read_text(encoding='utf-8')
CONFIG = EXAMPLES / 'class_exclusion_r18_shapes.py'
# A few images and steps.
SMALL = [
    f'{loader}.{key}' for loader in ('train_dataloader', 'val_dataloader',
                                     'test_dataloader')
    for key in ('dataset.num_train=12', 'dataset.num_val=4',
                'dataset.data_root=shapes', 'batch_size=4', 'num_workers=0',
                'persistent_workers=False')
] + ['train_cfg.max_epochs=1', 'default_hooks.logger.interval=1']


@pytest.fixture(scope='module')
def example():
    """The module, imported as the config imports it."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        yield importlib.import_module('class_exclusion')
    finally:
        sys.path.remove(str(EXAMPLES))
        # Other tests look at what is registered.
        sys.modules.pop('class_exclusion', None)
        MODELS.module_dict.pop('ClassExclusion', None)


def blocks(language):
    return re.findall(rf'^```{language}\n(.*?)^```$', GUIDE, re.M | re.S)


@pytest.mark.parametrize('path', sorted(EXAMPLES.glob('*.py')),
                         ids=lambda path: path.name)
def test_guide_shows_the_files_as_they_are(path):
    assert path.read_text(encoding='utf-8') in blocks('python')


def test_overlap_by_hand(example):
    labels = torch.ones(1, 2)
    cams = torch.tensor([[[[4., 2.], [0., -1.]], [[1., 2.], [2., 0.]]]])
    # Rectified and scaled: (1, .5, 0, 0) and (.5, 1, 1, 0).
    assert_close(
        example.class_overlap(cams, labels, eps=0.),
        torch.tensor((0.5 + 0.5 + 0. + 0.) / 4))
    # The size of the scores does not matter, only who claims what.
    assert_close(
        example.class_overlap(cams * torch.tensor([3., 50.])[:, None, None],
                              labels, eps=0.),
        example.class_overlap(cams, labels, eps=0.))


def test_overlap_pixel_by_pixel(example):
    torch.manual_seed(0)
    cams, labels = torch.randn(3, 5, 4, 6), (torch.rand(3, 5) > 0.4).float()
    total = 0.
    for maps, tags in zip(cams, labels):
        for y in range(4):
            for x in range(6):
                values = [
                    max(float(m[y, x]), 0.) / (max(float(m.max()), 0.) + 1e-5)
                    for m, tag in zip(maps, tags) if tag
                ]
                total += sum(sorted(values)[:-1])
    assert_close(
        example.class_overlap(cams, labels), torch.tensor(total / (3 * 24)))


def test_one_tag_or_none_has_no_overlap(example):
    cams = torch.rand(2, 3, 5, 5, requires_grad=True)
    labels = torch.tensor([[0., 1., 0.], [0., 0., 0.]])
    overlap = example.class_overlap(cams, labels)
    overlap.backward()
    assert overlap == 0 and not cams.grad.any()


def test_only_the_weaker_claim_is_pushed_down(example):
    cams = torch.tensor([[[[4., 2., 3.]], [[1., 4., -1.]]]],
                        requires_grad=True)
    example.class_overlap(cams, torch.ones(1, 2)).backward()
    # Positive: a step against the gradient lowers it.
    assert_close(cams.grad[0, :, 0] > 0,
                 torch.tensor([[False, True, False], [True, False, False]]))
    assert (cams.grad >= 0).all()


def test_terms(example):
    module = MODELS.build(dict(type='mmwsss.ClassExclusion', loss_weight=3.))
    cams = torch.rand(2, 4, 5, 5, requires_grad=True)
    view = ViewOutput(
        torch.rand(2, 3, 40, 40), torch.ones(2, 4), fields=dict(cams=cams))
    terms = module(ViewPair(view))
    assert set(terms) == {'loss_overlap', 'overlap'}
    assert_close(terms['loss_overlap'].detach(), 3 * terms['overlap'])
    assert terms['overlap'] > 0 and not terms['overlap'].requires_grad


def gradients(model, images, samples, *names):
    """Gradient of some of the terms for every weight."""
    torch.manual_seed(0)
    losses = model.loss(images, samples)
    model.zero_grad()
    sum(losses[name] for name in names or losses
        if 'loss' in name).backward()
    return {
        name: param.grad.clone()
        for name, param in model.named_parameters() if param.grad is not None
    }, losses


def check_takes_part(model, images, samples):
    """The term is in the total, and its gradient reaches the backbone."""
    model.train()
    alone, losses = gradients(model, images, samples, 'exclusion.loss_overlap')
    assert losses['exclusion.loss_overlap'] > 0
    reached = {name.split('.')[0] for name, g in alone.items() if g.any()}
    assert reached == {'backbone', 'cls_head'}
    total, losses = gradients(model, images, samples)
    others = [x for x in losses if 'loss' in x and 'overlap' not in x]
    rest, _ = gradients(model, images, samples, *others)
    for name, gradient in alone.items():
        assert_close(
            total[name], rest[name] + gradient, rtol=1e-3, atol=1e-5)
    parsed, _ = model.parse_losses(losses)
    names = [*others, 'exclusion.loss_overlap']
    assert_close(parsed, sum(losses[name] for name in names))


@pytest.fixture
def batch():
    torch.manual_seed(0)

    def tagged(*labels):
        score = torch.zeros(6)
        score[list(labels)] = 1
        found = SegDataSample()
        found.gt_label = LabelData(label=torch.tensor(labels), score=score)
        return found

    return torch.randn(3, 3, 96, 96), [tagged(0, 3), tagged(1, 2), tagged(5)]


def test_config(example, batch):
    cfg = Config.fromfile(CONFIG).to_dict()
    base = Config.fromfile(ROOT / 'configs' / 'cam' / 'cam_r18_shapes.py')
    # Nothing but the term tells it from the baseline.
    del cfg['custom_imports'], cfg['model']['regularizers']
    assert cfg == base.to_dict()
    check_takes_part(
        MODELS.build(Config.fromfile(CONFIG).model), *batch)


def test_config_with_another_paper(example, batch, tmp_path):
    text, = [x for x in blocks('python') if 'acr_vit_shapes' in x]
    # The guide's block stands beside the example.
    path = tmp_path / 'mixed.py'
    path.write_text(text.replace('../..', str(ROOT)))
    model = MODELS.build(Config.fromfile(path).model)
    assert len(model.regularizers) == 2
    check_takes_part(model, *batch)


def test_the_command_of_the_guide(tmp_path):
    line, = [
        line for block in blocks('shell') for line in block.splitlines()
        if 'tools/train.py docs/examples' in line
    ]
    path, python, *arguments = shlex.split(line, comments=True)
    name, _, folder = path.partition('=')
    assert (name, python) == ('PYTHONPATH', 'python')
    # Run elsewhere, to leave nothing here.
    arguments = [
        str(ROOT / x) if x.startswith(('tools/', 'docs/')) else x
        for x in arguments
    ]
    paths = [str(ROOT / folder), str(ROOT), os.environ.get('PYTHONPATH', '')]
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', *arguments, '--cfg-options', *SMALL],
        cwd=tmp_path,
        env=dict(os.environ, OMP_NUM_THREADS='1',
                 PYTHONPATH=os.pathsep.join(paths)),
        capture_output=True,
        text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    scalars, = (tmp_path / 'work_dirs' / CONFIG.stem).glob(
        '*/vis_data/scalars.json')
    steps = [json.loads(x) for x in scalars.read_text().splitlines()]
    steps = [x for x in steps if 'loss_cls' in x]
    assert len(steps) == 3
    for step in steps:
        assert step['loss'] == pytest.approx(
            step['loss_cls'] + step['exclusion.loss_overlap'], rel=1e-4)
    # Later lines average losses over some steps.
    assert steps[0]['exclusion.loss_overlap'] == pytest.approx(
        0.1 * steps[0]['exclusion.overlap'], rel=1e-4)
    assert max(step['exclusion.overlap'] for step in steps) > 0
