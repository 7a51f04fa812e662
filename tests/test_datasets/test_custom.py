import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from mmwsss.datasets import ImageLevelDataset
from mmwsss.datasets.custom import read_custom, write_custom
from mmwsss.utils.read_images import read_mask

from .builders import save_mask, write_xml

TAGS = {f'im {i}': tags for i, tags in enumerate(
    [['cat'], ['dog'], ['cat', 'dog'], [], ['cat'], ['cow'], ['dog'],
     ['cat'], [], ['dog']])}


def save(path, size=(20, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    # Pictures of equal content would be one picture.
    rng = np.random.default_rng(zlib.crc32(str(path).encode()))
    done, data = cv2.imencode(path.suffix.lower(),
                              rng.integers(0, 256, (*size, 3), np.uint8))
    path.write_bytes(data.tobytes())


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / 'photos'
    for img_id in TAGS:
        save(folder / f'{img_id}.jpg')
    (folder / 'tags.csv').write_text('image,tags\n' + ''.join(
        f'{i}.jpg,{";".join(t)}\n' for i, t in TAGS.items()))
    return folder


def test_written_data_can_be_read(photos, tmp_path):
    save(photos / 'extra.png')
    data = read_custom(photos / 'tags.csv')
    assert not (tmp_path / 'out').exists()
    write_custom(data, tmp_path / 'out')
    assert data.images == photos.resolve() and data.format == 'csv'
    assert data.classes == ('cat', 'cow', 'dog')
    assert data.notes == [
        f'1 image(s) in {photos} have no tags in {photos / "tags.csv"} and '
        'are left out: extra.']
    assert len(data.lists['train']) == 9 and len(data.lists['val']) == 1
    assert sum(data.count('train')) + sum(data.count('val')) == 9
    found = {}
    for name in ('train', 'val'):
        dataset = ImageLevelDataset(
            data_root=str(tmp_path / 'out'),
            ann_file=f'{name}.txt',
            labels_file='image_labels.json',
            img_suffix='any',
            data_prefix=dict(img_path=str(data.images)))
        assert dataset.classes == data.classes
        for i in range(len(dataset)):
            info = dataset.get_data_info(i)
            found[info['img_id']] = [data.classes[c]
                                     for c in info['gt_label']]
    assert found == TAGS


def test_validation_images(photos):
    def val(**kwargs):
        return read_custom(photos / 'tags.csv', **kwargs).lists['val']

    assert val(val=0) == []
    assert val(val=0.3) == val(val=0.3)
    assert any(val(val=0.3, seed=s) != val(val=0.3) for s in range(1, 5))
    for seed in range(20):
        data = read_custom(photos / 'tags.csv', val=0.9, seed=seed)
        # The last image of a class stays with the training.
        assert min(data.count('train')) == 1
        assert set(data.lists['train']).isdisjoint(data.lists['val'])
        assert {*data.lists['train'], *data.lists['val']} == set(TAGS)
    with pytest.raises(ValueError, match='is 1.5, must be'):
        val(val=1.5)


def test_chosen_classes(photos):
    data = read_custom(photos / 'tags.csv', classes=['dog', 'cat'])
    assert data.classes == ('dog', 'cat')
    assert data.labels['im 2'] == (0, 1) and data.labels['im 5'] == ()
    with pytest.raises(ValueError, match="unknown tag 'dgo'.*mean 'dog'"):
        read_custom(photos / 'tags.csv', classes=['dgo'])
    with pytest.raises(ValueError, match='named twice'):
        read_custom(photos / 'tags.csv', classes=['dog', 'dog'])


def test_masks_of_all_or_some(photos, tmp_path):
    def mask(img_id, value, size=(20, 30)):
        save_mask(tmp_path / f'masks/{img_id}.png', np.full(size, value))

    with pytest.raises(FileNotFoundError, match='no folder of masks'):
        read_custom(photos / 'tags.csv', masks=tmp_path / 'masks')
    (tmp_path / 'masks').mkdir()
    with pytest.raises(FileNotFoundError, match=r'has a mask .*im 0\.png'):
        read_custom(photos / 'tags.csv', masks=tmp_path / 'masks')
    mask('im 0', 1)
    mask('im 3', 2)
    data = read_custom(photos / 'tags.csv', masks=tmp_path / 'masks')
    # These can be measured, so they are not trained on.
    assert data.lists['val'] == ['im 0', 'im 3']
    assert data.masks == (tmp_path / 'masks').resolve()
    assert any('1 image(s) show classes that their tags lack: im 3' in note
               for note in data.notes)
    for img_id in TAGS:
        mask(img_id, ['cat', 'cow', 'dog'].index(TAGS[img_id][0]) +
             1 if TAGS[img_id] else 0)
    data = read_custom(photos / 'tags.csv', masks=tmp_path / 'masks')
    assert len(data.lists['val']) == 1 and not data.translated
    mask('im 4', 7)
    with pytest.raises(ValueError, match=r'e.g. \[7\] in that of image im 4'):
        read_custom(photos / 'tags.csv', masks=tmp_path / 'masks')
    mask('im 4', 0, (30, 20))
    with pytest.raises(ValueError, match=r"'im 4' is \(20, 30\).*\(30, 20\)"):
        read_custom(photos / 'tags.csv', masks=tmp_path / 'masks')


def test_broken_images_are_all_named(photos):
    for img_id in ('im 1', 'im 7'):
        path = photos / f'{img_id}.jpg'
        path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match='2 of 10 .*\n.*im 1.*\n.*im 7') as e:
        read_custom(photos / 'tags.csv')
    assert 'corrupt' in str(e.value)
    read_custom(photos / 'tags.csv', check_images=False)


def test_turned_images_are_named(photos):
    exif = Image.Exif()
    exif[274] = 6
    Image.new('RGB', (8, 6)).save(photos / 'im 4.jpg', exif=exif)
    notes = read_custom(photos / 'tags.csv').notes
    assert len(notes) == 1
    assert '1 image(s) are stored lying' in notes[0] and 'im 4' in notes[0]


def test_pictures_of_any_size(photos, tmp_path, monkeypatch):
    """Pillow refuses what has more than twice its limit of pixels."""
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 10)
    masks = tmp_path / 'masks'
    for img_id, tags in TAGS.items():
        mask = np.zeros((20, 30), np.uint8)
        for i, tag in enumerate(tags):
            mask[i] = ['cat', 'cow', 'dog'].index(tag) + 1
        save_mask(masks / f'{img_id}.png', mask)
    assert read_custom(photos / 'tags.csv', masks=masks).masks == masks
    assert read_mask(masks / 'im 0.png', 'im 0').shape == (20, 30)
    # Other programs keep their limit.
    assert Image.MAX_IMAGE_PIXELS == 10
    with pytest.raises(Image.DecompressionBombError):
        Image.open(photos / 'im 0.jpg')


def test_what_cannot_be_learnt(photos, tmp_path):
    path = photos / 'x.csv'
    path.write_text('image,cat,dog,cow\nim 0,1,0,0\nim 1,1,1,0\nim 2,1,0,0\n')
    notes = '\n'.join(read_custom(path, val=0).notes)
    assert 'no training image and cannot be learnt: cow' in notes
    assert 'Every training image shows cat.' in notes
    assert 'no validation images' in notes
    path.write_text('image,tags\nim 0,\n')
    with pytest.raises(ValueError, match='has a tag, so there is nothing'):
        read_custom(path)
    path.write_text('image,tags\n' + ''.join(
        f'{i},{";".join(f"{i} {j}" for j in range(30))}\n' for i in TAGS))
    with pytest.raises(ValueError, match='300 classes; masks hold 8 bits'):
        read_custom(path)


def test_missing_images(photos, tmp_path):
    path = tmp_path / 'tags.csv'
    path.write_text('image,tags\nim 0.jpg,cat\nim 11.jpg,dog\n')
    with pytest.raises(FileNotFoundError,
                       match=r"'im 0' \(line 2\), 'im 11' .*--images"):
        read_custom(path)
    with pytest.raises(FileNotFoundError,
                       match=r"1 image.*'im 11' \(line 3\)\. There is 'im 1'"):
        read_custom(path, photos)
    with pytest.raises(FileNotFoundError, match='There is no image folder'):
        read_custom(path, tmp_path / 'nothing')
    with pytest.raises(FileNotFoundError, match='There is no label file'):
        read_custom(tmp_path / 'nothing.csv')


def test_absolute_paths(photos, tmp_path):
    path = tmp_path / 'tags.csv'
    path.write_text('image,tags\n' + ''.join(
        f'{photos.resolve() / i}.jpg,{";".join(t)}\n'
        for i, t in TAGS.items()))
    assert set(read_custom(path, photos).labels) == set(TAGS)


def test_images_beside_xml_and_in_class_folders(tmp_path):
    for name in ('1', '2', '3'):
        save(tmp_path / f'voc/JPEGImages/{name}.jpg')
        write_xml(tmp_path / f'voc/Annotations/{name}.xml',
                  ['cat'] if name == '1' else ['dog'])
        save(tmp_path / f'classes/{"cat" if name == "1" else "dog"}/'
             f'{name}.jpg')
    data = read_custom(tmp_path / 'voc/Annotations')
    assert data.format == 'xml' and data.images.name == 'JPEGImages'
    assert data.labels == {'1': (0, ), '2': (1, ), '3': (1, )}
    data = read_custom(tmp_path / 'classes')
    assert data.format == 'folders' and data.images.name == 'classes'
    assert data.labels == {'cat/1': (0, ), 'dog/2': (1, ), 'dog/3': (1, )}


def test_names_that_lists_cannot_hold(tmp_path):
    save(tmp_path / 'cat/a\nb.jpg')
    save(tmp_path / 'dog/c.jpg')
    with pytest.raises(ValueError, match='line break. Rename'):
        read_custom(tmp_path)
