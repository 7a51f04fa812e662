import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmwsss.apis import config_edits, run
from mmwsss.apis.config_edits import (
    drop_sync_bn,
    enable_amp,
    enable_pictures,
    enable_tta,
    set_output,
    use_train_images,
)

from ..test_tools import python
from ..toy import write_config


def arguments(config, **kwargs):
    """Keyword arguments of run.train and run.test."""
    return dict(config=str(config), **kwargs)


@pytest.fixture(autouse=True)
def _restore_loader(monkeypatch):
    from mmengine.runner import CheckpointLoader
    monkeypatch.setattr(CheckpointLoader, '_schemes',
                        CheckpointLoader._schemes.copy())
    monkeypatch.setenv('LOCAL_RANK', '0')


@pytest.fixture
def toy(tmp_path):
    """Config of a one-epoch run and its work folder."""
    work_dir = tmp_path / 'run'
    return write_config(
        tmp_path / 'toy.py', work_dir, steps=1), work_dir


def test_missing_config(tmp_path, monkeypatch):
    folder = tmp_path / 'configs' / 'acr'
    folder.mkdir(parents=True)
    (folder / 'acr_vit_shapes.py').write_text('')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
            FileNotFoundError,
            match=r'no config configs/acr/acr_vit_shape.py. Did you mean '
            r'configs/acr/acr_vit_shapes.py\?'):
        run.load_config(**arguments('configs/acr/acr_vit_shape.py'))
    with pytest.raises(FileNotFoundError, match='root of the repository'):
        run.load_config(**arguments('something.py'))


def test_work_dir(toy, tmp_path):
    config, work_dir = toy
    assert run.load_config(**arguments(config)).work_dir == str(work_dir)
    cfg = run.load_config(**arguments(config, work_dir='elsewhere'))
    assert cfg.work_dir == 'elsewhere'
    bare = tmp_path / 'bare.py'
    bare.write_text('a = 1')
    assert run.load_config(**arguments(bare)).work_dir == './work_dirs/bare'


@pytest.mark.parametrize('option,message', [
    ('modell.width', "no key 'modell'. Did you mean 'model'"),
    ('train_dataloaders.batch_size', "Did you mean 'train_dataloader'"),
    ('xyz', "the config has no key 'xyz'.$"),
    ('hooks.2.interval', "hooks is a list of 1, so '2' must be a number"),
    ('hooks.first.interval', "list of 1, so 'first' must be a number"),
])
def test_options_that_would_do_nothing(option, message):
    cfg = Config(
        dict(model=dict(), train_dataloader=dict(), hooks=[dict(interval=1)]))
    with pytest.raises(ValueError, match=message):
        run.check_options(cfg, {option: 1})


def test_options_that_do_something():
    cfg = Config(
        dict(model=dict(head=None), hooks=[dict(interval=1)], value=3))
    run.check_options(
        cfg, {
            'model.head.new': 1,
            'model.new.deep': 1,
            'hooks.0.interval': 2,
            'load_from': 'x',
            'randomness.seed': 1,
            'value': 4
        })


def test_find_resumable(tmp_path):
    assert run.find_resumable(str(tmp_path / 'absent')) is None
    assert run.find_resumable(str(tmp_path)) is None
    note = tmp_path / 'last_checkpoint'
    checkpoint = tmp_path / 'epoch_1.pth'
    note.write_text(str(checkpoint))
    with pytest.raises(FileNotFoundError, match='gone; remove .* start anew'):
        run.find_resumable(str(tmp_path))
    checkpoint.write_bytes(b'x')
    assert run.find_resumable(str(tmp_path)) == str(checkpoint)
    # The folder was moved.
    note.write_text('/somewhere/else/epoch_1.pth')
    assert run.find_resumable(str(tmp_path)) == str(checkpoint)
    note.write_text('epoch_2.pth')
    with pytest.raises(
            FileNotFoundError, match='gone; continue from .*epoch_1.pth'):
        run.find_resumable(str(tmp_path))


def test_where_a_training_starts(tmp_path):

    def start(resume, given=None, in_config=None):
        cfg = Config(dict(work_dir=str(tmp_path), load_from=in_config))
        options = None if given is None else dict(load_from=given)
        cfg.merge_from_dict(options or {})
        run.set_start(cfg, resume, options is not None)
        return cfg.load_from, cfg.resume

    assert start(False) == (None, False)
    assert start(False, in_config='w') == ('w', False)
    assert start(True) == (None, False)
    assert start(True, in_config='w') == ('w', False)
    assert start(True, given='x') == ('x', True)
    last = tmp_path / 'iter_5.pth'
    last.write_bytes(b'x')
    (tmp_path / 'last_checkpoint').write_text(str(last))
    # Continues its own checkpoint, not the initial weights.
    assert start(True, in_config='w') == (str(last), True)
    assert start(True) == (str(last), True)
    assert start(True, given='x') == ('x', True)
    assert start(False) == (None, False)


def test_missing_initial_weights(tmp_path):
    init = dict(type='Pretrained', checkpoint='nowhere/vit.pth')
    cfg = Config(
        dict(
            model=dict(
                backbone=dict(type='X', init_cfg=init),
                heads=[dict(init_cfg=[dict(type='Constant')])])))
    with pytest.raises(FileNotFoundError) as error:
        run.check_pretrained(cfg)
    message = str(error.value)
    assert 'model.backbone.init_cfg wants to start from nowhere' in message
    assert 'model.backbone.init_cfg.checkpoint=PATH' in message
    assert 'model.backbone.init_cfg=None' in message

    cfg.resume = True
    run.check_pretrained(cfg)
    assert cfg.model.backbone.init_cfg is None

    cfg.resume = False
    here = tmp_path / 'here.pth'
    here.write_bytes(b'x')
    for path in (str(here), 'https://x/y.pth', 'torchvision://resnet50'):
        cfg.model.backbone.init_cfg = dict(type='Pretrained', checkpoint=path)
        run.check_pretrained(cfg)


def test_initial_weights_from_a_work_folder(tmp_path):
    last = tmp_path / 'epoch_2.pth'
    for path in (tmp_path, tmp_path / 'last_checkpoint'):
        init = dict(type='Pretrained', checkpoint=str(path))
        cfg = Config(dict(model=dict(backbone=dict(init_cfg=init))))
        if not last.exists():
            with pytest.raises(FileNotFoundError, match='holds no checkpoint'):
                run.check_pretrained(cfg)
            last.write_bytes(b'x')
            (tmp_path / 'last_checkpoint').write_text(str(last))
        run.check_pretrained(cfg)
        assert cfg.model.backbone.init_cfg.checkpoint == str(last)
        # A resumed run needs no initial weights, but where they were is fine.
        cfg.model.backbone.init_cfg.checkpoint = str(tmp_path / 'gone')
        cfg.resume = True
        run.check_pretrained(cfg)
        assert cfg.model.backbone.init_cfg is None


def test_amp(monkeypatch):
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper')))
    monkeypatch.setattr(config_edits, 'get_device', lambda: 'cuda')
    enable_amp(cfg)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper'
    assert cfg.optim_wrapper.loss_scale == dict(init_scale=512)
    enable_amp(cfg)  # Only warns.
    cfg.optim_wrapper.type = 'ApexOptimWrapper'
    with pytest.raises(ValueError, match='has a ApexOptimWrapper'):
        enable_amp(cfg)


def test_amp_without_a_gpu(monkeypatch):
    cfg = Config(
        dict(
            optim_wrapper=dict(
                type='OptimWrapper',
                dtype='float16',
                optimizer=dict(type='SGD', lr=0.1))))
    monkeypatch.setattr(config_edits, 'get_device', lambda: 'cpu')
    for _ in range(2):  # Only warns.
        enable_amp(cfg)
    model = torch.nn.Linear(3, 2)
    optim = build_optim_wrapper(model, cfg.optim_wrapper)
    with optim.optim_context(model):
        assert model(torch.ones(1, 3)).dtype == torch.bfloat16


def test_output_folder():
    cfg = Config(
        dict(
            custom_hooks=[dict(type='mmwsss.SaveCAMsHook')],
            test_evaluator=dict(type='mmwsss.CAMIoUMetric')))
    set_output(cfg, 'cams')
    assert cfg.custom_hooks[0].out_dir == 'cams'
    assert 'output_dir' not in cfg.test_evaluator

    cfg = Config(dict(test_evaluator=[dict(type='mmseg.IoUMetric')]))
    set_output(cfg, 'masks')
    assert cfg.test_evaluator[0].output_dir == 'masks'
    assert cfg.test_evaluator[0].keep_results

    cfg = Config(dict(test_evaluator=dict(type='Other')))
    with pytest.raises(ValueError, match='--out needs'):
        set_output(cfg, 'x')


def test_pictures_and_tta():
    with pytest.raises(ValueError, match='--show and --show-dir need'):
        enable_pictures(Config(dict(default_hooks={})), True, None, 2)
    cfg = Config(
        dict(default_hooks=dict(visualization=dict()), visualizer=dict()))
    enable_pictures(cfg, True, 'folder', 3)
    assert cfg.default_hooks.visualization == dict(
        draw=True, show=True, wait_time=3)
    assert cfg.visualizer.save_dir == 'folder'
    with pytest.raises(ValueError, match='model.test_cfg.scales'):
        enable_tta(Config(dict(model=dict())))


def test_fit():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    state = model.state_dict()
    whole = dict(state_dict=state, optimizer={}, meta={})
    for purpose in ('test', 'resume', 'start from'):
        run.check_fit(model, whole, 'c.pth', 'x.py', purpose)
    part = dict(state_dict={'0.weight': state['0.weight']})
    run.check_fit(model, part, 'c.pth', 'x.py', 'start from')
    with pytest.raises(
            ValueError,
            match=r'(?s)Cannot test c.pth.*model of x.py.*0.bias; 1.weight; '
            r'1.bias.*1 match'):
        run.check_fit(model, part, 'c.pth', 'x.py', 'test')
    with pytest.raises(ValueError, match='no state of an optimizer'):
        run.check_fit(model, part, 'c.pth', 'x.py', 'resume')
    other = dict(state_dict={'conv.weight': torch.zeros(1)})
    with pytest.raises(ValueError, match='Cannot start from c.pth'):
        run.check_fit(model, other, 'c.pth', 'x.py', 'start from')
    # More in the checkpoint than needed is no obstacle to a test.
    more = dict(state_dict={**state, 'aux.weight': torch.zeros(1)})
    run.check_fit(model, more, 'c.pth', 'x.py', 'test')


def test_train_and_test(toy, tmp_path):
    config, work_dir = toy
    run.train(**arguments(config))
    checkpoint = str(work_dir / 'epoch_1.pth')
    result = run.test(
        **arguments(
            config, checkpoint=checkpoint, work_dir=str(tmp_path / 't')))
    assert set(result) == {'mean'}

    # Another architecture.
    with pytest.raises(
            ValueError,
            match=r'(?s)layer.weight \(4, 4\) here \(5, 4\).*Give the config'):
        run.test(
            **arguments(
                config,
                checkpoint=checkpoint,
                work_dir=str(tmp_path / 't'),
                cfg_options={'model.width': 5}))

    # Resuming a finished training.
    run.train(**arguments(config, resume=True))
    # Going on with more epochs.
    more = arguments(
        config, resume=True, cfg_options={'train_cfg.max_epochs': 2})
    run.train(**more)
    assert (work_dir / 'epoch_2.pth').is_file()

    # Damage.
    (work_dir / 'epoch_2.pth').write_bytes(
        (work_dir / 'epoch_2.pth').read_bytes()[:-100])
    with pytest.raises(ValueError, match='epoch_2.pth .* is cut short'):
        run.train(**more)
    with pytest.raises(FileNotFoundError, match='no checkpoint .*nope.pth'):
        run.test(**arguments(config, checkpoint=str(work_dir / 'nope.pth')))


def test_config_without_test(toy):
    config, work_dir = toy
    config.write_text(config.read_text() + '\ntest_cfg = None\n')
    torch.save(dict(state_dict={}), work_dir.parent / 'x.pth')
    with pytest.raises(ValueError, match='no test_cfg'):
        run.test(
            **arguments(config, checkpoint=str(work_dir.parent / 'x.pth')))


def test_a_work_folder_means_its_last_checkpoint(toy, tmp_path):
    config, work_dir = toy
    run.train(**arguments(config))
    for path in (work_dir, work_dir / 'last_checkpoint'):
        run.test(
            **arguments(config, checkpoint=str(path), work_dir=str(tmp_path)))
        written = json.loads((tmp_path / 'metrics.json').read_text())
        assert Path(written['checkpoint']) == work_dir / 'epoch_1.pth'
        assert set(written['metrics']) == {'mean'}
        (tmp_path / 'metrics.json').unlink()
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match='holds no checkpoint'):
        run.last_of_run(str(tmp_path / 'empty'))
    assert run.last_of_run('some.pth') == 'some.pth'


def test_train_images():
    load = [
        dict(type='mmwsss.LoadImage'),
        dict(type='mmwsss.LoadMask'),
        dict(type='mmwsss.LoadInstances')
    ]
    inner = dict(type='A', ann_file='train.txt', class_less='skip',
                 mask_dir='learnt', low_score_dir='scores')
    cfg = Config(
        dict(
            train_dataloader=dict(
                dataset=dict(type='Repeat', times=2, dataset=inner)),
            test_dataloader=dict(
                batch_size=3,
                dataset=dict(
                    type='B',
                    ann_file='val.txt',
                    with_masks=True,
                    mask_dir='seeds',
                    cam_dir='cams',
                    pipeline=[*load, dict(type='PackSegInputs')])),
            test_evaluator=dict(type='IoUMetric')))
    use_train_images(cfg)
    assert cfg.test_dataloader.batch_size == 3
    dataset = cfg.test_dataloader.dataset
    assert (dataset.type, dataset.ann_file) == ('A', 'train.txt')
    assert 'with_masks' not in dataset and 'class_less' not in dataset
    # Its steps are those of the test, and so are the folders they read.
    assert (dataset.mask_dir, dataset.cam_dir) == ('seeds', 'cams')
    assert 'low_score_dir' not in dataset
    assert [s.type for s in dataset.pipeline
            ] == ['mmwsss.LoadImage', 'PackSegInputs']
    assert dataset.test_mode and cfg.test_evaluator == []
    cfg.train_dataloader = None
    with pytest.raises(ValueError, match='needs a train_dataloader'):
        use_train_images(cfg)


def test_activation_checkpointing_of_mmengine_is_refused():
    cfg = Config(dict(activation_checkpointing=['backbone']))
    with pytest.raises(ValueError, match='backbone.with_cp=True'):
        run.build_runner(cfg)


def test_sync_bn_on_cpu_processes():
    cfg = Config(
        dict(
            sync_bn='torch',
            model=dict(
                backbone=dict(norm_cfg=dict(type='SyncBN', eps=1e-3)),
                heads=[dict(norm_cfg=dict(type='SyncBN')), dict(type='A')])))
    assert drop_sync_bn(cfg)
    assert 'sync_bn' not in cfg and 'SyncBN' not in cfg.pretty_text
    assert cfg.model.backbone.norm_cfg == dict(type='BN', eps=1e-3)
    assert cfg.model.heads[0].norm_cfg.type == 'BN'
    assert not drop_sync_bn(cfg)


LEAVING = """
import atexit, multiprocessing, os, time
from mmwsss.apis.run import leave
atexit.register(os.abort)  # What threads of a process group sometimes do.
print('written')
leave('pytorch')
"""


def test_one_of_several_processes_leaves_at_once(tmp_path):
    script = tmp_path / 'script.py'
    script.write_text(LEAVING)
    # mmseg prints what it cannot import.
    assert python(script).stdout.endswith('written\n')
    script.write_text(LEAVING.replace('pytorch', 'none'))
    assert python(script, check=False).returncode == -6
