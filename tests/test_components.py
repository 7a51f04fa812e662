"""What every component has to do, of every kind, on minimal configs."""
import copy
import io
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose, pseudo_collate

from mmwsss import registry
from mmwsss.models.backbones.timm_backbone import has_timm

from . import components as table
from .test_engine import frozen_run, irnet_run, test_output_hooks

ODD = (61, 83)


@pytest.mark.parametrize('name', sorted(table.TABLES))
def test_every_registered_class_is_in_the_table(name):
    ours = getattr(registry, name)
    ours.import_from_location()
    found = {
        key
        for key, cls in ours.module_dict.items()
        if cls.__module__.startswith('mmwsss.')
    }
    listed = set(table.TABLES[name])
    assert found - listed == set(), (
        f'{name}: add a minimal config to tests/components.py')
    assert listed <= found, 'no longer registered'


def test_every_registry_is_in_the_table():
    found = {
        key
        for key, value in vars(registry).items()
        if type(value).__name__ == 'Registry' and not key.startswith('MMENG')
    }
    assert found == set(table.TABLES)


# ----------------------------------------------------------------- models
def build(case, folder, seed=0):
    torch.manual_seed(seed)
    model = registry.MODELS.build(copy.deepcopy(case.make(folder)))
    for name, value in model.named_parameters():
        if value.requires_grad:
            # Nothing vanishes, and no two seeds agree.
            value.data += 0.05 * torch.randn_like(value)
    head = getattr(model, 'displacement_head', None)
    if head is not None:
        head.running_mean.fill_(0.1)  # As if a training had measured it.
    return model


def losses_of(model, case, size=(64, 80)):
    torch.manual_seed(0)
    data = table.batch(size, case.label_stride)
    losses = model.loss(**model.data_preprocessor(data, True))
    flat = {}
    for name, value in losses.items():
        if 'loss' in name:
            flat[name] = sum(value) if isinstance(value, list) else value
    assert flat
    return flat


@torch.no_grad()
def predictions(model, size=ODD):
    """Masks and, where there are any, CAMs of a batch, one by one."""
    model.eval()
    data = table.batch(size)
    found = []
    for image, sample in zip(data['inputs'], data['data_samples']):
        one = model.test_step(dict(inputs=[image], data_samples=[sample]))
        mask = one[0].pred_sem_seg.data
        assert mask.shape[-2:] == size
        maps = getattr(one[0], 'seg_logits', None)
        maps = one[0].cams if maps is None else maps.data
        assert maps.isfinite().all()
        found.append((mask, maps))
    return found


@pytest.mark.parametrize('name', sorted(table.MODELS))
def test_model(name, tmp_path):
    """It trains, in half precision too, at any size, and can be saved."""
    if name == 'TimmBackbone' and not has_timm():
        pytest.skip('timm is not installed')
    case = table.MODELS[name]
    model = build(case, tmp_path).train()
    if case.trains:
        losses = losses_of(model, case)
        assert all(v.isfinite() for v in losses.values()), losses
        sum(losses.values()).backward()
        before = {}
        for key, param in model.named_parameters():
            if not param.requires_grad or (
                    case.unreached and re.search(case.unreached, key)):
                continue
            assert param.grad is not None, f'{key} has no gradient'
            assert param.grad.isfinite().all(), key
            assert param.grad.any(), f'the gradient of {key} is zero'
            before[key] = param.detach().clone()
        assert before
        torch.optim.SGD(model.parameters(), lr=1e-2).step()
        params = dict(model.named_parameters())
        assert not all(torch.equal(params[k], v) for k, v in before.items())
        model.zero_grad()
        with torch.autocast('cpu', torch.bfloat16):
            half = losses_of(model, case, ODD)
        assert all(v.isfinite() for v in half.values()), half
        sum(half.values()).backward()
        assert all(
            params[k].grad.isfinite().all() for k in before
            if params[k].grad is not None)

    expected = predictions(model)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = build(case, tmp_path, seed=1)
    other.load_state_dict(torch.load(file, weights_only=True))
    for (mask, maps), (same, other_maps) in zip(expected, predictions(other)):
        assert torch.equal(mask, same)
        torch.testing.assert_close(maps, other_maps, rtol=0, atol=1e-6)


# --------------------------------------------------------------- datasets
@pytest.mark.parametrize('name', sorted(table.DATASETS))
def test_dataset(name, tmp_path):
    from mmwsss.datasets import write_image_labels
    cfg = table.DATASETS[name](tmp_path)
    if cfg.get('labels_file') == 'own.json':
        cls = registry.DATASETS.get(f'mmwsss.{name}')
        write_image_labels(tmp_path / 'own.json',
                           cls.METAINFO['classes'][1:], table.LABELS)
    dataset = registry.DATASETS.build(cfg)
    assert len(dataset) == 3
    count = len(dataset.metainfo['classes'])
    loaded = pickle.loads(pickle.dumps(dataset))  # As workers get it.
    for i in range(3):
        one, same = dataset[i], loaded[i]
        assert torch.equal(one['inputs'], same['inputs'])
        assert one['inputs'].dtype == torch.uint8
        sample = one['data_samples']
        if name == 'PseudoMaskDataset':
            mask = sample.gt_sem_seg.data
            assert mask.shape[1:] == one['inputs'].shape[1:]
            assert set(mask.unique().tolist()) <= {*range(count), 255}
            continue
        tags = sample.gt_label
        assert tags.score.shape == (count - 1, )
        assert tags.score.nonzero()[:, 0].tolist() == tags.label.tolist()
        assert 'gt_sem_seg' not in sample
    assert len(pseudo_collate([dataset[0], dataset[1]])['inputs']) == 2


# ------------------------------------------------------------- transforms
@pytest.fixture(scope='module')
def world(tmp_path_factory):
    return table.voc(tmp_path_factory.mktemp('world'))


@pytest.mark.parametrize('name', sorted(table.TRANSFORMS))
def test_transform(name, world, tmp_path, monkeypatch):
    """It changes what it should, the same in any process."""
    monkeypatch.chdir(tmp_path)
    case = table.TRANSFORMS[name]
    dataset = registry.DATASETS.build(
        table.image_level(
            world,
            pipeline=[],
            with_masks=True,
            test_mode=True,
            cam_dir=str(world / 'cams'),
            mask_dir=str(world / 'SegmentationClass'),
            data_prefix=dict(
                saliency_path='saliency',
                instance_path='SegmentationObject')))
    facts = dataset.get_data_info(1)
    facts.update(
        low_score_dir=str(tmp_path / 'scores/alpha4'),
        high_score_dir=str(tmp_path / 'scores/alpha24'),
        proposal_dir=str(world / 'proposals'))
    given = Compose(list(case.before))(facts)
    step = registry.TRANSFORMS.build(case.cfg)
    assert name in repr(step)

    def run(step):
        np.random.seed(0)
        torch.manual_seed(0)
        return step(copy.deepcopy(given))

    before = copy.deepcopy(given)
    out = run(step)
    again = run(pickle.loads(pickle.dumps(step)))  # In another process.
    if not case.changes:
        files = [p for p in (tmp_path / 'out').rglob('*') if p.is_file()]
        assert files and all(p.stem == 'b' for p in files)
        return

    def flat(value):
        if isinstance(value, dict):
            return np.concatenate([flat(v).ravel() for v in value.values()])
        if hasattr(value, 'masks'):
            value = value.masks
        return np.asarray(value)

    new = flat(out[case.changes])
    assert np.isfinite(new.astype(np.float64)).all()
    assert np.array_equal(new, flat(again[case.changes]))
    if case.changes in before:
        assert not np.array_equal(new, flat(before[case.changes]))


# ---------------------------------------------------------------- metrics
@pytest.mark.parametrize('name', sorted(table.METRICS))
def test_metric(name):
    samples = [table.judged(f'im{i}', i) for i in range(3)]
    results = []
    for order in (samples, samples[::-1]):
        metric = registry.METRICS.build(table.METRICS[name])
        metric.dataset_meta = table.METAINFO
        for sample in order:
            metric.process({}, [sample])
        results.append(metric.evaluate(len(samples)))
    scores = {k: v for k, v in results[0].items() if isinstance(v, float)}
    assert scores and all(np.isfinite(list(scores.values())))
    # The order of the images does not matter.
    assert results[1] == pytest.approx(results[0])


# ------------------------------------------------------------------ hooks
@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """A runner after a training and a test, with all hooks of its kind."""
    done = {}

    def run(kind):
        if kind in done:
            return done[kind]
        folder = tmp_path_factory.mktemp(f'hooks_{kind}')
        work_dir = folder / f'work_of_{kind}_hooks'
        hooks = [
            dict(cfg, out_dir=str(folder / name)) if 'out_dir' in cfg else cfg
            for name, (cfg, k) in table.HOOKS.items() if cfg and k == kind
        ]
        if kind == 'cam':
            data = table.make_voc(folder / 'data', table.LABELS)
            runner = test_output_hooks.build(data, work_dir, hooks, steps=2)
        elif kind == 'irnet':
            runner = irnet_run.build(
                irnet_run.make_data(folder / 'data'), work_dir, hooks)
        else:  # Has its hook and is trained.
            runner = frozen_run.train(
                frozen_run.make_data(folder / 'data'), work_dir, epochs=1)
        if kind != 'frozen':
            runner.train()
            runner.test()
        done[kind] = runner, folder
        return done[kind]

    return run


@pytest.mark.parametrize('name', sorted(table.HOOKS))
def test_hook(name, runs):
    """Beside all the others, and the checkpoint is the model."""
    cfg, kind = table.HOOKS[name]
    runner, folder = runs(kind)
    hook = registry.HOOKS.get(f'mmwsss.{name}')
    assert any(isinstance(h, hook) for h in runner.hooks)
    last = Path(runner.work_dir, 'last_checkpoint').read_text()
    state = torch.load(last, weights_only=True)['state_dict']
    assert state.keys() == runner.model.state_dict().keys()
    assert all(
        torch.equal(v, state[k])
        for k, v in runner.model.state_dict().items())
    if 'out_dir' in cfg:
        assert any(p.is_file() for p in (folder / name).rglob('*'))
