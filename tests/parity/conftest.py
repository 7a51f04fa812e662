"""Runs the reference vectors: one .npz each, found by file-name prefix.

A test module declares the families it tests, ``FAMILIES = ('acr_fuse', )``,
and takes the fixture ``vector``; each of its tests then runs once for every
file of these families. Where one family is the beginning of another
(``seam``, ``seam_pcm``) a file belongs to the longer one.
"""
import ast
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
#: A part of the vectors, at least one for every module here.
SHIPPED = HERE / 'vectors'


def vector_folder(config) -> Path:
    """The folder asked for, else the one beside this file."""
    given = config.getoption('--vectors')
    if given is None:
        return SHIPPED
    folder = Path(given)
    if not folder.is_dir():
        raise pytest.UsageError(f'--vectors {given}: no such folder.')
    return folder


def vector_files(config) -> list[Path]:
    """All reference files."""
    return sorted(vector_folder(config).glob('*.npz'))


def declared_families(folder: Path = HERE) -> dict[str, list[str]]:
    """Families of a folder's test modules and the modules declaring them.

    The modules are read, not imported, so one that fails to import still
    counts (and fails on its own).
    """
    found: dict[str, list[str]] = {}
    for path in sorted(folder.glob('test_*.py')):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and any(
                    isinstance(t, ast.Name) and t.id == 'FAMILIES'
                    for t in node.targets):
                families = ast.literal_eval(node.value)
                assert not isinstance(families, str), (
                    f'{path.name}: FAMILIES must be a tuple')
                for family in families:
                    found.setdefault(family, []).append(path.name)
    return found


def belongs(name: str, family: str) -> bool:
    """Whether a file name starts with a family's prefix."""
    return name == family or name.startswith(family + '_')


def family_of(name: str, families: Iterable[str]) -> str | None:
    """The longest family prefix of a file name."""
    fitting = [f for f in families if belongs(name, f)]
    return max(fitting, key=len) if fitting else None


class Vector(dict[str, np.ndarray]):
    """The arrays of one reference file.

    Attributes:
        name (str): File name without suffix.
    """

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as arrays:
            super().__init__({k: arrays[k] for k in arrays.files})
        self.name = path.stem

    def __missing__(self, key: str) -> np.ndarray:
        raise KeyError(f'{self.name}.npz has no {key!r}, only {sorted(self)}')


def pytest_generate_tests(metafunc) -> None:
    if 'vector' not in metafunc.fixturenames:
        return
    families = metafunc.module.FAMILIES
    known = declared_families()
    params = [
        pytest.param(path, id=path.stem)
        for path in vector_files(metafunc.config)
        if family_of(path.stem, known) in families
    ]
    if not params:
        reason = (f'{vector_folder(metafunc.config)} has no file of the '
                  f'families {families}')
        params = [pytest.param(None, marks=pytest.mark.skip(reason=reason))]
    metafunc.parametrize('vector', params, indirect=True)


@pytest.fixture
def vector(request) -> Vector:
    """The arrays of one reference file of this module's families."""
    return Vector(request.param)
