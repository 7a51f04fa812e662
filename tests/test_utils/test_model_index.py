"""Configs are found by name."""
from pathlib import Path

import pytest

from mmwsss.utils import model_index

ROOT = Path(__file__).resolve().parents[2]


def test_every_listed_config_is_named_as_its_file():
    found = model_index.named_configs()
    assert len(found) > 50
    for name, path in found.items():
        assert path.is_file() and path.stem == name


@pytest.mark.parametrize('name', [
    'acr_vit_shapes', 'configs/acr/acr_vit_shapes.py',
    str(ROOT / 'configs' / 'acr' / 'acr_vit_shapes.py')
])
def test_find_config(monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    assert model_index.find_config(name) == \
        ROOT / 'configs' / 'acr' / 'acr_vit_shapes.py'


def test_a_file_of_the_reader_comes_first(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path('acr_vit_shapes').write_text('')
    assert model_index.find_config('acr_vit_shapes') == Path('acr_vit_shapes')


@pytest.mark.parametrize('name', ['acr_vit_shape', 'x.py', 'a/acr_vit_shapes'])
def test_an_unknown_name_stays_as_it_is(name):
    assert model_index.find_config(name) == Path(name)


def test_an_installation_without_configs_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(model_index, '__file__',
                        str(tmp_path / 'mmwsss' / 'utils' / 'x.py'))
    with pytest.raises(FileNotFoundError, match='Install the package again'):
        model_index.index_root()
