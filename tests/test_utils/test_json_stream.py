import json

import pytest

from mmwsss.utils import json_stream
from mmwsss.utils.json_stream import iter_members

CONTENT = {
    'info': {
        'year': 2014
    },
    'numbers': [1234567, -2.5e3, True, None],
    'empty': [],
    'names': ['a"]}', 'ü日', {
        'deep': [[1], {}]
    }],
    'version': 17
}


def write(path, text):
    path.write_text(text, encoding='utf-8')
    return path


@pytest.mark.parametrize('chunk', [1, 2, 7, 1 << 20])
@pytest.mark.parametrize('indent', [None, 2])
def test_members(tmp_path, chunk, indent):
    text = json.dumps(CONTENT, indent=indent, ensure_ascii=False)
    path = write(tmp_path / 'a.json', f' {text}\n')
    found = list(iter_members(path, chunk))
    assert found == [('info', None, CONTENT['info']),
                     *(('numbers', i, v)
                       for i, v in enumerate(CONTENT['numbers'])),
                     *(('names', i, v)
                       for i, v in enumerate(CONTENT['names'])),
                     ('version', None, 17)]
    assert not list(iter_members(write(path, '{}'), chunk))


def test_every_cut_is_noticed(tmp_path):
    text = json.dumps(CONTENT)
    for end in range(len(text)):
        path = write(tmp_path / 'a.json', text[:end])
        with pytest.raises(ValueError, match='a.json'):
            list(iter_members(path, 5))


@pytest.mark.parametrize('text,message', [
    ('[1]', r"'\[' stands where one of '\{'"),
    ('{1: 2}', "'1' stands where a key"),
    ('{"a": [1, 2}', r"in 'a', element 1: '\}' stands where one of ',\]'"),
    ('{"a": [1,, 2]}', "in 'a', element 1: no JSON"),
    ('{"a" 1}', "in 'a': '1' stands where one of ':'"),
    ('{"a": 1} 2', 'something follows'),
])
def test_bad_files(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        list(iter_members(write(tmp_path / 'a.json', text)))


def test_no_file_and_no_text(tmp_path):
    with pytest.raises(FileNotFoundError, match='gone.json'):
        list(iter_members(tmp_path / 'gone.json'))
    (tmp_path / 'a.json').write_bytes(b'{"a": "\xff"}')
    with pytest.raises(ValueError, match='a.json: it is no UTF-8 text'):
        list(iter_members(tmp_path / 'a.json'))


def test_a_broken_element_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, 'LONGEST', 100)
    read = []
    more = json_stream._Text.more
    monkeypatch.setattr(json_stream._Text, 'more', lambda self:
                        (more(self), read.append(len(self.buffer)))[0])
    path = write(tmp_path / 'a.json', '{"a": [{"b" 1}, ' + '1, ' * 9999)
    with pytest.raises(ValueError, match="in 'a', element 0: no JSON"):
        list(iter_members(path, 20))
    assert max(read) < 150
