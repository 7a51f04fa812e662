"""No reference vector is left out by accident."""
import numpy as np
import pytest

from .conftest import (
    SHIPPED,
    Vector,
    declared_families,
    family_of,
    vector_files,
    vector_folder,
)


def test_every_file_has_a_test(request):
    folder = vector_folder(request.config)
    names = [path.stem for path in vector_files(request.config)]
    assert names, f'{folder} holds no .npz file'
    known = declared_families()
    untested = [n for n in names if family_of(n, known) is None]
    assert not untested, (
        f'no test module declares the family of {untested}; write one')


def test_a_clone_proves_every_module():
    files = list(SHIPPED.glob('*.npz'))
    assert sum(f.stat().st_size for f in files) <= 2_000_000
    known = declared_families()
    shipped = {family_of(f.stem, known) for f in files}
    modules = {m for f in shipped for m in known[f]}
    assert modules == {m for ms in known.values() for m in ms}


def test_one_module_per_family():
    # Two modules may share a family only on purpose; so far none does.
    shared = {f: m for f, m in declared_families().items() if len(m) > 1}
    assert not shared


def test_longest_prefix_wins():
    families = ['seam', 'seam_pcm', 'acr']
    assert family_of('seam_pcm_small', families) == 'seam_pcm'
    assert family_of('seam_pcm', families) == 'seam_pcm'
    assert family_of('seam_funcs', families) == 'seam'
    # A family ends where a word ends.
    assert family_of('seamaff_head', families) is None


def test_families_are_read_without_import(tmp_path):
    (tmp_path / 'test_a.py').write_text(
        "import nothing_of_that_name\nFAMILIES = (\n    'a_b',\n    'c')\n")
    (tmp_path / 'test_b.py').write_text('OTHER = 1\n')
    assert declared_families(tmp_path) == {
        'a_b': ['test_a.py'],
        'c': ['test_a.py']
    }


def test_vectors_hold_no_pickles(tmp_path):
    np.savez(tmp_path / 'bad.npz', x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match='allow_pickle'):
        Vector(tmp_path / 'bad.npz')
    np.savez(tmp_path / 'good.npz', x=np.arange(3))
    vector = Vector(tmp_path / 'good.npz')
    assert vector.name == 'good' and vector['x'].sum() == 3
    with pytest.raises(KeyError, match="good.npz has no 'y', only"):
        vector['y']
