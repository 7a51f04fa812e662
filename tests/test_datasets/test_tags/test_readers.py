"""One photo set as the tools of people write it."""
import json
import runpy
import sys

import pytest

from mmwsss.datasets import ImageLevelDataset, read_image_labels
from mmwsss.datasets.custom import read_custom, write_custom
from mmwsss.datasets.tags import (
    FORMATS,
    READERS,
    find_format,
    read_tags,
    write_image_labels,
)
from tests.toy import ROOT

from ..builders import write_xml
from .test_reading import save, write

#: The right answer for every file here.
TAGS = dict(p0=('cat', ), p1=('dog', ), p2=('cat', 'dog'), p3=())
CHOICE = dict(p0='cat', p1='dog', p2='cat dog', p3='')


def lists(file):
    """Tags as sorted tuples."""
    return {i: tuple(sorted(t)) for i, t in file.tags.items()}


def check(path, format, root=None, columns=None):
    assert find_format(path) == format
    file = read_tags(path, root=root, columns=columns)
    assert lists(file) == TAGS and file.format == format
    assert set(file.classes) == {'cat', 'dog'}
    return file


def dump(path, content):
    return write(path, json.dumps(content))


# -------------------------------------------------------------------- tables
def test_chest_x_ray_lists(tmp_path):
    path = write(
        tmp_path / 'nih.csv', 'Image Index,Finding Labels,Follow-up #,Age\n'
        'p0.png,cat,0,58\np1.png,dog,1,60\np2.png,cat|dog,2,61\n'
        'p3.png,No Finding,0,3\n')
    file = check(path, 'csv')
    assert file.notes == [
        '2 column(s) are not read: Follow-up #, Age.',
        "'No Finding' (1 image(s)) is no class here: such images show none "
        'of the others. To make it one, name it among the classes.']
    assert 'No Finding' in read_tags(path, keep=['No Finding']).classes


def test_uncertain_columns(tmp_path):
    path = write(
        tmp_path / 'chex.csv', 'Path,Sex,Age,No Finding,cat,dog\n'
        'p0.jpg,Male,1,,1.0,-1.0\np1.jpg,Male,0,,,1.0\n'
        'p2.jpg,Female,42,-1.0,1.0,1.0\np3.jpg,Male,43,1.0,,-1.0\n')
    file = check(path, 'csv')
    assert file.unknown == dict(p0=('dog', ), p3=('dog', ))
    assert '2 column(s) are not read: Sex, Age.' in file.notes
    labels = read_image_labels(path, ('dog', 'cat'))
    assert labels == dict(p0=(1, ), p1=(0, ), p2=(0, 1), p3=())
    assert labels.unknown == dict(p0=(0, ), p3=(0, ))


def test_a_row_per_tag(tmp_path):
    path = write(tmp_path / 'long.csv', 'image,tag\np0.jpg,cat\np1.jpg,dog\n'
                 'p2.jpg,cat\np3.jpg,\np2.jpg,dog\n')
    assert check(path, 'csv').notes == [
        '1 image(s) have several entries, whose tags are united: p2.']


def test_a_row_per_image_and_class(tmp_path):
    """As Open Images has it: 0 says that the class is not shown."""
    path = write(
        tmp_path / 'x.csv', 'ImageID,Source,LabelName,Confidence\n'
        'p0,verification,cat,1\np0,verification,dog,0\np1,machine,dog,1\n'
        'p2,verification,cat,1\np2,machine,dog,1\np3,machine,cat,0\n'
        'p3,machine,dog,-1\n')
    file = check(path, 'csv')
    assert file.unknown == dict(p3=('dog', ))
    assert '1 column(s) are not read: Source.' in file.notes


def test_blanks_between_tags_are_noted(tmp_path):
    path = write(tmp_path / 'x.csv', 'image,tags\na,haze primary\n'
                 'b,clear primary water\nc,clear primary\n')
    assert any("3 of 3 tags hold blanks, such as 'clear primary'" in n
               for n in read_tags(path).notes)
    path = write(tmp_path / 'x.csv', 'image,tags\na,hot dog\nb,cat\n')
    assert not read_tags(path).notes


@pytest.mark.parametrize('name', [
    'cat/dog', 'cat + dog', 'cat & dog', 'cat and dog', 'cat dog', 'cat_dog'
])
def test_tags_of_tags_are_noted(tmp_path, name):
    path = write(tmp_path / 't.csv', f'image,tags\na,cat\nb,dog\nc,{name}\n')
    file = read_tags(path)
    assert name in file.classes
    note, = file.notes
    assert f"{name!r} (line 4)" in note and "beside 'cat', 'dog'" in note
    write(path, 'image,tags\na,cat\nb,hot dog\nc,dog\n')
    assert not read_tags(path).notes


def test_numbers_as_tags_are_noted(tmp_path):
    path = write(tmp_path / 't.csv', 'image,label\na,0\nb,1\nc,2\nd,10\n')
    file = read_tags(path)
    assert file.classes == ('0', '1', '10', '2')
    note, = file.notes
    assert "0, 1, 10, 2" in note and "the first, '0', is 1" in note
    data = write(tmp_path / 't.csv', 'image,label\na,0\nb,one\n')
    assert not read_tags(data).notes


def test_good_is_a_class_where_it_stands_beside_others(tmp_path):
    path = write(tmp_path / 't.csv', 'image,tags\na,good;cat\nb,good\nc,dog\n')
    assert read_tags(path).classes == ('cat', 'dog', 'good')
    path = write(tmp_path / 't.csv', 'image,tags\na,cat\nb,Good\nc,dog\n')
    assert read_tags(path).classes == ('cat', 'dog')
    # Nothing else: these are what there is.
    path = write(tmp_path / 't.csv', 'image,tags\na,good\nb,good\n')
    assert read_tags(path).classes == ('good', )


@pytest.mark.parametrize('columns', [
    dict(image='Where it is', labels='What'),
    dict(image='where it is', labels=['what']),
])
def test_named_columns(tmp_path, columns):
    path = write(
        tmp_path / 'x.csv', 'id,What,Where it is,tags\n'
        '1,cat,p0.jpg,a\n2,dog,p1.jpg,b\n3,cat/dog,p2.jpg,c\n4,,p3.jpg,\n'
        .replace('cat/dog', "\"['cat', 'dog']\""))
    check(path, 'csv', columns=columns)
    with pytest.raises(ValueError, match="no column 'Wo', only: id, What"):
        read_tags(path, columns=dict(columns, image='Wo'))
    with pytest.raises(ValueError, match="has the key 'tags'; known are"):
        read_tags(path, columns=dict(tags='What'))


def test_columns_of_a_command_line():
    parse = runpy.run_path(
        str(ROOT / 'tools/dataset_converters/custom.py'))['parse_columns']
    assert parse(['image=Where it is', 'labels=a,b', 'labels=c=d']) == dict(
        image='Where it is', labels=['a,b', 'c=d'])
    assert parse([]) == {}
    for wrong in ('image', 'tags=x', 'labels='):
        with pytest.raises(ValueError, match=f'--columns {wrong}: must be'):
            parse([wrong])


def test_columns_of_text(tmp_path):
    rows = [f'p{i},{hospital},{flags}' for i, (hospital, flags) in enumerate(
        zip(('A', 'B', '', 'A'), ('1,0', '0,1', '1,1', '0,0')))]
    path = tmp_path / 'x.csv'
    write(path, '\n'.join(['image,hospital,cat,dog', *rows]))
    assert check(path, 'csv').notes == ['1 column(s) are not read: hospital.']
    # Where a class could be meant, nothing is left out.
    write(path, 'image,cat,dog\np0,1,maybe\np1,0,\n')
    with pytest.raises(ValueError, match="Line 2 .*'maybe' in the column"):
        read_tags(path)


def test_named_class_columns(tmp_path):
    path = write(tmp_path / 'x.csv', 'image,size,cat,dog\np0,1,1,0\n'
                 'p1,0,,1\np2,7,1,1\np3,8,0,0\n')
    with pytest.raises(ValueError, match="Line 4 .*'7' in the column 'size'"):
        read_tags(path)
    check(path, 'csv', columns=dict(labels='cat,dog'))
    check(path, 'csv', columns=dict(labels=['cat', 'dog']))


def test_excel(tmp_path, monkeypatch):
    path = write(tmp_path / 'x.xlsx', '')
    monkeypatch.setitem(sys.modules, 'openpyxl', None)
    with pytest.raises(ValueError, match='pip install openpyxl'):
        read_tags(path)
    monkeypatch.undo()
    openpyxl = pytest.importorskip('openpyxl')
    with pytest.raises(ValueError, match='cannot be read as a spreadsheet'):
        read_tags(path)
    book = openpyxl.Workbook()
    for row in (['image', 'cat', 'dog', None], ['p0.jpg', 1, 0],
                ['p1.jpg', None, True], ['p2.jpg', 1., 1], [],
                ['p3.jpg', False, -1]):
        book.active.append(row)
    book.create_sheet('more')
    book.save(path)
    file = check(path, 'excel')
    assert file.unknown == dict(p3=('dog', )) and file.lines['p3'] == 6
    assert 'not: more' in file.notes[-1]


# ---------------------------------------------------------------------- JSON
def test_json_lines(tmp_path):
    lines = ['{"image": "p0.jpg", "tags": ["cat"]}',
             '{"image": "p1.jpg", "tags": "dog", "unknown": ["cat"]}', '',
             '{"file": "p2.jpg", "label": {"cat": 1, "dog": true}}',
             '{"image": "p3.jpg", "tags": {"dog": -1, "cat": 0}}']
    path = write(tmp_path / 'x.jsonl', '\n'.join(lines))
    file = check(path, 'jsonl')
    assert file.unknown == dict(p1=('cat', ), p3=('dog', ))
    assert file.lines['p2'] == 4
    with pytest.raises(ValueError, match='Line 2 of .* is no JSON'):
        read_tags(write(path, lines[0] + '\n{"image": \n'))
    with pytest.raises(ValueError, match="line 1 must have 'image'"):
        read_tags(write(path, '{"url": "a.jpg", "tags": []}'))
    assert read_tags(path, columns=dict(image='url')).tags == dict(a=())


def test_nothing_is_not_no_tag(tmp_path):
    """Of an image whose tags are null, nobody said that it shows none."""
    path = write(tmp_path / 'x.jsonl', '{"image": "p0.jpg", "tags": null}')
    with pytest.raises(ValueError, match='tags are None, not a list'):
        read_tags(path)


def test_ours_carries_what_is_unknown(tmp_path):
    path = tmp_path / 'x.json'
    write_image_labels(path, ('cat', 'dog'), dict(a=(0, ), b=()),
                       dict(b=(1, ), a=()))
    file = read_tags(path)
    assert file.format == 'mmwsss'
    assert file.unknown == dict(b=('dog', ))
    labels = read_image_labels(path, ('cat', 'dog'))
    assert labels.unknown == dict(b=(1, ))
    # What was read can be written.
    write_image_labels(tmp_path / 'y.json', ('cat', 'dog'), labels)
    assert (tmp_path / 'y.json').read_text() == path.read_text()


@pytest.mark.parametrize('annotation', [
    dict(category_id=3),  # an image-level label, no box
    dict(category_id=3, bbox=[0, 0, 1, 1], segmentation=[], iscrowd=0),
])
def test_coco_without_outlines(tmp_path, annotation):
    content = dict(
        images=[dict(id=i, file_name=f'{p}.jpg') for i, p in enumerate(TAGS)],
        categories=[dict(id=3, name='cat'), dict(id=5, name='dog')],
        annotations=[
            dict(annotation, id=0, image_id=0),
            dict(annotation, id=1, image_id=1, category_id=5),
            dict(annotation, id=2, image_id=2),
            dict(annotation, id=3, image_id=2, category_id=5)])
    check(dump(tmp_path / 'x.json', content), 'coco')
    content['annotations'] = [dict(id=1, image_id=0, caption='a cat')]
    with pytest.raises(ValueError, match='Captions are sentences.*\n.*COCO'):
        read_tags(dump(tmp_path / 'x.json', content))


def test_coco_of_tools_that_write_paths(tmp_path):
    save(tmp_path / 'img/deep/p0.jpg')
    content = dict(
        images=[dict(id=1, file_name='../../media/images/deep/p0.jpg')],
        categories=[dict(id=3, name='cat')],
        annotations=[dict(image_id=1, category_id=3)])
    path = dump(tmp_path / 'x.json', content)
    assert read_tags(path, root=tmp_path / 'img').tags == {
        'deep/p0': ('cat', )}
    with pytest.raises(ValueError, match='outside the image folder'):
        read_tags(path)


# -------------------------------------------------------------- Label Studio
def task(number, name, results, **annotation):
    return dict(
        id=number,
        data=dict(image=name, title='some text'),
        annotations=[dict(id=number, result=results, **annotation)],
        predictions=[dict(result=[choices('cow')])])


def choices(*names):
    return dict(type='choices', value=dict(choices=list(names)))


def test_label_studio(tmp_path):
    up = '/data/upload/1/a1b2c3d4-'
    tasks = [
        task(0, up + 'p0.jpg', [choices('cat')]),
        task(1, 's3://b/x/p1.jpg',
             [dict(value=dict(x=1, rectanglelabels=['dog']))]),
        task(2, '/data/local-files/?d=deep%2Fp2.jpg',
             [dict(value=dict(format='rle', brushlabels=['cat'])),
              dict(value=dict(taxonomy=[['animal', 'dog']]))]),
        task(3, 'http://host/p3.jpg?token=1', []),
        task(4, up + 'p4.jpg', [choices('dog')], was_cancelled=True),
        dict(id=5, data=dict(image=up + 'p5.jpg'), annotations=[]),
    ]
    path = dump(tmp_path / 'full.json', tasks)
    for name in ('p0.jpg', 'x/p1.jpg', 'deep/p2.jpg', 'p3.jpg'):
        save(tmp_path / 'img' / name)
    file = read_tags(path, root=tmp_path / 'img')
    assert find_format(path) == 'label_studio'
    # Whom nobody looked at shows not nothing.
    assert lists(file) == {'p0': ('cat', ), 'x/p1': ('dog', ),
                           'deep/p2': ('cat', 'dog'), 'p3': ()}
    assert file.notes == ['2 task(s) have no annotation and are left out.']
    # The folder may also hold the files as they were uploaded.
    save(tmp_path / 'img/a1b2c3d4-p0.jpg')
    assert 'a1b2c3d4-p0' in read_tags(path, root=tmp_path / 'img').tags
    assert 'a1b2c3d4-p0' in read_tags(path).tags


def test_label_studio_with_several_questions(tmp_path):
    """Weather and animals are tags alike, unless one is chosen."""
    def asked(name, *names):
        return dict(choices(*names), from_name=name)

    text = dict(type='textarea', from_name='note', value=dict(text=['cat']))
    path = dump(tmp_path / 'x.json', [
        task(0, 'a.jpg', [asked('weather', 'sun'), asked('animal', 'cat')]),
        task(1, 'b.jpg', [text]), task(2, 'c.jpg', [])])
    file = read_tags(path)
    assert lists(file) == dict(a=('cat', 'sun'), b=(), c=())
    mute, several = file.notes
    assert '1 task(s) were answered, but not with classes' in mute
    assert '2 questions' in several and 'weather, animal' in several
    file = read_tags(path, columns=dict(labels='animal'))
    assert lists(file) == dict(a=('cat', ), b=(), c=()) and not file.notes


def test_label_studio_without_prefix_two_files_can_be_one(tmp_path):
    save(tmp_path / 'p0.jpg')
    path = dump(tmp_path / 'x.json', [
        task(0, '/data/upload/1/a1b2c3d4-p0.jpg', []),
        task(1, '/data/upload/1/a1b2c3d5-p0.jpg', [choices('cat')])])
    with pytest.raises(ValueError, match="'p0' stands twice.*Are these two"):
        read_tags(path, root=tmp_path)


@pytest.mark.parametrize('both', [
    dict(choices=['cat', 'dog']),
    [dict(x=1, y=2, rectanglelabels=['cat']),
     dict(x=1, y=2, rectanglelabels=['dog'])],
])
def test_label_studio_flat(tmp_path, both):
    values = dict(p0='cat', p1='dog', p2=both, p3=None)
    rows = [
        dict(id=i, image=f'/data/upload/1/{name}.jpg', note='n', annotator=1,
             annotation_id=i, **(dict(choice=value) if value else {}))
        for i, (name, value) in enumerate(values.items())]
    check(dump(tmp_path / 'min.json', rows), 'label_studio')
    cell = json.dumps(both).replace('"', '""')
    path = write(
        tmp_path / 'ls.csv', 'annotation_id,annotator,choice,id,image\n'
        '0,1,cat,0,/data/upload/1/p0.jpg\n1,1,dog,1,/data/upload/1/p1.jpg\n'
        f'2,1,"{cell}",2,/data/upload/1/p2.jpg\n'
        '3,1,,3,/data/upload/1/p3.jpg\n')
    assert check(path, 'label_studio').lines['p2'] == 4


def test_label_studio_that_is_not_clear(tmp_path):
    path = dump(tmp_path / 'x.json', [
        dict(annotation_id=1, image='a.jpg', first='x', second='y')])
    with pytest.raises(ValueError, match='any of first, second .*--columns'):
        read_tags(path)
    assert read_tags(path, columns=dict(labels='first')).tags == dict(
        a=('x', ))
    dump(path, [dict(id=1, data=dict(text='a'), annotations=[dict(id=1)])])
    with pytest.raises(ValueError, match='names no image, only: text'):
        read_tags(path)
    dump(path, [dict(id=1, data=dict(image='a.jpg'), annotations=[])])
    with pytest.raises(ValueError, match='no task has an annotation.\n.*'
                       'x.json was read as an export of Label Studio'):
        read_tags(path)


# ------------------------------------------------------------ CVAT, Datumaro
def cvat(label='dog', meta=''):
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>'
        f'<version>1.1</version>{meta}'
        '<image id="0" name="p0.jpg" width="9" height="7"><tag label="cat" '
        'source="manual"></tag></image>'
        '<image id="1" name="p1.jpg" width="9" height="7"><box label="dog" '
        'xtl="1" ytl="1" xbr="2" ybr="2"><attribute name="a">b</attribute>'
        '</box></image><image id="2" name="p2.jpg" width="9" height="7">'
        f'<polygon label="cat" points="1,1;2,2;3,1"/><mask label="{label}" '
        'rle="1" left="0" top="0" width="1" height="1"/></image>'
        '<image id="3" name="p3.jpg" width="9" height="7"></image>'
        '</annotations>')


def test_cvat(tmp_path):
    path = write(tmp_path / 'annotations.xml', cvat())
    assert not check(path, 'cvat').declared
    meta = ('<meta><job><labels><label><name>dog</name></label><label><name>'
            'cat</name></label></labels></job></meta>')
    file = check(write(path, cvat(meta=meta)), 'cvat')
    assert file.classes == ('dog', 'cat') and file.declared


@pytest.mark.parametrize('text, message', [
    (cvat(label=''), '<mask> of image p2.jpg has no label'),
    ('<annotations><track id="0" label="cat"/></annotations>',
     'tracks of a video. Export it as'),
    ('<annotation><object/></annotation>', 'name the folder of these files'),
    ('<svg/>', 'begins with <svg>'),
    ('<annotations>', 'no readable XML'),
    ('<annotations/>', 'names no image'),
    (cvat(label='cow', meta='<meta><task><labels><label><name>cat</name>'
          '</label><label><name>dog</name></label></labels></task></meta>'),
     "'cow' is not among those of the task"),
])
def test_bad_cvat(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as error:
        read_tags(write(tmp_path / 'x.xml', text))
    assert 'CVAT for images' in str(error.value)


def test_cvat_is_not_taken_for_voc(tmp_path):
    write(tmp_path / 'annotations.xml', cvat())
    with pytest.raises(ValueError, match='looks like an export of CVAT'):
        read_tags(tmp_path)


def test_datumaro(tmp_path):
    def item(name, *labels):
        return dict(
            id=name, attr=dict(frame=0), image=dict(path=f'{name}.jpg'),
            annotations=[dict(type=kind, label_id=label)
                         for kind, label in labels])

    content = dict(
        info={},
        categories=dict(label=dict(labels=[
            dict(name='cat', parent=''), dict(name='dog', parent='')])),
        items=[item('p0', ('label', 0)), item('p1', ('bbox', 1)),
               item('p2', ('mask', 1), ('polygon', 0)),
               item('p3', ('polygon', None), ('caption', 7))])
    assert check(dump(tmp_path / 'default.json', content),
                 'datumaro').declared
    content['items'][1]['annotations'][0]['label_id'] = 2
    with pytest.raises(ValueError, match=r'items\[1\] has the label_id 2'):
        read_tags(dump(tmp_path / 'default.json', content))


# -------------------------------------------------------------- LabelMe, VIA
def labelme(path, image, flags=None, *shapes):
    return dump(path, dict(
        version='5.0', flags=flags or {},
        shapes=[dict(label=s, points=[[0, 0], [1, 1], [0, 1]], flags={},
                     shape_type='polygon') for s in shapes],
        imagePath=image, imageData=None, imageHeight=7, imageWidth=9))


def test_labelme(tmp_path):
    labelme(tmp_path / 'p0.json', 'p0.jpg', dict(cat=True, dog=False))
    labelme(tmp_path / 'p1.json', 'p1.jpg', None, 'dog', 'dog')
    labelme(tmp_path / 'p2.json', 'p2.jpg', dict(cat=True), 'dog')
    path = labelme(tmp_path / 'p3.json', 'p3.jpg', None, '__ignore__')
    check(tmp_path, 'labelme')
    assert find_format(path) == 'labelme'
    assert read_tags(tmp_path / 'p1.json').tags == dict(p1=('dog', ))
    # Flags that nobody set are classes.
    labelme(tmp_path / 'p3.json', 'p3.jpg', dict(cow=False))
    assert read_tags(tmp_path).classes == ('cat', 'cow', 'dog')
    write(tmp_path / 'p3.json', '{"a": 1}')
    with pytest.raises(ValueError, match="p3.json has no 'imagePath'.*\n.*"
                       'read as annotations of LabelMe'):
        read_tags(tmp_path)


def test_labelme_beside_other_folders(tmp_path):
    save(tmp_path / 'photos/a/p0.jpg')
    labelme(tmp_path / 'json/p0.json', '..\\photos\\a\\p0.jpg', None, 'cat')
    file = read_tags(tmp_path / 'json', root=tmp_path / 'photos')
    assert file.tags == {'a/p0': ('cat', )}


def test_labelme_in_folders(tmp_path):
    labelme(tmp_path / 'p0.json', 'p0.jpg', None, 'cat')
    labelme(tmp_path / 'deep/p1.json', 'p1.jpg', None, 'dog')
    assert find_format(tmp_path) == 'labelme'
    assert read_tags(tmp_path).tags == {'deep/p1': ('dog', ), 'p0': ('cat', )}
    # The folder may be that of a class, too: nobody can tell.
    (tmp_path / 'p0.json').unlink()
    with pytest.raises(ValueError, match='holds both JSON files and folders'):
        read_tags(tmp_path)
    assert len(read_tags(tmp_path, 'labelme').tags) == 1
    # Another JSON file beside folders of classes does not matter.
    write(tmp_path / 'deep/p1.json', '{}')
    save(tmp_path / 'deep/p1.jpg')
    write(tmp_path / 'info.json', '{"license": "none"}')
    assert read_tags(tmp_path).format == 'folders'


REGIONS = dict(p0=['cat'], p1=['dog', 'dog'], p2=['dog', 'cat'], p3=[])


def via(project=False, attribute='kind', change=lambda n: n):
    entries = {
        f'{p}.jpg99': dict(
            filename=f'{p}.jpg', size=99, file_attributes={},
            regions=[dict(shape_attributes=dict(name='rect', x=1),
                          region_attributes={attribute: change(n)})
                     for n in names]) for p, names in REGIONS.items()}
    return dict(_via_settings=dict(core={}), _via_img_metadata=entries,
                _via_attributes={}) if project else entries


@pytest.mark.parametrize('content', [
    via(), via(True), via(change=lambda n: {n: True, 'cow': False}),
])
def test_via(tmp_path, content):
    check(dump(tmp_path / 'via.json', content), 'via')


def test_via_csv_and_tags_of_files(tmp_path):
    rows = ['filename,file_size,file_attributes,region_count,region_id,'
            'region_shape_attributes,region_attributes']
    for p, names in REGIONS.items():
        for i, name in enumerate(names or ['']):
            region = json.dumps(dict(kind=name) if name else {})
            rows.append('{}.jpg,9,"{{}}",{},{},"{{}}","{}"'.format(
                p, len(names), i, region.replace('"', '""')))
    check(write(tmp_path / 'via.csv', '\n'.join(rows)), 'via')
    content = via()
    for entry in content.values():
        names = [r['region_attributes']['kind'] for r in entry['regions']]
        entry.update(regions=[], file_attributes=dict(
            shows={n: True for n in names}))
    check(dump(tmp_path / 'via.json', content), 'via')


def test_via_that_is_not_clear(tmp_path):
    content = via()
    content['p0.jpg99']['file_attributes'] = dict(weather='fine')
    path = dump(tmp_path / 'via.json', content)
    with pytest.raises(ValueError, match='any of the attributes weather, ki'):
        read_tags(path)
    check(path, 'via', columns=dict(labels='kind'))
    content['p1.jpg99']['regions'][0]['region_attributes'] = {}
    file = check(dump(path, content), 'via', columns=dict(labels='kind'))
    assert file.notes == ['1 region(s) have no kind.']
    dump(path, dict(project={}, config={}, attribute={}, file={},
                    metadata={}, view={}))
    with pytest.raises(ValueError, match='project of VIA 3.*not read'):
        read_tags(path)


# ------------------------------------------------------------- all of them
def test_every_reader_says_what_it_expects():
    assert (*READERS, 'npy') == FORMATS
    for name, reader in READERS.items():
        assert name == reader.name and reader.title and reader.expects


@pytest.mark.parametrize('name, text, message', [
    ('x.zip', '', 'is an archive. Unpack it'),
    ('x.docx', '', r"ends in '\.docx'; known are .json"),
    ('x.json', '{"a": {"b": [1]}}', 'x.json was read as a list of tags in '
     r'JSON: \{"IMG_1.jpg"'),
    ('x.json', '{"a": ', 'x.json was read as'),
    ('x.csv', '<html></html>', 'x.csv was read as a table'),
    ('x.xml', '<html>', 'x.xml was read as the XML of "CVAT'),
])
def test_errors_name_file_format_and_what_was_expected(
        tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        read_tags(write(tmp_path / name, text))


def test_folder_with_a_table(tmp_path):
    write(tmp_path / 'tags.csv', 'image,tags\na,cat\n')
    with pytest.raises(ValueError, match='Did you mean .*tags.csv'):
        read_tags(tmp_path)
    (tmp_path / 'cat').mkdir()
    write_xml(tmp_path / 'a.xml', ['cat'])
    with pytest.raises(ValueError, match='holds both XML files and folders'):
        read_tags(tmp_path)


def test_from_a_tool_to_a_data_set(tmp_path):
    """Unknown tags and names of a tool, through custom.py's work."""
    for i, p in enumerate(TAGS):
        save(tmp_path / f'img/{p}.jpg', 40 * i)
    path = write(
        tmp_path / 'chex.csv', 'Path,Sex,cat,dog\np0.jpg,M,1,-1\n'
        'p1.jpg,M,0,1\np2.jpg,F,1,1\np3.jpg,F,,-1\n')
    data = read_custom(path, tmp_path / 'img', val=0)
    assert any('2 image(s) have classes that nobody' in n
               for n in data.notes), data.notes
    # Nobody is known to show no dog.
    assert any('Every training image shows dog' in n for n in data.notes)
    write_custom(data, tmp_path / 'out')
    for labels_file in ('out/image_labels.json', 'chex.csv'):
        dataset = ImageLevelDataset(
            data_root=str(tmp_path), labels_file=labels_file,
            data_prefix=dict(img_path='img'))
        infos = [dataset.get_data_info(i) for i in range(4)]
        assert [i['gt_label'].tolist() for i in infos] == [[0], [1], [0, 1],
                                                           []]
        assert infos[0]['unknown_label'].tolist() == [1]
        assert 'unknown_label' not in infos[1]


def test_data_set_reads_names_of_label_studio(tmp_path):
    save(tmp_path / 'img/p0.jpg')
    dump(tmp_path / 'x.json',
         [task(0, '/data/upload/1/a1b2c3d4-p0.jpg', [choices('cat')])])
    dataset = ImageLevelDataset(
        data_root=str(tmp_path), labels_file='x.json', img_suffix='any',
        data_prefix=dict(img_path='img'))
    assert dataset.get_data_info(0)['img_path'].endswith('img/p0.jpg')


def test_more_words_of_cells_and_a_column_of_unknown_tags(tmp_path):
    path = write(tmp_path / 't.csv',
                 'image,cat,dog\na,Y,u\nb,n,?\nc,y,uncertain\n')
    file = read_tags(path)
    assert file.tags == dict(a=('cat', ), b=(), c=('cat', ))
    assert file.unknown == dict.fromkeys('abc', ('dog', ))
    path = write(tmp_path / 't.csv',
                 'image,tags,unknown\na,cat,dog;owl\nb,dog,\n')
    file = read_tags(path)
    assert file.tags == dict(a=('cat', ), b=('dog', ))
    assert file.unknown == dict(a=('dog', 'owl')) and not file.notes
    assert file.classes == ('cat', 'dog', 'owl')


def test_names_that_label_studio_cleaned(tmp_path):
    """Uploads lose their blanks and brackets, the files at home do not."""
    names = ['Trip 2024 (1).JPG', 'Fotó né 2.jpg', 'a b.jpg', 'a_b.jpg']
    for name in names:
        save(tmp_path / 'photos' / name)
    uploads = ['Trip_2024_1.JPG', 'Fot%C3%B3_n%C3%A9_2.jpg', 'a_b.jpg',
               'x__y.jpg']
    path = dump(tmp_path / 'ls.json', [
        dict(data=dict(image=f'/data/upload/3/0a1b2c3{i}-{name}'),
             annotations=[dict(result=[dict(value=dict(choices=['cat']))])])
        for i, name in enumerate(uploads)
    ])
    file = read_tags(path, root=tmp_path / 'photos')
    # a_b is there by that name; x__y is nobody's.
    assert list(file.tags) == ['Trip 2024 (1)', 'Fotó né 2', 'a_b',
                               '0a1b2c33-x__y']
