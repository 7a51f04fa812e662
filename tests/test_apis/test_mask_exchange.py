import json
import runpy
import sys

import numpy as np
import pytest
from PIL import Image

from mmwsss.apis.mask_exchange import class_names, export_masks, import_masks
from mmwsss.datasets.tags import read_tags, write_image_labels
from mmwsss.pseudo_labels.mask_file import write_mask, write_mask_manifest
from mmwsss.utils.read_images import read_mask
from tests.toy import ROOT

CLASSES = ('cat', 'dog')


@pytest.fixture
def photos(tmp_path):
    """Three images, masks of two of them."""
    masks = {}
    for number, name in enumerate(('a.JPG', 'sub/b c.png', 'bare.jpg')):
        path = tmp_path / 'photos' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        size = 30 + number, 40
        Image.new('RGB', size[::-1]).save(path)
        mask = np.zeros(size, np.uint8)
        mask[5:20, 5:30] = number + 1
        mask[8:12, 9:15] = 0
        mask[25:, 30:] = 255
        masks[name.split('.')[0]] = mask
    del masks['bare']
    for img_id, mask in masks.items():
        write_mask(tmp_path / 'masks', img_id, mask)
    return tmp_path, masks


def agreed(path):
    """A Label Studio export in which somebody agreed with all."""
    tasks = json.loads(path.read_text())
    for task in tasks:
        task['annotations'] = task.pop('predictions')
    path.write_text(json.dumps(tasks))


@pytest.mark.parametrize('polygons', [False, True])
@pytest.mark.parametrize('tool, name', [
    ('coco', 'x.json'), ('cvat', 'x.xml'), ('label_studio', 'x.json'),
    ('labelme', 'x')])
def test_there_and_back(photos, tool, name, polygons):
    root, masks = photos
    out = root / 'made' / name
    count = export_masks(root / 'masks', out, tool, root / 'photos', CLASSES,
                         polygons)
    assert count == (2, 4)
    if tool == 'label_studio':
        agreed(out)
    result = import_masks(out, root / 'back', root / 'photos', CLASSES)
    assert result.ids == list(masks) and not result.bare
    for img_id, mask in masks.items():
        found = read_mask(root / f'back/{img_id}.png', img_id)
        np.testing.assert_array_equal(found, mask)
    manifest = json.loads((root / 'back/manifest.json').read_text())
    assert manifest['classes'] == list(CLASSES)
    # What holds masks tells tags as well.
    tags = read_tags(out, root=root / 'photos').tags
    assert tags == {'a': ('cat', ), 'sub/b c': ('dog', )}


def test_pictures_of_any_size(photos, monkeypatch):
    """Pillow refuses what has more than twice its limit of pixels."""
    root, masks = photos
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 10)
    export_masks(root / 'masks', root / 'x.json', 'coco', root / 'photos',
                 CLASSES)
    result = import_masks(root / 'x.json', root / 'back', root / 'photos',
                          CLASSES)
    assert result.ids == list(masks)


def test_errors_of_the_export(photos, tmp_path):
    root, masks = photos

    def export(to='coco', classes=CLASSES, **kwargs):
        export_masks(root / 'masks', root / 'x.json', to, root / 'photos',
                     classes, **kwargs)

    with pytest.raises(ValueError, match="'yolo' is no format"):
        export('yolo')
    with pytest.raises(ValueError, match='for Label Studio alone'):
        export(url='http://x/')
    with pytest.raises(ValueError, match='not be negative'):
        export(tolerance=-1)
    with pytest.raises(ValueError, match=r'image sub/b c holds \[2\]'):
        export(classes=['cat'])
    write_mask(root / 'masks', 'bare', np.zeros((5, 6), np.uint8))
    with pytest.raises(ValueError, match=r"'bare' is \(32, 40\).*\(5, 6\)"):
        export()
    assert not (root / 'x.json').exists()
    write_mask(root / 'masks', 'other', np.zeros((5, 6), np.uint8))
    with pytest.raises(FileNotFoundError, match="1 of 4 masks .*'other'"):
        export()
    with pytest.raises(FileNotFoundError, match='no folder of masks'):
        export_masks(root / 'no', root / 'x', 'coco', root / 'photos', ['a'])
    with pytest.raises(FileNotFoundError, match='holds no mask'):
        (root / 'empty').mkdir()
        export_masks(root / 'empty', root / 'x', 'coco', root / 'photos',
                     ['a'])


def test_errors_of_the_import(photos):
    root, masks = photos
    path = root / 'x.json'
    export_masks(root / 'masks', path, 'coco', root / 'photos', CLASSES)

    def bring(**kwargs):
        return import_masks(**{**dict(
            annotations=path, out=root / 'back', images=root / 'photos',
            classes=CLASSES), **kwargs})

    with pytest.raises(ValueError, match="'a' has a region of the unknown "
                       "class 'cat'. Known classes: background, cow, dog"):
        bring(classes=['cow', 'dog'])
    with pytest.raises(FileNotFoundError, match="'a.JPG', which is not in"):
        bring(images=root / 'photos/sub')
    assert not (root / 'back').exists()
    bring()
    with pytest.raises(FileExistsError, match='2 of these .*--overwrite'):
        bring()
    content = json.loads(path.read_text())
    content['annotations'] = content['annotations'][:1]
    path.write_text(json.dumps(content))
    result = bring(overwrite=True)
    assert result.bare == ['sub/b c']
    assert any('1 image(s) have no region' in n for n in result.notes)
    assert not read_mask(root / 'back/sub/b c.png', 'b').any()
    content['images'][0].update(height=31)
    content['annotations'] = [dict(content['annotations'][0], segmentation=[
        [0, 0, 3, 0, 3, 3]])]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"'a' is \(31, 40\) .*\(30, 40\)"):
        bring()
    path.write_text('{"a.jpg": ["cat"]}')
    with pytest.raises(ValueError, match="looks like 'json', which holds no"):
        bring()
    export_masks(root / 'masks', path, 'label_studio', root / 'photos',
                 CLASSES)
    with pytest.raises(ValueError, match='no image that somebody annotated'):
        bring()
    with pytest.raises(FileNotFoundError, match='There is no .*no.json'):
        bring(annotations=root / 'no.json')


def test_masks_of_other_classes(photos):
    """Numbers of masks are not taken for other names."""
    root, masks = photos
    export_masks(root / 'masks', root / 'x.json', 'coco', root / 'photos',
                 CLASSES)
    write_mask_manifest(root / 'masks', classes=list(CLASSES))
    others = CLASSES[::-1]
    match = '(?s)made for other classes.*another order'
    with pytest.raises(ValueError, match=match):
        export_masks(root / 'masks', root / 'y.json', 'coco',
                     root / 'photos', others)
    assert not (root / 'y.json').exists()
    with pytest.raises(ValueError, match=match):
        import_masks(root / 'x.json', root / 'masks', root / 'photos', others,
                     overwrite=True)
    result = import_masks(root / 'x.json', root / 'back', root / 'photos',
                          others)
    assert result.ids == list(masks)


def test_class_names(tmp_path):
    assert class_names(['cat', 'dog']) == CLASSES
    assert class_names(['voc'])[0] == 'aeroplane'
    write_image_labels(tmp_path / 'x.json', ('dog', 'cat'), dict(a=(0, )))
    assert class_names([str(tmp_path / 'x.json')]) == ('dog', 'cat')
    (tmp_path / 'x.txt').write_text('background\ncat\ndog\n')
    assert class_names([str(tmp_path / 'x.txt')]) == CLASSES
    (tmp_path / 'x.csv').write_text('image,tags\na,cat\n')
    with pytest.raises(ValueError, match='does not list its classes'):
        class_names([str(tmp_path / 'x.csv')])


def test_tools(photos, monkeypatch, capsys):
    root, masks = photos

    def run(name, *args):
        monkeypatch.setattr(sys, 'argv', [name, *map(str, args)])
        runpy.run_path(str(ROOT / f'tools/{name}'), run_name='__main__')
        return capsys.readouterr().out

    out = run('export_masks.py', root / 'masks', root / 'photos',
              root / 'x.json', '--to', 'label_studio', '--classes', *CLASSES,
              '--url', 's3://bucket/')
    assert '4 regions in 2 images' in out and 'x.xml' in out
    assert 's3://bucket/sub/b%20c.png' in (root / 'x.json').read_text()
    agreed(root / 'x.json')
    out = run('import_masks.py', root / 'x.json', root / 'photos',
              root / 'back', '--classes', *CLASSES)
    assert '2 masks' in out
    with pytest.raises(SystemExit, match='error: 2 of these masks'):
        run('import_masks.py', root / 'x.json', root / 'photos',
            root / 'back', '--classes', *CLASSES)
