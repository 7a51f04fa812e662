import subprocess
import sys

import pytest

from mmwsss.utils.requirements import (
    REQUIREMENTS,
    check_requirements,
    installed_version,
    parse_version,
)


def test_all_there():
    check_requirements()
    assert set(REQUIREMENTS) == {
        'torch', 'mmengine', 'mmcv', 'mmseg', 'mmpretrain'
    }


@pytest.mark.parametrize('text,numbers', [
    ('2.11.0+cu130', (2, 11, 0)),
    ('1.2.0rc1', (1, 2, 0)),
    ('0.10.12', (0, 10, 12)),
    ('unknown', ()),
])
def test_parse_version(text, numbers):
    assert parse_version(text) == numbers


def test_versions_compare_as_numbers():
    assert parse_version('0.10.12') > parse_version('0.10.7')


def make_package(folder, name, version_py):
    package = folder / name
    package.mkdir()
    (package / '__init__.py').write_text('raise RuntimeError("imported!")')
    if version_py is not None:
        (package / 'version.py').write_text(version_py)
    return str(package / '__init__.py')


def test_missing_and_old(tmp_path, monkeypatch):
    make_package(tmp_path, 'mmtoo_old', "__version__ = '1.0.0'\n")
    make_package(tmp_path, 'mmgood', "__version__ = '1.10.0'\n")
    make_package(tmp_path, 'mmsilent', None)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ImportError) as error:
        check_requirements({
            'mmtoo_old': ('1.2.0', 'dist-old'),
            'mmgood': ('1.2.0', 'dist-good'),
            'mmsilent': ('1.2.0', 'dist-silent'),
            'mmabsent': ('2.0.0', 'dist-absent'),
        })
    message = str(error.value)
    assert 'mmtoo_old is 1.0.0, at least 1.2.0 is needed' in message
    assert 'mmabsent is not installed' in message
    assert "pip install 'dist-old>=1.2.0' 'dist-absent>=2.0.0'" in message
    assert 'mmgood' not in message and 'mmsilent' not in message


def test_version_asked_from_the_installer(tmp_path):
    asks = ('from importlib.metadata import version\n'
            "__version__ = version('pytest')\n")
    origin = make_package(tmp_path, 'mmasks', asks)
    assert installed_version(origin) == pytest.__version__
    gone = make_package(tmp_path, 'mmgone',
                        "__version__ = version('no-such-distribution')\n")
    assert installed_version(gone) is None
    assert installed_version(None) is None


def test_import_is_light():
    code = ('import sys, mmwsss\n'
            'heavy = {"torch", "numpy", "mmengine", "mmseg", "mmpretrain"}\n'
            'assert not heavy & set(sys.modules), heavy & set(sys.modules)\n'
            'assert mmwsss.__version__\n')
    done = subprocess.run([sys.executable, '-c', code])
    assert done.returncode == 0
