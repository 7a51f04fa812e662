"""The original distributions: pins, the script, and what may be imported.

That the suite passes on them is what tests/openmmlab.sh shows.
"""
import ast
import os
import re
import subprocess

import pytest

from mmwsss.utils.requirements import REQUIREMENTS, parse_version

from .test_install import requirement_lines
from .test_tools import ROOT

SCRIPT = ROOT / 'tests' / 'openmmlab.sh'
ORIGINAL = dict(
    torch='torch',
    mmengine='mmengine',
    mmcv='mmcv',
    mmseg='mmsegmentation',
    mmpretrain='mmpretrain')


def pins():
    lines = (ROOT / 'constraints-openmmlab.txt').read_text().splitlines()
    lines = [line for line in lines if line and not line.startswith('#')]
    return dict(re.match(r'([\w-]+)(.*)', line).groups() for line in lines)


def test_the_pins_are_what_mmwsss_takes_at_least():
    assert set(ORIGINAL) == set(REQUIREMENTS)
    for name, (oldest, _) in REQUIREMENTS.items():
        operator, version = pins()[ORIGINAL[name]].split('==')
        assert not operator
        # The same minor release: with another one the check says nothing.
        assert parse_version(version) >= parse_version(oldest)
        assert parse_version(version)[:2] == parse_version(oldest)[:2]


def test_the_script_installs_all_that_is_required():
    text = SCRIPT.read_text()
    installed = set(
        re.findall(r'[\w-]+', ' '.join(
            re.findall(r'pip install ((?:.|\\\n)*?[^\\])\n', text))))
    assert set(pins()) <= installed
    for line in requirement_lines():
        name = re.match(r'[\w-]+', line).group()
        assert name.removeprefix('onedl-') in installed
    assert '--no-deps -e .' in text


def test_the_script_can_be_executed():
    assert SCRIPT.stat().st_mode & 0o111
    subprocess.run(['bash', '-n', str(SCRIPT)], check=True)
    # It refuses a Python that torch 2.1 does not know, before it builds.
    done = subprocess.run(
        ['bash', str(SCRIPT)],
        env=dict(os.environ, PYTHON='false', ENV_DIR='/nowhere'),
        capture_output=True,
        text=True)
    assert done.returncode == 1 and 'Set PYTHON' in done.stderr


#: Names of a distribution would make the other one unusable.
@pytest.mark.parametrize('folder', ['mmwsss', 'tools', 'configs'])
def test_only_import_names_count(folder):
    for path in (ROOT / folder).rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [node.module or '']
            for module in modules:
                assert not module.startswith(('onedl', 'mmsegmentation'))
                # Its operations may not be compiled.
                assert (not module.startswith('mmcv.ops')
                        or path.name == 'mmcv_ops.py'), path
