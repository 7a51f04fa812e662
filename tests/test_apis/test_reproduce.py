"""Reproduction of papers: checks, costs, comparison, what is sent back."""
import contextlib
import functools
import json
import re
import runpy
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config

from mmwsss.apis import pipeline as pipeline_module
from mmwsss.apis import reproduce as module
from mmwsss.apis import reproduction_cost
from mmwsss.apis.pipeline import Pipeline
from mmwsss.apis.pipeline_run import load_pipeline_config
from mmwsss.apis.reproduce import (
    MARKDOWN_HEAD,
    compare,
    reproduce,
    settings_digest,
    split_steps,
    verdict,
)
from mmwsss.apis.reproduction_cost import (
    TrainingCost,
    disk_gib,
    gpus_needed,
    time_steps,
    training_config,
    training_costs,
)
from mmwsss.apis.reproduction_inputs import (
    check_inputs,
    count_files,
)
from mmwsss.apis.reproduction_methods import (
    DATASETS,
    Method,
    Reference,
    all_methods,
    dataset_of,
    find_method,
)
from mmwsss.utils.errors import WorkError

from ..test_datasets.builders import make_voc2012
from ..test_tools import TOOLS, environment, python
from ..toy import ROOT, write_config
from .test_pipeline import COUNT, SCORE

VOC = 'data/VOCdevkit/VOC2012'
METHODS = all_methods()


@functools.cache
def stages_of(name, dataset='voc'):
    """The stages of a method, placeholders filled in."""
    method = METHODS[name, dataset]
    options = {f'variables.{k}': v for k, v in method.variables.items()}
    cfg = load_pipeline_config(ROOT / method.pipeline, options)
    return Pipeline(cfg, Path('never-made')).stages


# ------------------------------------------------------------------ metafiles
def test_methods_of_the_papers_are_there():
    for dataset, names in (
        ('voc', {'cam', 'acr', 'seam', 'vwl-l', 'vwl-m', 'getam', 'fbr-amn',
                 'fbr-eps-ppc', 'frozen'}),
        ('coco', {'cam', 'acr', 'vwl-l', 'vwl-m', 'getam', 'fbr-amn',
                  'frozen'}),
        ('voc-mini', {'cam', 'acr', 'getam', 'fbr-amn', 'frozen'}),
        ('shapes', {'cam', 'acr', 'seam', 'vwl-l', 'fbr-amn'})):
        assert names <= {name for name, of in METHODS if of == dataset}


@pytest.mark.parametrize('key', list(METHODS), ids='/'.join)
def test_numbers_belong_to_rows_of_the_pipeline(key):
    """A row that no stage has would be left out without a word."""
    method = METHODS[key]
    assert dataset_of(Path(method.pipeline).stem) == method.dataset
    cfg = Config.fromfile(ROOT / method.pipeline)
    assert set(method.variables) <= set(cfg.variables)
    for value in method.variables.values():
        path = value.split()[0]
        assert not path.endswith('.py') or (ROOT / path).is_file()
    titles = [t for stage in cfg.stages.values()
              for t in stage.get('rows', ())]
    for numbers in (method.paper, method.recorded):
        rows = [n.row for n in numbers if n.row]
        assert len(rows) == len(set(rows))
        assert set(rows) <= set(titles)
        for number in numbers:
            assert DATASETS[method.dataset] in number.title


def test_rows_and_methods_of_metafiles_are_used():
    used = [
        (key, number.row) for key, method in METHODS.items()
        for number in (*method.paper, *method.recorded) if number.row
    ]
    stated = 0
    for path in (ROOT / 'configs').glob('*/metafile.yml'):
        for model in yaml.safe_load(path.read_text())['Models']:
            own = [e['Method'] for e in model.get('Reproduce', ())]
            for result in [*model['Results'],
                           *model.get('Paper Results', ())]:
                rows = result.get('Rows', {})
                assert set(rows) <= set(result['Metrics'])
                assert 'Methods' not in result or result['Methods']
                methods = result.get('Methods', own)
                assert all((m, dataset_of(model['Name'])) in METHODS
                           for m in methods)
                stated += len(rows) * len(methods)
    assert len(used) == stated > 50


@pytest.mark.parametrize('method, dataset, row, value', [
    ('acr', 'voc', 'CAM, best threshold *', 67.3),
    ('seam', 'voc', '+ random walk', 63.6),
    ('cam', 'voc', '+ random walk', 66.5),
    ('vwl-l-emanet', 'voc', '+ scales, flips and CRF, val', 70.8),
    ('vwl-m-coco-start', 'voc', '+ scales, flips and CRF, val', 70.6),
    ('fbr-eps-ppc', 'voc', '+ CRF', 75.9),
    ('getam', 'coco', 'published test with CRF, val', 36.4)])
def test_numbers_of_papers(method, dataset, row, value):
    paper = {n.row: n.value for n in METHODS[method, dataset].paper}
    assert paper[row] == value


def test_recorded_numbers():
    recorded = {n.row: n for n in METHODS['acr', 'voc-mini'].recorded}
    assert recorded['+ CRF'].value == 42.0
    assert recorded['+ random walk'].value == 40.5
    assert METHODS['acr', 'voc-mini'].paper == ()
    assert METHODS['acr', 'voc'].recorded == ()


def test_memory_in_metafiles_is_that_of_the_page():
    table = dict(re.findall(r'^\| (\S+) \| \d+ x \d+ px \| ([\d.]+) \|',
                            (ROOT / 'docs/cost.md').read_text(), re.M))
    found = {}
    for path in (ROOT / 'configs').glob('*/metafile.yml'):
        for model in yaml.safe_load(path.read_text())['Models']:
            if 'Metadata' in model:
                found[model['Name']] = model['Metadata']['Step Memory (GiB)']
    assert found == {k: float(v) for k, v in table.items()} and found


def test_page_names_all_methods():
    page = (ROOT / 'docs/reproduce_with_gpu.md').read_text()
    for name, _ in METHODS:
        assert f'`{name}`' in page


def test_a_wrong_name_lists_all():
    with pytest.raises(ValueError, match='Did you mean acr') as info:
        find_method('acrr')
    for dataset in DATASETS:
        assert f'\n  {dataset}: ' in str(info.value)
    assert 'vwl-l-emanet' in str(info.value)
    with pytest.raises(ValueError, match="'seam' for the data set 'coco'"):
        find_method('seam', 'coco')


def test_methods_by_path(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    assert find_method('configs/acr/pipeline_voc.py') is not None
    assert find_method('configs/acr/pipeline_voc.py').paper == METHODS[
        'acr', 'voc'].paper
    own = tmp_path / 'pipeline_mine_voc.py'
    own.write_text('')
    method = find_method(str(own))
    assert (method.dataset, method.paper) == ('voc', ())
    with pytest.raises(FileNotFoundError, match='no pipeline config x.py'):
        find_method('x.py')


# ------------------------------------------------------------------- verdicts
@pytest.mark.parametrize('ours, paper, recorded, word', [
    (67.3, 67.3, None, 'reproduced'),
    (66.3, 67.3, None, 'reproduced'),
    (68.3, 67.3, None, 'reproduced'),
    (66.29, 67.3, None, 'lower'),
    (68.31, 67.3, None, 'better'),
    (40.0, 67.3, 40.0, 'lower'),
    (42.5, None, 42.0, 'as recorded'),
    (40.9, None, 42.0, 'below the record'),
    (43.1, None, 42.0, 'above the record'),
    (42.0, None, None, 'no paper number'),
    (None, 67.3, None, 'not measured'),
])
def test_verdict(ours, paper, recorded, word):
    assert verdict(ours, paper, recorded) == word


def test_verdict_of_changed_settings():
    assert verdict(60., 67.3, changed=True) == 'lower, settings changed'
    assert verdict(60., None, changed=True) == 'no paper number'
    assert verdict(None, 67.3, changed=True) == 'not measured'


def test_compare_by_hand():
    method = Method(
        'm', 'voc', 'p.py',
        paper=(Reference(67.3, 'CAM on train', 'CAM *', 'second-hand'),
               Reference(70.9, 'mIoU, VOC 2012 test', None)),
        recorded=(Reference(41., 'masks', '+ walk'), ))
    rows = compare(
        method, {
            'CAM': ('cams', 'mIoU_fixed'),
            'CAM *': ('cams', 'mIoU'),
            'unsure, %': ('labels', 'ignored'),
            '+ walk': ('walk', 'mIoU'),
            'val': ('test', 'mIoU')
        }, dict(cams=dict(mIoU=66.04, mIoU_fixed=60.),
                labels=dict(ignored=40.), walk=dict(mIoU=43.)))
    assert [(r.stage, r.title, r.paper, r.recorded, r.ours, r.difference,
             r.verdict) for r in rows] == [
        ('cams', 'CAM', None, None, 60., None, 'no paper number'),
        ('cams', 'CAM *', 67.3, None, 66.04, -1.26, 'lower'),
        ('walk', '+ walk', None, 41., 43., 2., 'above the record'),
        ('test', 'val', None, None, None, None, 'not measured'),
        ('-', 'mIoU, VOC 2012 test', 70.9, None, None, None,
         'no stage measures it')]
    assert rows[1].note == 'second-hand'


# --------------------------------------------------------------------- inputs
@pytest.fixture
def voc(tmp_path, monkeypatch):
    """A working folder with a miniature VOC and empty weights."""
    monkeypatch.chdir(tmp_path)
    for name in ('resnet38', 'resnet50', 'resnet101'):
        path = tmp_path / f'checkpoints/{name}.pth'
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return make_voc2012(tmp_path / VOC)


def missing(name, dataset='voc'):
    return [(c.what, c.where, c.found, c.remedy)
            for c in check_inputs(stages_of(name, dataset))
            if not c.ok]


def test_everything_is_there(voc):
    checks = check_inputs(stages_of('seam'))
    assert [c for c in checks if not c.ok] == []
    found = {(c.what, Path(c.where).name): c.found for c in checks}
    assert found['images', 'JPEGImages'] == '6 of 6'
    # Masks of train and val alone.
    assert found['masks', 'SegmentationClassAug'] == '2 of 2'
    assert found['masks', 'SegmentationClass'] == '2 of 2'
    assert found['list', 'train_aug.txt'] == '4 images (papers use 10,582)'
    assert found['weights', 'resnet38.pth'] == 'there'
    assert {c.what for c in checks} >= {'image-level labels', 'GPU'}


def test_no_data(voc):
    shutil.rmtree(voc)
    assert missing('seam') == [('data', VOC, 'no such folder',
                                'python tools/get_data.py voc2012')]


def test_what_is_missing_is_counted(voc):
    (voc / 'JPEGImages/a1.jpg').unlink()
    (voc / 'SegmentationClassAug/b2.png').unlink()
    (voc / 'ImageSets/Segmentation/val.txt').unlink()
    found = {(what, Path(where).name): count
             for what, where, count, _ in missing('seam')}
    assert found['images', 'JPEGImages'] == '3 of 4'
    assert found['masks', 'SegmentationClassAug'] == '1 of 2'
    assert found['list', 'val.txt'] == 'missing'


def test_labels_of_all_images_are_looked_for(voc):
    path = voc / 'image_labels.json'
    content = json.loads(path.read_text())
    del content['labels']['c3']
    path.write_text(json.dumps(content))
    assert 'c3' in missing('seam')[0][2]


def test_saliency_maps(voc):
    found = missing('fbr-eps-ppc')
    assert [(what, count) for what, _, count, _ in found] == [
        ('saliency', '0 of 4')]
    assert 'saliency detector' in found[0][3]


def test_weights(voc):
    for path in voc.parents[2].glob('checkpoints/*'):
        path.unlink()
    found = {Path(where).name: remedy for what, where, _, remedy in
             missing('cam') if what == 'weights'}
    assert found == {
        'resnet50.pth':
        'python tools/get_weights.py configs/cam/cam_r50_voc.py',
        'resnet101.pth': 'python tools/get_weights.py '
        'configs/segmentation/deeplabv2_r101_voc.py'
    }
    # No library has these.
    assert 'model_converters/resnet38.py' in missing('seam')[0][3]


def test_library_of_networks(voc, monkeypatch):
    there = module.importlib.util.find_spec
    monkeypatch.setattr(
        'importlib.util.find_spec', lambda name, *a: None
        if name in ('timm', 'pydensecrf') else there(name, *a))
    assert ('library', 'timm', 'missing', 'pip install timm') in missing(
        'frozen')
    # The CRF runs without it, so it is not missing.
    assert not [c for c in missing('seam') if c[0] == 'library']


def test_files_in_folders_of_ids(tmp_path):
    (tmp_path / 'x').mkdir()
    (tmp_path / 'x/1.png').touch()
    (tmp_path / '2.png').touch()
    assert count_files(str(tmp_path), ['x/1', '2', '3', 'y/4'], '.png') == 2


def test_shapes_and_voc_mini(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not missing('acr', 'shapes')
    found = missing('frozen', 'voc-mini')
    assert found[0][0] == 'data'
    assert 'voc_mini.py data/VOCdevkit/VOC2012' in found[0][3]


# ---------------------------------------------------------------------- costs
def test_trainings_of_a_pipeline(voc):
    costs = training_costs(stages_of('acr'), 'voc')
    assert [(c.stage, c.batch_size, c.memory) for c in costs] == [
        ('classify', 1, 2.4), ('affinity', 8, 7.7), ('segment', 10, 13.1)]
    # Four images instead of 10,582; the others count steps, not epochs.
    assert [c.steps for c in costs] == [26450, 8, 20000]
    shutil.rmtree(voc)
    costs = training_costs(stages_of('acr'), 'voc')
    assert [c.steps for c in costs] == [26450, 8 * 1323, 20000]
    # SEAM's classifier drops the last 6 images of an epoch.
    assert training_costs(stages_of('seam'), 'voc')[0].steps == 8 * 1322


def test_options_of_a_training():
    assert training_config(
        'tools/train.py x.py --resume --cfg-options a.b=2 c=[1,2]') == (
            'x.py', {'a.b': 2, 'c': [1, 2]})
    assert training_config('tools/test.py x.py y') is None
    assert training_config('tools/train.py x.py') == ('x.py', {})


def test_gpus_needed():
    cost = TrainingCost('segment', 'x.py', 10, 20000, memory=13.1)
    assert gpus_needed(cost, 24) == 1
    assert gpus_needed(cost, 8) == 5  # 3 does not divide 10.
    assert gpus_needed(TrainingCost('s', 'x', 1, 9, memory=9.), 8) is None
    assert gpus_needed(TrainingCost('s', 'x', 1, 9), 8) == 1


def test_disk():
    # CAMs, and probabilities of two exponents.
    stages = stages_of('acr')
    expected = 3 * 10582 * 500 * 375 * 1.6 * 2 / 2**30
    assert disk_gib(stages, 10582, 'voc') == pytest.approx(expected)


def test_steps_are_timed(tmp_path):
    config = write_config(tmp_path / 'toy.py', tmp_path / 'run', steps=40)
    seconds, peak = reproduction_cost._time_steps(str(config), {}, 5)
    assert 0 < seconds < 10 and (peak is None or peak >= 0)
    assert not (tmp_path / 'run').exists()
    with pytest.raises(ValueError, match='ended after 4 steps'):
        reproduction_cost._time_steps(
            str(config), {'train_cfg.max_epochs': 1}, 5)


@pytest.mark.slow
def test_steps_are_timed_in_another_process(tmp_path, monkeypatch):
    config = write_config(tmp_path / 'toy.py', tmp_path / 'run', steps=40)
    monkeypatch.setenv('PYTHONPATH', environment()['PYTHONPATH'])
    assert 0 < time_steps(str(config), {}, 5)[0] < 10


def test_processes_share_steps(voc):
    method = METHODS['cam', 'voc']
    cfg = load_pipeline_config(ROOT / method.pipeline)
    options = split_steps(cfg, 2, Path('run'))
    assert set(options) == {f'stages.{s}.command'
                            for s in ('classify', 'boundaries', 'segment')}
    cfg = load_pipeline_config(ROOT / method.pipeline, options)
    stages = Pipeline(cfg, Path('run')).stages
    assert [c.batch_size for c in training_costs(stages, 'voc')] == [8, 16, 5]
    assert split_steps(cfg, 1, Path('run')) == {}
    with pytest.raises(ValueError, match='cannot share .*has 10 image'):
        split_steps(load_pipeline_config(ROOT / method.pipeline), 4,
                    Path('run'))


# ------------------------------------------------------------------- runs
@pytest.fixture
def small(tmp_path, monkeypatch):
    """A pipeline of scripts that take no time, with numbers of a paper."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'count.py').write_text(COUNT)
    (tmp_path / 'score.py').write_text(SCORE)
    (tmp_path / 'pipeline_x_voc.py').write_text('''
variables = dict(seed=0, value='66.9')
stages = dict(
    cams=dict(command='count.py {dir}/a.txt',
              score='score.py {dir}/m.json {value}', metrics='{dir}/m.json',
              rows={'CAM *': 'mIoU'}, outputs=dict(a='{dir}/a.txt')),
    walk=dict(command='count.py {dir}/b.txt {cams.a}',
              score='score.py {dir}/m.json 50', metrics='{dir}/m.json',
              rows={'+ walk': 'mIoU'}, outputs=dict(b='{dir}/b.txt')))
''')
    method = Method(
        'small', 'voc', 'pipeline_x_voc.py', paper=(
            Reference(67.3, 'CAM', 'CAM *'), Reference(60., 'm', '+ walk'),
            Reference(70.9, 'test', None)))
    monkeypatch.setattr(module, 'find_method', lambda *_: method)
    return tmp_path


def test_report(small, capsys):
    report = reproduce('small', seed=3)
    assert report.finished and not report.missing
    folder = small / 'work_dirs/reproduce/small_voc_seed3'
    content = json.loads((folder / 'reproduction.json').read_text())
    assert [(r['stage'], r['paper'], r['ours'], r['difference'],
             r['verdict']) for r in content['comparison']] == [
        ('cams', 67.3, 66.9, -0.4, 'reproduced'),
        ('walk', 60., 50., -10., 'lower'),
        ('-', 70.9, None, None, 'no stage measures it')]
    assert (content['method'], content['dataset'], content['seed']) == (
        'small', 'voc', 3)
    assert content['finished'] and content['options'] == {}
    assert {'python', 'torch', 'mmengine', 'mmseg'} <= set(
        content['libraries'])
    assert content['hardware']['cores'] > 0
    assert content['mmwsss'] and re.fullmatch('[0-9a-f]{16}',
                                              content['settings'])
    assert [(s['name'], s['status'], s['metrics']) for s in
            content['stages']] == [
        ('cams', 'finished', dict(mIoU=66.9)),
        ('walk', 'finished', dict(mIoU=50.))]
    assert all(s['seconds'] > 0 for s in content['stages'])
    # Nothing tells where or by whom it was run.
    assert str(small) not in json.dumps(content)
    row = (folder / 'reproduction.md').read_text().splitlines()
    assert '\n'.join(row[:2]) == MARKDOWN_HEAD
    assert len(row) == 3 and row[2].startswith(
        '| small | voc | 3 | CAM * 66.9 (67.3: reproduced); + walk')
    assert row[2].count('|') == row[0].count('|')
    out = capsys.readouterr().out
    assert row[2] in out and 'One seed (3)' in out
    # The same again runs nothing.
    reproduce('small', seed=3)
    assert capsys.readouterr().out.count('done before') == 2
    assert (folder / 'cams/a.txt').read_text() == '1 '


def test_changed_settings_are_told(small, capsys):
    report = reproduce('small', cfg_options={'variables.value': '61'})
    assert report.comparison[0].verdict == 'lower, settings changed'
    content = json.loads((report.work_dir / 'reproduction.json').read_text())
    assert content['options'] == {'variables.value': '61'}
    assert 'changed: variables.value=61' in report.markdown()
    assert 'Settings were changed: variables.value=61' in (
        capsys.readouterr().out)


def test_until_a_stage(small):
    report = reproduce('small', until='cams')
    assert [r.verdict for r in report.comparison[:2]] == [
        'reproduced', 'not measured']
    assert not report.finished
    assert report.stages[1]['status'] == 'not begun'


def test_a_failed_stage_leaves_a_report(small):
    text = (small / 'pipeline_x_voc.py').read_text()
    (small / 'pipeline_x_voc.py').write_text(
        text.replace('count.py {dir}/b.txt', 'nothing.py'))
    with pytest.raises(WorkError, match="Stage 'walk' failed"):
        reproduce('small')
    content = json.loads((small / 'work_dirs/reproduce/small_voc_seed0/'
                          'reproduction.json').read_text())
    assert not content['finished']
    assert content['comparison'][0]['verdict'] == 'reproduced'
    assert content['stages'][1]['status'] == 'failed'


def test_nothing_runs_while_something_is_missing(small, monkeypatch, capsys):
    monkeypatch.setattr(module, 'find_method',
                        lambda *_: METHODS['seam', 'voc'])
    with pytest.raises(WorkError, match='Nothing was run'):
        reproduce('seam')
    assert not (small / 'work_dirs').exists()
    assert 'python tools/get_data.py voc2012' in capsys.readouterr().out
    assert reproduce('seam', check=True).missing


def test_settings_digest(small):
    first = load_pipeline_config('pipeline_x_voc.py')
    seed = load_pipeline_config('pipeline_x_voc.py', {'variables.seed': 1})
    other = load_pipeline_config('pipeline_x_voc.py',
                                 {'variables.value': '1'})
    assert settings_digest(first, []) == settings_digest(seed, [])
    assert settings_digest(first, []) != settings_digest(other, [])
    Path('a.py').write_text('x = 1')
    one = settings_digest(first, ['a.py'])
    Path('a.py').write_text('x = 2')
    assert settings_digest(first, ['a.py']) != one


def test_check_of_the_tool(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['reproduce.py', 'seam', '--check'])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(TOOLS / 'reproduce.py'), run_name='__main__')
    assert ended.value.code == 1
    out = capsys.readouterr().out
    assert 'MISSING' in out and 'python tools/get_data.py voc2012' in out
    assert not (tmp_path / 'work_dirs').exists()


@pytest.mark.slow
def test_killed_and_run_again(tmp_path):
    """A kill that nothing can catch, then the same command."""
    (tmp_path / 'count.py').write_text(COUNT)
    (tmp_path / 'slow.py').write_text(
        'import sys, time, pathlib\n'
        'pathlib.Path("begun").touch()\n'
        'time.sleep(0 if pathlib.Path("quick").exists() else 60)\n'
        'pathlib.Path(sys.argv[1]).touch()\n')
    (tmp_path / 'pipeline_x_voc.py').write_text('''
variables = dict(seed=0)
stages = dict(
    first=dict(command='count.py {dir}/a.txt', outputs=dict(a='{dir}/a.txt')),
    last=dict(command='slow.py {dir}/b.txt {first.a}',
              outputs=dict(b='{dir}/b.txt')))
''')
    command = [TOOLS / 'reproduce.py', 'pipeline_x_voc.py', '--work-dir',
               'run']
    run = subprocess.Popen([sys.executable, '-W', 'ignore', *command],
                           cwd=tmp_path, env=environment(),
                           stdout=subprocess.DEVNULL)
    deadline = time.time() + 120
    while not (tmp_path / 'begun').exists():
        assert time.time() < deadline and run.poll() is None
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not (tmp_path / 'run/reproduction.json').exists()
    (tmp_path / 'quick').touch()
    done = python(*command, cwd=tmp_path)
    assert '[1/2] first: done before' in done.stdout
    content = json.loads((tmp_path / 'run/reproduction.json').read_text())
    assert content['finished']
    assert (tmp_path / 'run/first/a.txt').read_text() == '1 '


# ---------------------------------------------------------------- end to end
def tiny(config, shapes_config, changes, length, val=True):
    """A config of VOC with a model of Shapes and a few steps."""
    shapes = Config.fromfile(ROOT / 'configs' / shapes_config)
    shapes.merge_from_dict({f'model.{k}': v for k, v in changes.items()})
    loaders = ('train', 'val', 'test') if val else ('train', 'test')
    lines = [
        f'_base_ = {str(ROOT / "configs" / config)!r}',
        f'model = dict(_delete_=True, **{shapes.model.to_dict()!r})',
        f'train_cfg = {length!r}',
        *(f'{key}_dataloader = dict(num_workers=0, persistent_workers=False'
          f'{", batch_size=2" * (key == "train")})' for key in loaders)
    ]
    return '\n'.join(lines)


def in_process(command, log):
    """Run a command of a stage here, which saves imports."""
    with open(log, 'a') as output, contextlib.redirect_stdout(
            output), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', command[1:])
        try:
            runpy.run_path(command[1], run_name='__main__')
        except SystemExit as ended:
            print(ended.code)
            return int(ended.code not in (None, 0))
    return 0


@pytest.mark.slow
def test_acr_on_a_miniature_voc(voc, monkeypatch):
    """The shipped pipeline, checks and numbers; tiny models and trainings."""
    steps = dict(max_iters=4, val_interval=4)
    for name, text in dict(
            classify=tiny('acr/acr_vit_voc.py', 'acr/acr_vit_shapes.py', {
                'backbone.patch_size': 32,
                'backbone.img_size': 384,
                'cls_head.num_classes': 20
            }, steps),
            affinity=tiny(
                'affinity/affinitynet_resnet38_voc.py',
                'affinity/affinitynet_small_shapes.py',
                # The grid of VOC's config.
                {'backbone.strides': (2, 1), 'stride': 8},
                dict(max_epochs=1), val=False),
            segment=tiny('segmentation/deeplabv2_r101_voc.py',
                         'segmentation/fcn_shapes.py',
                         {'decode_head.num_classes': 21}, steps)).items():
        Path(f'{name}.py').write_text(text)
    options = {
        'variables.classifier': 'classify.py',
        'variables.scored_on': 'classify.py',
        'variables.affinity_net': 'affinity.py',
        'variables.segmentor': 'segment.py'
    }

    def interrupted(command, log):
        if 'refine_cams.py' in command[1]:
            raise KeyboardInterrupt
        return in_process(command, log)

    monkeypatch.setattr(pipeline_module, '_run', interrupted)
    with pytest.raises(KeyboardInterrupt):
        reproduce('acr', work_dir='run', workers=1, cfg_options=options)
    content = json.loads(Path('run/reproduction.json').read_text())
    assert [s['status'] for s in content['stages']] == [
        'finished', 'finished', 'interrupted', *['not begun'] * 5]
    noted = Path('run/classify/last_checkpoint').stat().st_mtime_ns

    monkeypatch.setattr(pipeline_module, '_run', in_process)
    report = reproduce('acr', work_dir='run', workers=1, cfg_options=options)
    assert Path('run/classify/last_checkpoint').stat().st_mtime_ns == noted
    content = json.loads(Path('run/reproduction.json').read_text())
    assert content['finished'] and report.finished
    rows = {r['title']: r for r in content['comparison']}
    assert rows['CAM, best threshold *']['paper'] == 67.3
    for title in ('CAM, best threshold *', '+ CRF', '+ random walk',
                  'segmentation, val', '+ scales, flips and CRF, val'):
        assert 0 <= rows[title]['ours'] <= 100
    assert rows['CAM, best threshold *']['verdict'].endswith(
        ', settings changed')
    assert content['comparison'][-1]['verdict'] == 'no stage measures it'
