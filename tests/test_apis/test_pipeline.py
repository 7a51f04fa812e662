"""Stages one after the other: order, resumption, failures, results."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mmengine.config import Config

from mmwsss.apis.pipeline import (
    Pipeline,
    StageError,
    command_line,
    load_stages,
)
from mmwsss.apis.pipeline_run import run_pipeline

from ..test_tools import TOOLS, call, environment, python

# Counts its calls in the output, so that a test sees what ran again.
COUNT = '''
import sys, pathlib
out = pathlib.Path(sys.argv[1])
out.parent.mkdir(parents=True, exist_ok=True)
before = int(out.read_text().split()[0]) if out.exists() else 0
extra = [pathlib.Path(p).read_text().split()[0] for p in sys.argv[2:]]
out.write_text(f"{before + 1} {' '.join(extra)}")
print('made', out)
'''
SCORE = '''
import json, sys
json.dump(dict(metrics=dict(mIoU=float(sys.argv[2]))), open(sys.argv[1], 'w'))
'''


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'count.py').write_text(COUNT)
    (tmp_path / 'score.py').write_text(SCORE)
    (tmp_path / 'pipeline.py').write_text('')
    (tmp_path / 'fail.py').write_text(
        'print("the reason"); raise SystemExit(3)')
    return tmp_path


def stages(**changes):
    found = dict(
        # Not in the order in which they need each other.
        third=dict(
            command='count.py {dir}/c.txt {first.a} {second.b}',
            outputs=dict(c='{dir}/c.txt')),
        first=dict(
            command='count.py {dir}/a.txt', outputs=dict(a='{dir}/a.txt')),
        second=dict(
            command='count.py {dir}/b.txt {first.a}',
            score='score.py {dir}/m.json 12.345',
            metrics='{dir}/m.json',
            rows={'masks': 'mIoU'},
            outputs=dict(b='{dir}/b.txt')))
    for name, change in changes.items():
        found.setdefault(name, {}).update(change)
    return found


def pipeline(folder, scores=True, **changes):
    cfg = Config(dict(stages=stages(**changes)), filename='pipeline.py')
    return Pipeline(cfg, folder / 'run', scores=scores)


def counts(folder):
    return {
        name: (folder / 'run' / name / f'{file}.txt').read_text()
        for name, file in (('first', 'a'), ('second', 'b'), ('third', 'c'))
        if (folder / 'run' / name / f'{file}.txt').exists()
    }


def test_all_stages_run_once(scripts, capsys):
    pipeline(scripts).run()
    assert counts(scripts) == dict(first='1 ', second='1 1', third='1 1 1')
    again = pipeline(scripts)
    assert again.plan() == []
    again.run()
    assert counts(scripts) == dict(first='1 ', second='1 1', third='1 1 1')
    assert capsys.readouterr().out.count('done before') == 3
    results = json.loads((scripts / 'run' / 'results.json').read_text())
    second = results['stages'][1]
    assert second['status'] == 'finished'
    assert second['inputs'] == ['run/first/a.txt'.replace(
        'run', str(scripts / 'run'))]
    assert second['outputs']['b'].endswith('second/b.txt')
    assert second['commands'][1].startswith('score.py')
    assert len(second['seconds']) == 2
    assert second['metrics'] == dict(mIoU=12.345)
    assert 'made' in Path(second['log']).read_text()
    assert '12.35' in str(again.table()) or '12.34' in str(again.table())


def test_failure_is_named_and_continued(scripts):
    (scripts / 'late.py').write_text('import runpy, sys\n'
                                     "runpy.run_path('count.py')\n"
                                     "runpy.run_path('fail.py')")
    broken = pipeline(
        scripts, second=dict(command='late.py {dir}/b.txt {first.a}'))
    with pytest.raises(
            StageError, match="Stage 'second' failed .exit status 3") as info:
        broken.run()
    assert 'the reason' in str(info.value) and '.log' in str(info.value)
    results = json.loads((scripts / 'run' / 'results.json').read_text())
    assert [s['status'] for s in results['stages']] == ['finished', 'failed']
    with pytest.raises(ValueError, match='--redo second'):
        pipeline(scripts).run()  # Other commands than the failed ones.
    fixed = pipeline(scripts)
    fixed.redo('second')
    fixed.run()
    assert counts(scripts) == dict(first='1 ', second='1 1', third='1 1 1')


def test_what_made_nothing_may_change(scripts):
    broken = pipeline(scripts, second=dict(command='fail.py {first.a}'))
    with pytest.raises(StageError, match='belong into the command of'):
        broken.run()
    (scripts / 'run' / 'second' / 'rest').write_text('of the failed run')
    pipeline(scripts).run()
    assert counts(scripts) == dict(first='1 ', second='1 1', third='1 1 1')
    assert not (scripts / 'run' / 'second' / 'rest').exists()


@pytest.mark.parametrize('option, message', [
    ('model.backbone.depth', 'belongs into its config'),
    ('variables.sed', 'only seed.$'),
])
def test_options_that_change_nothing(tmp_path, option, message):
    config = tmp_path / 'pipeline.py'
    config.write_text(
        'variables = dict(seed=0)\n'
        f'stages = {stages()!r}\n')
    with pytest.raises(ValueError, match=message):
        run_pipeline(
            config, work_dir=tmp_path / 'run', cfg_options={option: 1})
    assert not (tmp_path / 'run').exists()


def test_time_of_runs_that_did_not_finish_counts(scripts):
    (scripts / 'slow.py').write_text(
        'import pathlib, sys, time\n'
        'time.sleep(0.4)\n'
        'sys.exit(not pathlib.Path("ready").exists())\n')
    change = dict(first=dict(command=['slow.py', 'count.py {dir}/a.txt']))
    with pytest.raises(StageError):
        pipeline(scripts, **change).run()
    (scripts / 'ready').touch()
    pipeline(scripts, **change).run()
    results = json.loads((scripts / 'run' / 'results.json').read_text())
    first, second = results['stages'][:2]
    assert first['name'] == 'first' and len(first['seconds']) == 2
    assert 0.4 <= first['seconds_before'] < sum(first['seconds']) + 5
    assert second['seconds_before'] == 0


def test_outputs_must_appear(scripts):
    lying = pipeline(
        scripts, first=dict(outputs=dict(a='{dir}/other.txt')))
    with pytest.raises(StageError, match='did not make .*other.txt'):
        lying.run()
    assert not lying.finished(lying.stages[0])


def test_a_changed_stage_is_refused_until_redone(scripts):
    pipeline(scripts).run()
    changed = pipeline(
        scripts, second=dict(command='count.py {dir}/b.txt'))
    with pytest.raises(ValueError, match="Stage 'second' was run with other"):
        changed.plan()
    changed.redo('second')
    assert [s.name for s in changed.plan()] == ['second', 'third']
    changed.run()
    assert counts(scripts) == dict(first='1 ', second='1 ', third='1 1 1')


def test_a_changed_config_counts_as_a_change(scripts):
    config = scripts / 'settings.py'
    config.write_text('width = 1')
    change = dict(first=dict(command='count.py {dir}/a.txt settings.py'))
    (scripts / 'count.py').write_text(
        COUNT.replace('sys.argv[2:]', '[]'))
    pipeline(scripts, **change).run()
    config.write_text('width = 1  # a comment changes nothing')
    assert pipeline(scripts, **change).plan() == []
    config.write_text('width = 2')
    with pytest.raises(ValueError, match='--redo first'):
        pipeline(scripts, **change).plan()


def test_deleted_outputs_are_made_again_only_if_needed(scripts):
    pipeline(scripts).run()
    (scripts / 'run' / 'first' / 'a.txt').unlink()
    assert pipeline(scripts).plan() == []
    (scripts / 'run' / 'third' / 'c.txt').unlink()
    redo = pipeline(scripts)
    redo.redo('third')
    assert [s.name for s in redo.plan()] == ['first', 'third']


def test_until(scripts):
    one = pipeline(scripts)
    one.run(until='second')
    assert set(counts(scripts)) == {'first', 'second'}
    with pytest.raises(ValueError, match="no stage 'fourth'"):
        one.run(until='fourth')


def test_scores_can_be_left_out_and_added_later(scripts):
    pipeline(scripts, scores=False).run()
    unscored = pipeline(scripts)
    assert unscored.value('second', 'mIoU') == '-'
    unscored.run()
    assert unscored.value('second', 'mIoU') in ('12.35', '12.34')
    assert counts(scripts)['second'] == '1 1'  # Only scored, not run again.
    assert len(unscored.results['second']['seconds']) == 2


@pytest.mark.parametrize('change,message', [
    (dict(second=dict(command='count.py {fist.a}')),
     r"Stage 'second': {fist.a} is made by no stage before it; there are "
     'first.a'),
    (dict(second=dict(command='count.py {third.c}')),
     "Stage 'third'.*second.b. is made by no stage before it"),
    (dict(second=dict(command='count.py {second.b}')), 'no stage before it'),
    ({'a b': dict(command='x', outputs={})}, 'letters, digits'),
    (dict(dir=dict(command='x', outputs={})), 'none of'),
    (dict(second=dict(comand='x')), 'needs command and outputs'),
    (dict(second=dict(metrics=None)), 'no metrics file'),
])
def test_malformed(scripts, change, message):
    with pytest.raises(ValueError, match=message):
        pipeline(scripts, **change)


def test_no_stages(scripts):
    with pytest.raises(ValueError, match='no pipeline config'):
        load_stages(Config(dict(), ), Path('run'))


def test_rows_need_their_metric(scripts):
    wrong = pipeline(scripts, second=dict(rows={'masks': 'mIou'}))
    with pytest.raises(StageError, match=r"has no \['mIou'\]"):
        wrong.run()


def test_command_line(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # Tools are found from anywhere.
    plain = command_line('tools/train.py configs/acr/acr_vit_shapes.py --x')
    assert plain[0] == sys.executable
    assert Path(plain[1]) == TOOLS / 'train.py'
    assert Path(plain[2]).is_file() and plain[3] == '--x'
    many = command_line('tools/train.py x.py', processes=2)
    assert '--nproc_per_node=2' in many
    assert many[-2:] == ['--launcher', 'pytorch']
    # Only training and testing know launchers.
    assert command_line('tools/evaluate_masks.py x', processes=2)[1].endswith(
        'evaluate_masks.py')


def write_pipeline(folder, sleep):
    (folder / 'sleep.py').write_text(
        'import sys, time, pathlib, os\n'
        'pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\n'
        f'time.sleep({sleep})\n')
    path = folder / 'pipe.py'
    path.write_text('stages = dict(nap=dict('
                    'command="sleep.py {dir}/pid.txt", '
                    'outputs=dict(pid="{dir}/pid.txt")))')
    return path


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie waits for a parent that may be gone.
    status = Path(f'/proc/{pid}/stat')
    return not status.exists() or status.read_text().split()[2] != 'Z'


@pytest.mark.slow
@pytest.mark.parametrize('sign',
                         [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_stage_outlives_its_pipeline(tmp_path, sign):
    path = write_pipeline(tmp_path, 60)
    run = subprocess.Popen(
        [sys.executable, '-W', 'ignore', TOOLS / 'run_pipeline.py', path,
         '--work-dir', 'run'],
        cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
    note = tmp_path / 'run' / 'nap' / 'pid.txt'
    deadline = time.time() + 60
    while not (note.is_file() and note.read_text()):
        assert time.time() < deadline and run.poll() is None
        time.sleep(0.05)
    pid = int(note.read_text())
    assert alive(pid)
    run.send_signal(sign)
    error = run.communicate(timeout=30)[1]
    deadline = time.time() + 10
    while alive(pid):
        assert time.time() < deadline, 'the stage is still there'
        time.sleep(0.05)
    assert run.returncode != 0
    results = json.loads((tmp_path / 'run' / 'results.json').read_text())
    if sign != signal.SIGKILL:
        assert 'run the same command again' in error
        assert results['stages'][0]['status'] == 'interrupted'
    # A second run continues.
    write_pipeline(tmp_path, 0)
    done = python(
        TOOLS / 'run_pipeline.py', path, '--work-dir', 'run', cwd=tmp_path)
    assert '[1/1] nap' in done.stdout and 'results.json' in done.stdout


def test_two_runs_at_once_are_refused(tmp_path):
    from filelock import FileLock
    path = write_pipeline(tmp_path, 0)
    (tmp_path / 'run').mkdir()
    with FileLock(str(tmp_path / 'run' / '.lock')):
        done = python(
            TOOLS / 'run_pipeline.py', path, '--work-dir', 'run',
            cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert 'Another run of this pipeline' in done.stderr


def test_missing_config(tmp_path):
    done = call(sys.executable, TOOLS / 'run_pipeline.py', 'none.py',
                cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert 'There is no pipeline config none.py' in done.stderr
