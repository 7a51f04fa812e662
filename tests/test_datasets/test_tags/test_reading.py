import json
import re
import unicodedata

import cv2
import numpy as np
import pytest

from mmwsss.datasets import read_image_labels
from mmwsss.datasets.tags import (
    find_format,
    find_images,
    image_id,
    missing_images,
    read_tags,
)

from ..builders import write_xml

TAGS = {'a': ('dog', 'cat'), 'sub/b 1': (), 'ümläut': ('cat', )}


def write(path, text, encoding='utf-8'):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def save(path, value=0, size=(4, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(path.suffix.lower(),
                              np.full((*size, 3), value, np.uint8))
    path.write_bytes(data.tobytes())


# ----------------------------------------------------------------------- csv
@pytest.mark.parametrize('text', [
    'image,tags\na.jpg,dog;cat\nsub/b 1.PNG,\nümläut.jpeg,cat\n',
    'image,tags\na,dog | cat\nsub/b 1\nümläut,cat\n',
    'image,tags\na,"dog, cat"\nsub/b 1,""\nümläut,cat\n',
    'image;tags\na.jpg;dog,cat\nsub/b 1.jpg;\nümläut.jpg;cat\n',
    'image\ttags\na.jpg\tdog,cat\nsub/b 1.jpg\t\nümläut.jpg\tcat\n',
    '\ufeffFile_Name,Labels,,\r\na.jpg,dog;cat,,\r\n\r\n'
    '.\\sub\\b 1.bmp,,,\r\nümläut.jpg,cat,,\r\n',
    ',image,tags\n0,a.jpg,dog;dog;cat\n1,./sub/b 1.jpg,\n2,ümläut.jpg,cat\n',
    'image,tags\ra.jpg,dog;cat\rsub/b 1.jpg,\rümläut.jpg,cat\r',
])
def test_csv_with_tags(tmp_path, text):
    file = read_tags(write(tmp_path / 'tags.csv', text))
    assert file.tags == TAGS
    assert file.classes == ('cat', 'dog') and not file.declared
    assert file.format == 'csv'
    assert read_image_labels(file.path, ('dog', 'cat')) == {
        'a': (0, 1), 'sub/b 1': (), 'ümläut': (1, )}


@pytest.mark.parametrize('text', [
    'image,dog,cat,cow\na.jpg,1,1,0\nsub/b 1.jpg,0,0,\nümläut.jpg,0,1.0,0\n',
    'id;dog;cat;cow\na;true;True;false\nsub/b 1;0;0;0;\nümläut;0;1;0\n',
])
def test_csv_with_a_column_per_class(tmp_path, text):
    file = read_tags(write(tmp_path / 'tags.csv', text))
    assert file.tags == TAGS
    # In the order of the header, with one that nobody shows.
    assert file.classes == ('dog', 'cat', 'cow') and file.declared


def test_lines_are_those_of_an_editor(tmp_path):
    path = write(tmp_path / 't.csv', 'image,tags\n\na,x\n"b",\n\nc,y\n')
    assert read_tags(path).lines == dict(a=3, b=4, c=6)
    assert read_tags(path).where('c') == f'{path}, line 6'
    with pytest.raises(ValueError, match=r"c has .*tag 'y' in .*, line 6"):
        read_image_labels(path, ('x', 'z'))


def test_decomposed_letters_are_composed(tmp_path):
    text = unicodedata.normalize('NFD', 'image,tags\nété,chaîne\n')
    assert 'é' not in text
    file = read_tags(write(tmp_path / 't.csv', text))
    assert file.tags == {'été': ('chaîne', )}


@pytest.mark.parametrize('text, message', [
    ('image,tags\na,cat\nb,x\na.png,dog\n',
     r"'a' stands twice .*'a' \(Line 2\) and as 'a.png' \(Line 4\)"),
    ('', r"begins with \[\], the header must be 'image,tags'"),
    ('\n\n', r'begins with \[\]'),
    ('image,tags\n', 'has a header but no image'),
    ('image\na\n', r"begins with \['image'\]"),
    ('a.jpg,cat\n', "header must be 'image,tags'.*column per class"),
    ('image,tags,label\na,cat,dog\n',
     r"columns \['tags', 'label'\] could all .*--columns labels="),
    ('image,label\na,0\nb,1\n', "'label' holds nothing but 0, 1"),
    ('image,size\na,big\nb,small\nc,big\n', 'No column of .* holds tags'),
    ('image,cat\na,1\nb,-1\n', '1 and -1 but neither 0 nor empty'),
    ('image,tags\na,"[cat, dog"\n', "begins like a list but is no list"),
    ('image,tags\na,cat,dog\n', r'Line 2 .* 3 columns; separate tags by ";"'),
    ('image;tags\na;cat;dog\n', r'Line 2 .* 3 columns; separate tags by "|"'),
    ('image,tags\na,cat;dog\nb,cat|dog\n',
     r"separates tags by ';' in line 2 and has '\|' in line 3"),
    ('image,cat,dog\na,1,2\n', r"Line 2 .*'2' in the column 'dog' is neither"),
    ('image,cat,dog\na,1\n', 'Line 2 .* has 2 columns, the header 3'),
    ('image,cat,cat\na,1,0\n', "two classes are called 'cat'"),
    ('image,cat,,dog\na,1,0,1\n', 'a class has no name'),
    ('image,cat,background\na,1,1\n', "'background' is no class"),
    ('image,tags\na,Background\n', "'background' is no class"),
    ('image,tags\na,cat\nb,x\nc,Cat\n',
     r"'Cat' \(line 4\) and 'cat' \(line 2\) differ in spelling only"),
    ('image,tags\na,hot dog\nb,hotdog\n', 'differ in spelling only'),
    ('image,tags\n,cat\n', 'Line 2 .*an image has no name'),
    ('image,tags\n/data/a.jpg,cat\n',
     r"Line 2 .*'/data/a.jpg' lies outside the image folder"),
    ('image,tags\nC:\\a.jpg,cat\n', 'lies outside'),
    ('image,tags\n../a.jpg,cat\n', 'lies outside'),
    ('image,tags\na,"cat\n', 'Line 2 .* is no csv'),
    ('image,tags\na,c\0t\n', 'Line 2 .* zero byte'),
])
def test_bad_csv(tmp_path, text, message):
    path = write(tmp_path / 'tags.csv', text)
    with pytest.raises(ValueError, match=message) as raised:
        read_tags(path)
    assert 'tags.csv' in str(raised.value)


@pytest.mark.parametrize('encoding, message', [
    ('latin-1', 'Line 3 of .*tags.csv is not UTF-8.*Excel'),
    ('utf-16', 'tags.csv is UTF-16'),
])
def test_other_encodings(tmp_path, encoding, message):
    path = write(tmp_path / 'tags.csv', 'image,tags\na,x\nb,é\n', encoding)
    with pytest.raises(ValueError, match=message):
        read_tags(path)


# ---------------------------------------------------------------------- JSON
LISTED = [dict(image=f'{i}.jpg', tags=list(t)) for i, t in TAGS.items()]


@pytest.mark.parametrize('content', [
    {i: list(t) for i, t in TAGS.items()},
    {f'{i}.jpg': [f' {x}' for x in t] for i, t in TAGS.items()},
    LISTED,
    [dict(file_name=e['image'], labels=e['tags'], more=1) for e in LISTED],
])
def test_json(tmp_path, content):
    text = json.dumps(content, ensure_ascii=False)
    file = read_tags(write(tmp_path / 'x.json', '\ufeff' + text))
    assert file.format == 'json' and not file.declared
    assert file.tags == TAGS and file.classes == ('cat', 'dog')


def test_our_json_is_taken_literally(tmp_path):
    path = write(
        tmp_path / 'x.json',
        '{"classes": ["dog", "cat"], "labels": {"a.png": ["cat"]}}')
    file = read_tags(path)
    assert file.classes == ('dog', 'cat') and file.declared
    assert file.tags == {'a.png': ('cat', )}


@pytest.mark.parametrize('content, message', [
    ([dict(image='a.jpg', tags=['x']), dict(image='a.png', tags=[])],
     r"'a' stands twice .*'a.jpg' \(entry 1\) and as 'a.png' \(entry 2\)"),
    ([dict(image='a')], "entry 1 must have 'image'"),
    ([dict(image=1, tags=[])], "entry 1 must have 'image'"),
    ([dict(image='a', tags=3)], r"image a\) in .*tags are 3, not a list"),
    ([dict(image='a', tags=dict(x=0.5))], 'not a list of class names'),
    ([], 'is an empty list'),
    (['a'], 'holds a list, not a mapping'),
    ({'format': 'mmwsss-image-labels', 'labels': {'a': []},
      'unknown': {'b': ['x']}}, "'unknown' names the image 'b'"),
    ({'labels': {'a': ['x']}, 'unknown': {'a': ['x']}}, 'known and unknown'),
    ({'a.jpg': ['x'], 'a.png': []}, "'a' stands twice"),
    ({'/a': ['x']}, 'lies outside'),
    ({'a': ['']}, 'a class has no name'),
    ({'classes': 'cat', 'labels': {}}, "'classes' is 'cat'"),
])
def test_bad_json(tmp_path, content, message):
    path = write(tmp_path / 'x.json', json.dumps(content))
    with pytest.raises(ValueError, match=message):
        read_tags(path)


def coco(**changes):
    content = dict(
        info=dict(year=2030),
        licenses=[],
        images=[dict(id=7, file_name='val/b.jpg', height=1, width=1),
                dict(id=3, file_name='a.jpg'),
                dict(id=5, file_name='c.jpg')],
        annotations=[
            dict(id=1, image_id=7, category_id=20, iscrowd=1),
            dict(id=2, image_id=7, category_id=4),
            dict(id=3, image_id=7, category_id=4),
            dict(id=4, image_id=5, category_id=9),
        ],
        categories=[dict(id=20, name='zebra'), dict(id=4, name='hot dog'),
                    dict(id=9, name='cat')])
    content.update(changes)
    return json.dumps(content)


def test_coco(tmp_path):
    file = read_tags(write(tmp_path / 'x.json', coco()))
    assert file.format == 'coco' and file.declared
    assert file.classes == ('hot dog', 'cat', 'zebra')  # By id.
    assert file.tags == {
        'val/b': ('hot dog', 'zebra'), 'a': (), 'c': ('cat', )}


@pytest.mark.parametrize('changes, message', [
    (dict(annotations=[dict(image_id=1, category_id=4)]), 'lacks: .1'),
    (dict(annotations=[dict(image_id=3, category_id=5)]), 'lacks: .5'),
    (dict(annotations=[dict(image_id=3)]),
     r"annotations\[0\] must have 'image_id' and 'category_id'"),
    (dict(images=[dict(id=1, file_name='a'), dict(id=1, file_name='b')]),
     r'images\[1\]: the id 1 stands there twice'),
    (dict(images=[dict(id=1, file_name='a'), dict(id=2, file_name='a')]),
     r"images\[1\]: the image 'a' stands there twice"),
    (dict(categories=[]), "'categories' is missing or empty"),
    (dict(categories=[dict(id=4, name='x'), dict(id=9, name='x'),
                      dict(id=20, name='y')]), "two classes .* 'x'"),
])
def test_bad_coco(tmp_path, changes, message):
    path = write(tmp_path / 'x.json', coco(**changes))
    with pytest.raises(ValueError, match=message):
        read_tags(path)


# ------------------------------------------------------------------- folders
def test_xml_folder(tmp_path):
    write_xml(tmp_path / 'a.xml', ['dog', 'cat', 'dog'])
    write_xml(tmp_path / 'b.xml', [])
    (tmp_path / '._a.xml').write_bytes(b'\0\1')
    file = read_tags(tmp_path)
    assert file.format == 'xml'
    assert file.tags == dict(a=('dog', 'cat'), b=())
    assert file.classes == ('cat', 'dog') and not file.declared
    (tmp_path / 'c.xml').write_text('<annotation><object/></annotation>')
    with pytest.raises(ValueError, match='image c has no name'):
        read_tags(tmp_path)
    (tmp_path / 'c.xml').write_text('<annotation>')
    with pytest.raises(ValueError, match='image c is no readable XML'):
        read_tags(tmp_path)


def test_folder_per_class(tmp_path):
    for name in ('dog/1.jpg', 'cat/1.JPG', 'cat/deep/2.png',
                 'background/3.jpeg', 'dog/._1.jpg', '__MACOSX/cat/1.jpg'):
        save(tmp_path / name)
    write(tmp_path / 'dog/notes.txt', '')
    file = read_tags(tmp_path)
    assert file.format == 'folders' and file.declared
    assert file.classes == ('cat', 'dog')
    assert file.tags == {
        'background/3': (), 'cat/1': ('cat', ), 'cat/deep/2': ('cat', ),
        'dog/1': ('dog', )}
    save(tmp_path / 'loose.jpg')
    with pytest.raises(ValueError, match="1 image.*'loose.jpg', not in the"):
        read_tags(tmp_path)


@pytest.mark.parametrize('name', ['train', 'Test', 'masks', 'ground_truth',
                                  'JPEGImages'])
def test_folders_of_other_layouts(tmp_path, name):
    """Splits above the classes, masks beside them."""
    save(tmp_path / 'cat/1.jpg')
    save(tmp_path / name / 'cat/2.jpg')
    with pytest.raises(ValueError, match=f"the folder '{name}', which sounds "
                       'like a part.*folders of the classes lie'):
        read_tags(tmp_path)
    assert read_tags(tmp_path / name).classes == ('cat', )


def test_folders_that_are_neither(tmp_path):
    with pytest.raises(ValueError, match='neither XML'):
        read_tags(tmp_path)
    (tmp_path / 'dog').mkdir()
    with pytest.raises(ValueError, match='holds no image'):
        read_tags(tmp_path)
    save(tmp_path / 'background/1.jpg')
    with pytest.raises(ValueError, match='no folder of a class'):
        read_tags(tmp_path)
    write_xml(tmp_path / 'a.xml', ['dog'])
    with pytest.raises(ValueError, match='both XML files and folders'):
        read_tags(tmp_path)
    assert read_tags(tmp_path, 'xml').tags == dict(a=('dog', ))


def test_format_can_be_said(tmp_path):
    path = write(tmp_path / 'tags.txt', 'image,tags\na,cat\n')
    with pytest.raises(ValueError, match=r"ends in '\.txt'"):
        read_tags(path)
    assert read_tags(path, 'csv').tags == dict(a=('cat', ))
    with pytest.raises(ValueError, match='is a file, which .*folders'):
        read_tags(path, 'folders')
    with pytest.raises(ValueError, match="is 'yaml', must be one of mmwsss"):
        read_tags(path, 'yaml')
    with pytest.raises(FileNotFoundError, match='custom.py'):
        read_tags(tmp_path / 'nothing.csv')
    assert find_format(write(tmp_path / 'x.TSV', '')) == 'csv'


# -------------------------------------------------------------------- images
@pytest.mark.parametrize('name, img_id', [
    ('a.jpg', 'a'), ('a.JPEG', 'a'), ('a', 'a'), ('a.b.png', 'a.b'),
    ('2007_000032', '2007_000032'), ('v1.0', 'v1.0'), (' x y.tif ', 'x y'),
    ('./s/a.webp', 's/a'), ('s\\t\\a.bmp', 's/t/a'), ('猫.jpg', '猫'),
])
def test_image_id(name, img_id):
    assert image_id(name) == img_id


def test_absolute_names_in_the_image_folder(tmp_path):
    name = str(tmp_path.resolve() / 's/a.jpg')
    assert image_id(name, tmp_path) == 's/a'
    with pytest.raises(ValueError, match='outside'):
        image_id(name, tmp_path / 'other')


def test_find_images(tmp_path):
    decomposed = unicodedata.normalize('NFD', 'été')
    for name in ('b.JPG', 's/a 1.png', f'{decomposed}.jpg', 's/.hidden.jpg',
                 '.trash/x.jpg'):
        save(tmp_path / name)
    write(tmp_path / 'b.txt', '')
    (tmp_path / 's/loop').symlink_to(tmp_path)
    assert find_images(tmp_path) == {
        'b': 'b.JPG', 's/a 1': 's/a 1.png', 'été': f'{decomposed}.jpg'}
    save(tmp_path / 'b.png')
    with pytest.raises(ValueError, match="'b.JPG' and 'b.png' .*'b'. Rename"):
        find_images(tmp_path)
    assert 's/a 1' in find_images(tmp_path, ['s/a 1'])
    with pytest.raises(ValueError, match='Rename'):
        find_images(tmp_path, ['b'])
    with pytest.raises(FileNotFoundError, match='no image folder'):
        find_images(tmp_path / 'nothing')


@pytest.mark.parametrize('missing, message', [
    ('IMG_1', r"1 image.* of t\.csv .*'IMG_1' \(line 4\)\. There is "
     r"'IMG_1\.HEIC', whose ending"),
    ('inner', "There is 's/inner': names are paths below"),
    ('holiday_001', "There is 'holidays_001': did you mean"),
    ('HOLIDAYS_001', "There is 'holidays_001': did you mean"),
    ('zzz', r"It has 2 images, e\.g\. 'holidays_001'"),
])
def test_hints_for_missing_images(tmp_path, missing, message):
    write(tmp_path / 'IMG_1.HEIC', '')
    save(tmp_path / 'holidays_001.jpg')
    save(tmp_path / 's/inner.jpg')
    text = missing_images([missing], tmp_path, find_images(tmp_path), 't.csv',
                          dict(IMG_1=4))
    assert re.search(message, text), text


def test_many_missing_images(tmp_path):
    text = missing_images([str(i) for i in range(8)], tmp_path, [], 'x', {})
    assert "'4' and 3 more" in text and 'no image at all' in text
