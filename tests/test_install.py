"""What an installation holds."""
import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmwsss.utils.requirements import REQUIREMENTS, parse_version

ROOT = Path(__file__).resolve().parents[1]


def requirement_lines():
    lines = (ROOT / 'requirements.txt').read_text().splitlines()
    return [x for x in lines if x.strip() and not x.startswith('#')]


def test_requirements_agree_with_the_check_at_import():
    listed = {
        re.match(r'[\w-]+', line).group(): line
        for line in requirement_lines()
    }
    for name, (oldest, distribution) in REQUIREMENTS.items():
        line = listed[distribution]
        lower = re.search(r'>=([\d.]+)', line)
        assert lower, f'{line!r} has no lower bound'
        assert parse_version(lower.group(1)) >= parse_version(oldest), name


def test_requirements_name_everything_imported():
    """Imports inside functions may be of extras."""
    distributions = dict(
        cv2='opencv-python',
        PIL='Pillow',
        mmcv='onedl-mmcv',
        mmengine='onedl-mmengine',
        mmpretrain='onedl-mmpretrain',
        mmseg='onedl-mmsegmentation')
    listed = {
        re.match(r'[\w-]+', line).group()
        for line in requirement_lines()
    }
    lacking = set()
    for path in (ROOT / 'mmwsss').rglob('*.py'):
        for node in ast.parse(path.read_text()).body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for name in (n.split('.')[0] for n in names):
                if name not in {*sys.stdlib_module_names, 'mmwsss'} and \
                        distributions.get(name, name) not in listed:
                    lacking.add((path.name, name))
    assert not lacking


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    """The package as it goes into a wheel."""
    pytest.importorskip('setuptools')
    folder = tmp_path_factory.mktemp('build')
    done = subprocess.run(
        [
            sys.executable, '-W', 'ignore', 'setup.py', '-q', 'build',
            '--build-base',
            str(folder)
        ],
        cwd=ROOT,
        capture_output=True,
        text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / 'lib' / 'mmwsss'


def files(folder, pattern='*'):
    return {
        str(p.relative_to(folder))
        for p in folder.rglob(pattern)
        if p.is_file() and '__pycache__' not in p.parts
        and '.mim' not in p.relative_to(folder).parts
    }


def test_build_holds_package_configs_and_tools(built):
    assert files(built, '*.py') == files(ROOT / 'mmwsss', '*.py')
    for name in ('configs', 'tools'):
        shipped = files(built / '.mim' / name)
        assert shipped == files(ROOT / name) != set()
    assert not list(built.rglob('__pycache__'))


def test_build_says_that_it_has_type_hints(built):
    assert (built / 'py.typed').is_file()


def test_sources_hold_what_the_build_needs():
    given = {
        name
        for line in (ROOT / 'MANIFEST.in').read_text().splitlines()
        if line.startswith('include ') for name in line.split()[1:]
    }
    assert {'model-index.yml', 'mmwsss/py.typed',
            'requirements.txt'} <= given
    for name in given:
        assert (ROOT / name).is_file(), name


def test_build_trains_a_config_by_name_anywhere(built, tmp_path):
    """The folder holds nothing of ours, the config is none of its files."""
    tool = built / '.mim' / 'tools' / 'train.py'
    small = [
        f'{loader}.{setting}'
        for loader in ('train_dataloader', 'val_dataloader',
                       'test_dataloader')
        for setting in ('dataset.num_train=4', 'dataset.num_val=2',
                        'batch_size=2', 'num_workers=0',
                        'persistent_workers=False')
    ]
    done = subprocess.run(
        [
            sys.executable, '-W', 'ignore',
            str(tool), 'cam_r18_shapes', '--cfg-options',
            'train_cfg.max_epochs=1', *small
        ],
        cwd=tmp_path,
        env=dict(
            os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(built.parent)),
        capture_output=True,
        text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    work_dir = tmp_path / 'work_dirs' / 'cam_r18_shapes'
    assert (work_dir / 'epoch_1.pth').is_file()


def test_every_folder_of_the_package_is_a_package():
    for path in (ROOT / 'mmwsss').rglob('*.py'):
        assert (path.parent / '__init__.py').is_file(), path


def test_scripts_can_be_executed():
    scripts = [*(ROOT / 'tools').glob('*.sh'), ROOT / '.ci' / 'run']
    assert len(scripts) == 5
    for script in scripts:
        assert script.stat().st_mode & 0o111, script
        subprocess.run(['bash', '-n', str(script)], check=True)
