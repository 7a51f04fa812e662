"""Two processes train and measure what one does."""
import json
import subprocess
import sys
import time

import pytest
import torch

from mmwsss.datasets.shapes import generate_shapes

from .small_models import (
    SHAPES,
    TWO_PHASES,
    batch_of,
    build,
    load,
    losses_of,
    set_phase,
)
from .test_gpu import QUICK
from .test_half_precision import DRAWN
from .test_tools import ROOT, SMALL, TOOLS, call, environment, free_port

SCRIPT = ROOT / 'tests' / 'distributed_run.py'


@pytest.mark.slow
@pytest.mark.parametrize('config', [
    'seam/seam_r18_shapes.py', 'acr/acr_vit_shapes.py',
    'getam/getam_vit_shapes.py', 'mctformer/mctformer-plus_vit_shapes.py',
    'weaktr/weaktr_vit_shapes.py',
    'toco/toco_vit_shapes.py', 'cosa/cosa_vit_shapes.py'
])
def test_one_process_and_two(tmp_path, config):
    path = ROOT / 'configs' / config
    call(sys.executable, '-W', 'ignore', SCRIPT, path, tmp_path, 4,
         cwd=tmp_path)
    call(
        sys.executable, '-W', 'ignore', '-m', 'torch.distributed.run',
        '--nproc_per_node=2', f'--master_port={free_port()}', SCRIPT, path,
        tmp_path, 2, 'pytorch', cwd=tmp_path)
    one = json.loads((tmp_path / 'result0_0.json').read_text())
    two = [
        json.loads((tmp_path / f'result1_{rank}.json').read_text())
        for rank in (0, 1)
    ]
    assert len(one['steps']) == len(two[0]['steps']) == 6
    for i, (step, *parts) in enumerate(
            zip(one['steps'], two[0]['steps'], two[1]['steps'])):
        # Rounding grows: SEAM's weights changed by 1e-7 in one process change
        # its losses by 1e-6 in the second epoch's first step and by 1.5e-4 in
        # its last.
        rel = 1e-5 if i < 3 else 1e-3
        # The same global batch ...
        assert sorted(step['ids']) == sorted(parts[0]['ids'] +
                                             parts[1]['ids'])
        # ... with the same augmentation gives the same losses.
        for name, value in step['losses'].items():
            if 'loss' in name:
                mean = sum(p['losses'][name] for p in parts) / 2
                assert mean == pytest.approx(value, rel=rel), name
    for name, value in one['weights'].items():
        assert two[0]['weights'][name] == two[1]['weights'][name]
        assert two[0]['weights'][name] == pytest.approx(
            value, rel=1e-4, abs=1e-3), name
    assert one['metric']['mIoU'] > 0
    for name, value in one['metric'].items():
        # Seven images, not eight: the padded one counts once.
        assert two[0]['metric'][name] == pytest.approx(value, abs=0.5), name


@pytest.fixture(scope='module')
def steps(tmp_path_factory):
    """What one, two and three processes made of the same steps."""
    folder = tmp_path_factory.mktemp('steps')
    script = ('-m', 'tests.distributed_steps', folder, *SHAPES)
    call(sys.executable, '-W', 'ignore', *script, cwd=ROOT)
    for world in (2, 3):
        # A clean exit is part of it.
        call(
            sys.executable, '-W', 'ignore', '-m', 'torch.distributed.run',
            f'--nproc_per_node={world}', f'--master_port={free_port()}',
            *script, cwd=ROOT)
    return {
        world: [
            json.loads((folder / f'steps{world}_{rank}.json').read_text())
            for rank in range(world)
        ]
        for world in (1, 2, 3)
    }


@pytest.mark.slow
@pytest.mark.parametrize('world', [2, 3])
@pytest.mark.parametrize('name', SHAPES)
def test_steps_of_every_method(steps, name, world):
    """Full and partial batches, images without tags on one process only."""
    one, many = steps[1][0][name], [found[name] for found in steps[world]]
    for result in (one, *many):
        for logs in result['steps']:
            assert torch.tensor(list(logs.values())).isfinite().all()
    # The same update everywhere.
    for result in many[1:]:
        assert result['weights'] == many[0]['weights']
    if one['mixed_statistics']:
        return  # Plain batch norm of each process's own images.
    if 'mask2former' in name:
        return  # Queries are matched on points that each process draws.
    drawn = any(key in DRAWN for logs in one['steps'] for key in logs)
    for i, step in enumerate(one['steps'][:1 if drawn else 3]):
        for key, value in step.items():
            if 'loss' in key and key not in DRAWN and not (
                    key == 'loss' and drawn):
                mean = sum(m['steps'][i][key] for m in many) / world
                assert mean == pytest.approx(
                    value, rel=1e-4 * 10**i, abs=1e-5), (i, key)


@pytest.mark.parametrize('name', [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
    for name in SHAPES
])
def test_unused_parameters_are_looked_for_where_there_are_some(name):
    """DDP stops at them unless it is told to, which costs time."""
    cfg = load(name)
    model = build(cfg).train()
    unused = set()
    for second in (False, True) if name.startswith(TWO_PHASES) else (True, ):
        set_phase(second)
        # Also on a process whose images have no tags.
        for tags in (((0, 3), (5, )), ((), ())):
            model.zero_grad(set_to_none=True)
            losses = losses_of(model, batch_of(cfg, tags=tags, size=64))
            model.parse_losses(losses)[0].backward()
            unused |= {
                key
                for key, value in model.named_parameters()
                if value.requires_grad and value.grad is None
            }
    assert bool(unused) == bool(cfg.get('find_unused_parameters')), unused


@pytest.mark.slow
# False: as Slurm starts them, nobody ends the others.
@pytest.mark.parametrize('agent', [True, False])
def test_one_process_fails(tmp_path, agent):
    """The others stop, and the message says why."""
    root = generate_shapes(tmp_path / 'shapes', num_train=8, num_val=4)
    ids = (root / 'ImageSets/Segmentation/train.txt').read_text().split()
    broken, = (root / 'JPEGImages').glob(f'{ids[0]}.*')
    broken.write_bytes(b'nothing')
    command = [
        TOOLS / 'train.py', ROOT / 'configs/cam/cam_r18_shapes.py',
        '--launcher', 'pytorch', '--work-dir', tmp_path / 'run',
        '--cfg-options', 'model.backbone.init_cfg=None', *SMALL,
        'train_dataloader.batch_size=2'
    ]
    python = [sys.executable, '-W', 'ignore']
    port, begin = str(free_port()), time.monotonic()
    if agent:
        command = [
            *python, '-m', 'torch.distributed.run', '--nproc_per_node=2',
            f'--master_port={port}', *command
        ]
        done = [call(*command, cwd=tmp_path, check=False)]
    else:
        running = [
            subprocess.Popen(
                [*map(str, (*python, *command))],
                cwd=tmp_path,
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
                env=environment(
                    RANK=str(rank),
                    LOCAL_RANK=str(rank),
                    WORLD_SIZE='2',
                    MASTER_ADDR='127.0.0.1',
                    MASTER_PORT=port)) for rank in range(2)
        ]
        done = [
            subprocess.CompletedProcess(p.args, p.wait(), '', p.stderr.read())
            for p in running
        ]
    assert time.monotonic() - begin < 60
    assert all(process.returncode for process in done)
    assert broken.stem in ''.join(process.stderr for process in done)
