"""Two processes train and measure what one does."""
import json
import sys

import pytest

from .test_tools import ROOT, call, free_port

SCRIPT = ROOT / 'tests' / 'distributed_run.py'


@pytest.mark.parametrize(
    'config', [
        'acr/acr_vit_shapes.py', 'seam/seam_r18_shapes.py',
        'getam/getam_vit_shapes.py'
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
