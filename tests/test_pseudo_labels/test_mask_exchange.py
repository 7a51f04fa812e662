"""Masks in the formats of annotation tools.

The formats' rules are written out here once more, plainly; where a tool's own
library is installed, it reads what was written.
"""
import base64
import io
import json
import xml.etree.ElementTree as ElementTree

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from mmwsss.pseudo_labels.mask_exchange import (
    label_values,
    paint,
    read_coco,
    read_cvat,
    read_label_studio,
    read_labelme,
    write_coco,
    write_cvat,
    write_label_studio,
    write_labelme,
)
from mmwsss.pseudo_labels.mask_exchange.label_studio import (
    decode_rle,
    encode_rle,
)
from mmwsss.pseudo_labels.mask_exchange.regions import (
    box_points,
    ellipse_points,
    fill,
    outlines,
)

CLASSES = ('cat', 'hot "dog"', 'été')


def ragged(seed, size=(41, 57)):
    """A mask with specks, holes, ignored pixels and all classes."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.random((*size, 5)), (0, 0), 2.5)
    mask = noise.argmax(2).astype(np.uint8)
    mask[mask == 4] = 255
    mask[rng.random(size) < .02] = 3
    return mask


MASKS = {
    'a.jpg': ragged(0),
    'sub dir/ü.png': ragged(1, (30, 20)),
    'none.jpg': np.zeros((8, 9), np.uint8),
    'full.jpg': np.full((5, 4), 2, np.uint8),
}


def painted(images):
    return {i.name: paint(i.regions, i.size, label_values(CLASSES), i.name)
            for i in images}


def check(images):
    found = painted(images)
    assert set(found) == set(MASKS)
    for name, mask in MASKS.items():
        np.testing.assert_array_equal(found[name], mask, err_msg=name)


# ------------------------------------------------------------------ outlines
@pytest.mark.parametrize('seed', range(40))
def test_outlines_give_the_region_back(seed):
    rng = np.random.default_rng(seed)
    size = rng.integers(1, 25, 2)
    mask = rng.random(size) < rng.choice([.2, .5, .9])
    if seed % 2:
        mask = np.kron(mask, np.ones((3, 2), bool))
    found = np.zeros_like(mask)
    for line in outlines(mask):
        part = fill(line, mask.shape)
        assert not (part & found).any()
        found |= part
    assert (found == mask).all()


def test_outline_of_a_ring_by_hand():
    mask = np.ones((3, 4), bool)
    mask[1, 1:3] = False
    line, = outlines(mask)
    points = [tuple(p) for p in line.astype(int).tolist()]
    assert {(0, 0), (4, 0), (4, 3), (0, 3), (1, 1), (3, 1), (3, 2),
            (1, 2)} == set(points)
    assert len(points) == 10  # The cut goes there and back.


def test_simple_outlines_have_few_points_and_are_near():
    mask = np.zeros((80, 90), np.uint8)
    cv2.circle(mask, (40, 40), 30, 1, -1)
    cv2.circle(mask, (40, 40), 12, 0, -1)
    exact, = outlines(mask > 0)
    simple, = outlines(mask > 0, 1.)
    assert len(simple) < len(exact) / 3
    both = fill(simple, mask.shape)
    assert (both & (mask > 0)).sum() / (both | (mask > 0)).sum() > .95


def test_fill_and_its_errors():
    assert fill([(1, 1), (3, 1), (3, 2), (1, 2)], (4, 5)).nonzero()[
        1].tolist() == [1, 2]
    # Points outside of the image do no harm.
    assert fill([(-5, -5), (9, -5), (9, 9), (-5, 9)], (4, 5)).all()
    for points in ([(0, 0), (1, 1)], [(0, 0), (1, 1), (float('nan'), 2)],
                   [('a', 'b')] * 3):
        with pytest.raises(ValueError, match='outline'):
            fill(points, (4, 5))


def test_turned_boxes_and_ellipses():
    # A quarter turn about the upper left corner, clockwise.
    found = box_points(10, 10, 4, 2, 90, (10, 10))
    np.testing.assert_allclose(found, [[10, 10], [10, 14], [8, 14], [8, 10]],
                               atol=1e-9)
    assert fill(ellipse_points(20, 10, 12, 4, 90), (40, 40)).sum(0).max() > 20
    area = fill(ellipse_points(20, 20, 12, 4), (40, 40)).sum()
    assert abs(area - np.pi * 48) < 5


# ---------------------------------------------------------------- round trips
@pytest.mark.parametrize('polygons', [False, True])
def test_coco(tmp_path, polygons):
    path = tmp_path / 'x.json'
    write_coco(path, MASKS.items(), CLASSES, polygons, 0)
    check(read_coco(path))
    # Read by pycocotools.
    coco = COCO(str(path))
    names = {c['id']: c['name'] for c in coco.loadCats(coco.getCatIds())}
    assert names == {1: CLASSES[0], 2: CLASSES[1], 3: CLASSES[2],
                     4: '__ignore__'}
    for number, (name, mask) in zip(coco.getImgIds(), MASKS.items()):
        assert coco.loadImgs(number)[0]['file_name'] == name
        found = np.zeros_like(mask)
        for annotation in coco.loadAnns(coco.getAnnIds(number)):
            region = coco.annToMask(annotation) > 0
            assert region.sum() == annotation['area']
            x, y, w, h = map(int, annotation['bbox'])
            assert region[y:y + h, x:x + w].sum() == region.sum()
            found[region] = {4: 255}.get(annotation['category_id'],
                                         annotation['category_id'])
        np.testing.assert_array_equal(found, mask)


def test_coco_has_no_category_that_it_does_not_need(tmp_path):
    write_coco(tmp_path / 'x.json', [('a.jpg', MASKS['full.jpg'])], CLASSES)
    content = json.loads((tmp_path / 'x.json').read_text(encoding='utf-8'))
    assert [c['name'] for c in content['categories']] == list(CLASSES)


def test_coco_of_others(tmp_path):
    """Smaller objects are on top; run lengths may be plain numbers."""
    square = [0, 0, 4, 0, 4, 4, 0, 4]
    content = dict(
        images=[dict(id=7, file_name='a.jpg', height=4, width=4)],
        categories=[dict(id=9, name='cat'), dict(id=2, name='été')],
        annotations=[
            dict(image_id=7, category_id=2,
                 segmentation=dict(size=[4, 4], counts=[5, 2, 9])),
            dict(image_id=7, category_id=9, segmentation=[square]),
            dict(image_id=7, category_id=9, bbox=[0, 0, 1, 1])])
    path = tmp_path / 'x.json'
    path.write_text(json.dumps(content))
    image, = read_coco(path)
    mask = painted([image])['a.jpg']
    assert mask.ravel().tolist() == [1] * 5 + [3] + [1] * 3 + [3] + [1] * 6
    assert image.notes == ['annotation without segmentation']
    content['annotations'][0]['segmentation']['size'] = [5, 4]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="'a.jpg' .*run lengths are of"):
        list(read_coco(path))


@pytest.mark.parametrize('polygons', [False, True])
def test_cvat(tmp_path, polygons):
    path = tmp_path / 'annotations.xml'
    write_cvat(path, MASKS.items(), CLASSES, polygons, 0)
    check(read_cvat(path))
    images = ElementTree.parse(path).getroot().findall('image')
    assert [i.get('name') for i in images] == list(MASKS)
    # The rule of masks: runs in the box, row by row, the first outside.
    for mask, image in zip(MASKS.values(), () if polygons else images):
        found = np.zeros_like(mask)
        for shape in image:
            left, top, width, height = (int(shape.get(k)) for k in (
                'left', 'top', 'width', 'height'))
            inside, place = False, 0
            for run in map(int, shape.get('rle').split(',')):
                for p in range(place, place + run) if inside else ():
                    found[top + p // width, left + p % width] = {
                        '__ignore__': 255}.get(
                        shape.get('label'), 1 + [*CLASSES, ''].index(
                            shape.get('label')) if shape.get(
                                'label') in CLASSES else 0)
                inside, place = not inside, place + run
            assert place == width * height
        np.testing.assert_array_equal(found, mask)


def test_cvat_is_read_by_datumaro(tmp_path):
    """With the library itself, where it is installed."""
    pytest.importorskip('datumaro')
    from datumaro import Dataset
    path = tmp_path / 'annotations.xml'
    for name, mask in MASKS.items():
        file = tmp_path / 'images' / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new('RGB', mask.shape[::-1]).save(file)
    write_cvat(path, MASKS.items(), CLASSES)
    dataset = Dataset.import_from(str(tmp_path), 'cvat')
    labels = [c.name for c in dataset.categories()[
        next(iter(dataset.categories()))]]
    found = {}
    for item in dataset:
        mask = np.zeros(MASKS[{**{n.rsplit('.', 1)[0]: n for n in MASKS}}[
            item.id]].shape, np.uint8)
        for annotation in item.annotations:
            mask[annotation.image.astype(bool)] = label_values(CLASSES)[
                labels[annotation.label]]
        found[item.id] = mask
    for name, mask in MASKS.items():
        np.testing.assert_array_equal(found[name.rsplit('.', 1)[0]], mask)


def test_cvat_of_others(tmp_path):
    path = tmp_path / 'x.xml'
    path.write_text(
        '<annotations><image id="0" name="a.jpg" width="6" height="4">'
        '<box label="cat" xtl="0" ytl="0" xbr="6" ybr="4" z_order="1"/>'
        '<polygon label="_background_" points="0,0;3,0;3,4;0,4" z_order="2"/>'
        '<mask label="cat" rle="1,1" left="0" top="0" width="2" height="1" '
        'z_order="3"/><points label="cat" points="1,1"/><tag label="x"/>'
        '<ellipse label="été" cx="3" cy="2" rx="9" ry="9" z_order="0"/>'
        '</image></annotations>', encoding='utf-8')
    image, = read_cvat(path)
    assert painted([image])['a.jpg'].tolist() == [[0, 1, 0, 1, 1, 1]] + [
        [0, 0, 0, 1, 1, 1]] * 3
    assert image.notes == ['points (cat)']
    path.write_text(path.read_text(encoding='utf-8').replace('rle="1,1"',
                                                             'rle="1,2"'),
                    encoding='utf-8')
    with pytest.raises(ValueError, match="'a.jpg'.*2 x 1 pixels have 3"):
        list(read_cvat(path))


def test_labelme(tmp_path):
    root = tmp_path / 'photos'
    write_labelme(tmp_path / 'out', MASKS.items(), CLASSES, root, 0)
    path = tmp_path / 'out/sub dir/ü.json'
    content = json.loads(path.read_text(encoding='utf-8'))
    assert content['imagePath'] == '../../photos/sub dir/ü.png'
    images = list(read_labelme(tmp_path / 'out'))
    for image in images:
        image.name = str(image.name)[len(str(root)) + 1:]
    check(images)


def test_labelme_folders_of_others(tmp_path):
    """Capital endings count, what a Mac leaves beside files does not."""
    write_labelme(tmp_path, MASKS.items(), CLASSES, tmp_path, 0)
    (tmp_path / 'a.json').rename(tmp_path / 'a.JSON')
    (tmp_path / '._b.json').write_bytes(b'\0\1')
    names = {str(i.name)[len(str(tmp_path)) + 1:]
             for i in read_labelme(tmp_path)}
    assert names == set(MASKS)


def test_labelme_is_read_by_the_tool(tmp_path):
    """With the library itself, which fills borders as well."""
    utils = pytest.importorskip('labelme.utils')
    mask = np.zeros((80, 90), np.uint8)
    cv2.circle(mask, (40, 40), 30, 2, -1)
    cv2.circle(mask, (40, 40), 15, 0, -1)
    write_labelme(tmp_path, [('a.jpg', mask)], CLASSES, tmp_path)
    shapes = json.loads((tmp_path / 'a.json').read_text())['shapes']
    found, _ = utils.shapes_to_label(mask.shape, shapes,
                                     label_values(CLASSES))
    assert ((found == 2) & (mask == 2)).sum() > .9 * (
        (found == 2) | (mask == 2)).sum()


def test_labelme_of_others(tmp_path):
    inner = io.BytesIO()
    Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).save(
        inner, 'png')
    shapes = [
        dict(label='cat', points=[[4, 4], [0, 0]], shape_type='rectangle'),
        dict(label='été', points=[[2, 2], [3, 3]], shape_type='mask',
             mask=base64.b64encode(inner.getvalue()).decode()),
        dict(label='_background_', points=[[5, 1], [5, 1.6]],
             shape_type='circle'),
        dict(label='cat', points=[[1, 1]], shape_type='point')]
    content = dict(version='4', flags={}, shapes=shapes, imagePath='a.jpg',
                   imageData=None, imageHeight=4, imageWidth=6)
    path = tmp_path / 'a.json'
    path.write_text(json.dumps(content))
    image, = read_labelme(path)
    mask, = painted([image]).values()
    assert mask.tolist() == [[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 0],
                             [1, 1, 1, 3, 0, 0], [1, 1, 3, 1, 0, 0]]
    assert image.notes == ['point (cat)']
    del content['imageHeight']
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="a.json .*KeyError: 'imageHeight'"):
        list(read_labelme(path))


# -------------------------------------------------------------- Label Studio
def plain_decode(data):
    """The rule of the format, bit by bit."""
    bits = [byte >> 7 - i & 1 for byte in data for i in range(8)]

    def take(n):
        value = 0
        for _ in range(n):
            value = 2 * value + bits.pop(0)
        return value

    count, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values = []
    while len(values) < count:
        repeated, kind = take(1), take(2)
        length = take(sizes[kind]) + 1
        if repeated:
            values += [take(word)] * length
        else:
            values += [take(word) for _ in range(length)]
    return values


def test_brush():
    mask = MASKS['a.jpg'] == 1
    data = encode_rle(mask)
    assert all(isinstance(b, int) and 0 <= b < 256 for b in data)
    assert plain_decode(data) == (np.repeat(mask.ravel(), 4) * 255).tolist()
    assert (decode_rle(data, mask.shape) == mask).all()
    large = np.zeros((300, 301), bool)
    large[100:] = True  # Runs of more than 2 ** 16 values.
    assert (decode_rle(encode_rle(large), large.shape) == large).all()


def test_brush_of_others():
    """Runs of single values, a soft border, other sizes of runs."""
    bits = f'{16:032b}' + f'{7:05b}' + f'{0:04b}{1:04b}{2:04b}{3:04b}'
    # One block of 8 values: two pixels, alpha 200 and 100; then 8 times 255.
    bits += '0' + '10' + f'{7:03b}' + ''.join(
        f'{v:08b}' for v in (9, 9, 9, 200, 9, 9, 9, 100))
    bits += '1' + '11' + f'{7:04b}' + f'{255:08b}'
    bits += '0' * (-len(bits) % 8)
    data = [int(bits[i:i + 8], 2) for i in range(0, len(bits), 8)]
    assert decode_rle(data, (2, 2)).tolist() == [[True, False], [True, True]]
    for wrong, size, message in [
            (data[:-2], (2, 2), 'end early'), (data, (2, 3), 'are of 16 val'),
            ([300], (1, 1), 'must be bytes')]:
        with pytest.raises(ValueError, match=message):
            decode_rle(wrong, size)


def corrected(path):
    """What the tool exports after somebody agreed with the predictions."""
    tasks = json.loads(path.read_text(encoding='utf-8'))
    for number, task in enumerate(tasks):
        results = task['predictions'][0]['result']
        task.update(id=number, annotations=[
            dict(id=1, updated_at='2030-01-01', result=[]),
            dict(id=2, updated_at='2030-01-02', result=results),
            dict(id=3, updated_at='2030-01-03', was_cancelled=True,
                 result=[dict(type='x')])])
    path.write_text(json.dumps(tasks))
    return path


@pytest.mark.parametrize('polygons', [False, True])
def test_label_studio(tmp_path, polygons):
    path = tmp_path / 'x.json'
    masks = {n: m for n, m in MASKS.items() if n != 'none.jpg'}
    write_label_studio(path, masks.items(), CLASSES, polygons, 0)
    assert list(read_label_studio(path)) == []  # Nobody looked at them.
    tasks = json.loads(path.read_text(encoding='utf-8'))
    assert tasks[1]['data']['image'] == (
        '/data/local-files/?d=sub%20dir/%C3%BC.png')
    images = list(read_label_studio(corrected(path)))
    assert 'several annotations' in images[0].notes[0]
    found = painted(images)
    for mask, other in zip(masks.values(), found.values()):
        np.testing.assert_array_equal(mask, other)
    # The interface knows the parts that results name.
    view = ElementTree.parse(tmp_path / 'x.xml').getroot()
    result = tasks[0]['predictions'][0]['result'][0]
    control, = view.findall(f"*[@name='{result['from_name']}']")
    assert control.tag.lower() == result['type']
    assert control.get('toName') == result['to_name'] == view.find(
        'Image').get('name')
    assert [la.get('value') for la in control] == [*CLASSES, '__ignore__']


def test_label_studio_of_others(tmp_path):
    facts = dict(original_width=10, original_height=8)
    results = [
        dict(facts, type='rectanglelabels', value=dict(
            x=0, y=0, width=50, height=100, rotation=0,
            rectanglelabels=['cat'])),
        dict(facts, type='ellipselabels', value=dict(
            x=0, y=0, radiusX=20, radiusY=25, ellipselabels=['été'])),
        dict(facts, type='choices', value=dict(choices=['cat']))]
    path = tmp_path / 'x.json'
    path.write_text(json.dumps([dict(data=dict(image='a.jpg'), annotations=[
        dict(result=results)])]))
    image, = read_label_studio(path)
    mask = painted([image])['a.jpg']
    assert mask[0].tolist() == [3, 3, 1, 1, 1, 0, 0, 0, 0, 0]
    assert mask[7].tolist() == [1] * 5 + [0] * 5
    assert image.notes == ['choices']
    path.write_text(json.dumps([dict(image='a.jpg', choice='cat')]))
    with pytest.raises(ValueError, match='not in JSON-MIN and CSV'):
        list(read_label_studio(path))


def test_brush_is_read_by_the_tool(tmp_path):
    """With the library itself, where it is installed."""
    brush = pytest.importorskip('label_studio_sdk.converter.brush')
    mask = MASKS['a.jpg'] == 255
    found = brush.decode_rle(encode_rle(mask)).reshape(*mask.shape, 4)
    assert ((found[..., 3] > 0) == mask).all()
    theirs = brush.mask2rle(mask.astype(np.uint8) * 255)
    assert (decode_rle(theirs, mask.shape) == mask).all()
