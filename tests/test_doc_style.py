"""How documents are written, and where their numbers come from."""
import re
import runpy

import pytest
import yaml

from .test_docs import PAGES, prose
from .toy import ROOT

LONGEST = 100
# Not the field's words, and how to say it. Only what is never right.
BANNED = {
    r'\bclass[ -]maps?\b': 'CAM',
    r'\btelling parts?\b': 'most discriminative part',
    r'\brooms?\b': 'folder, part',
    r'\bthe house\b': 'architecture',
    r'\bCRF scores?\b': 'CRF probabilities',
    r'\bresnet38\b': 'ResNet-38, or `resnet38` as code',
    r'\bKilled\?': 'a sentence with a subject',
}
SCRIPT = runpy.run_path(str(ROOT / '.dev_scripts' / 'make_tables.py'))
pages = pytest.mark.parametrize(
    'page', PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])


def long_lines(text):
    """Lines that are too long, but for tables and README's two commands,
    each of which is one line that can be copied as it is."""
    return [
        line for line in text.splitlines()
        if len(line) > LONGEST and not line.lstrip().startswith('|')
        and not line.startswith('python3 -m venv ')
    ]


def banned_words(text):
    """Words of the list; code is what the program calls it."""
    text = re.sub(r'`[^`\n]*`', '', text)
    # Addresses of links.
    text = re.sub(r'\]\([^)]*\)', ']', text)
    return [
        f'{found} (write: {instead})' for word, instead in BANNED.items()
        for found in re.findall(word, text, re.I)
    ]


def test_long_lines_are_found():
    assert long_lines('a' * 101) and not long_lines('a' * 100)
    assert not long_lines('| ' + 'a' * 200 + ' |')


def test_banned_words_are_found():
    assert banned_words('A Class map of the telling\npart') == [
        'Class map (write: CAM)'
    ]
    assert not banned_words('`class_maps.py` and [CAM](x.md#class-maps)')


@pages
def test_lines_are_short(page):
    assert not long_lines(page.read_text(encoding='utf-8'))


@pages
def test_words_are_those_of_the_field(page):
    assert not banned_words(re.sub(r'\s+', ' ', prose(page)))


@pages
def test_voc_mini_is_spelled_in_one_way(page):
    text = re.sub(r'`[^`\n]*`', '', prose(page))
    text = re.sub(r'\]\([^)]*\)', ']', text)
    assert 'voc_mini' not in text


def test_tables_are_those_of_the_metafiles():
    text = SCRIPT['PAGE'].read_text(encoding='utf-8')
    assert SCRIPT['with_tables'](text) == text, (
        'run python .dev_scripts/make_tables.py')


def test_every_method_has_a_table():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert {path.split('/')[1]
            for path in index['Import']} == set(SCRIPT['METHODS'])


def test_a_row_by_hand():
    model = dict(
        Name='x',
        Config='configs/x.py',
        Results=[
            dict(
                Dataset='Shapes',
                Metrics={'mIoU': 40.},
                Deviation={'mIoU': 1.21},
                Seeds=[0, 1],
                Command='python tools/train.py {config}')
        ],
        **{'Paper Results': [dict(Dataset='VOC', Metrics={'mIoU': 67.3})]})
    assert SCRIPT['section']('X', [model]).splitlines()[4:] == [
        '| `x` | VOC | mIoU | 67.3 | not trained by us (no GPU) | |',
        '| `x` | Shapes | mIoU | - | 40.0 ± 1.2 | 0, 1 |', '', '```shell',
        'python tools/train.py configs/x.py', '```'
    ]


def test_deviations_belong_to_numbers():
    for path in (ROOT / 'configs').glob('*/metafile.yml'):
        for model in yaml.safe_load(path.read_text())['Models']:
            for result in model['Results']:
                assert set(result.get('Deviation',
                                      ())) <= set(result['Metrics'])
                assert ('Command' in result) != ('Procedure' in result)
                assert result['Seeds']
