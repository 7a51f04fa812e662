import random
import shutil

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from torch.utils.data import DataLoader

from mmwsss.datasets import ImageLevelDataset, VOCImageLevelDataset
from mmwsss.datasets.samplers import Draw, SeededSampler
from mmwsss.registry import DATASETS, TRANSFORMS

from .builders import METAINFO, make_voc, save_mask, write_xml

LABELS = {'2007_000032': (0, 1), '2007_000039': (1, ), '2007_000061': ()}
SPLIT = 'ImageSets/Segmentation/train.txt'


@pytest.fixture
def root(tmp_path):
    return make_voc(tmp_path / 'voc', LABELS)


def build(root, **kwargs):
    if 'labels_from' not in kwargs:
        kwargs.setdefault('labels_file', 'labels.json')
    kwargs.setdefault('metainfo', METAINFO)
    kwargs.setdefault('ann_file', SPLIT)
    return ImageLevelDataset(data_root=str(root), **kwargs)


def test_samples(root):
    dataset = build(root)
    assert len(dataset) == 3
    info = dataset.get_data_info(0)
    assert info['img_id'] == '2007_000032'
    assert info['gt_label'].dtype == np.int64
    assert info['gt_label'].tolist() == [0, 1]
    assert info['num_classes'] == 2
    assert info['img_path'].endswith('JPEGImages/2007_000032.jpg')
    assert dataset.get_data_info(2)['gt_label'].shape == (0, )
    assert dataset.get_cat_ids(0) == [0, 1]
    assert dataset.classes == ('cat', 'dog')


def test_masks_cannot_leak(root):
    def mentions_mask(value):
        return 'SegmentationClass' in repr(value)

    dataset = build(root)
    assert not any(mentions_mask(dataset.get_data_info(i)) for i in range(3))
    load = dict(type='mmwsss.LoadMask')
    dataset = build(root, pipeline=[load])
    with pytest.raises(KeyError, match='2007_000032.*with_masks=True'):
        dataset[0]
    dataset = build(root, with_masks=True, pipeline=[load])
    assert dataset[0]['gt_seg_map'][1, 0] == 2
    # Training never touches the folder of masks.
    shutil.rmtree(root / 'SegmentationClass')
    build(root)


def test_labels_from_xml_and_masks(root):
    for img_id, tags in (('2007_000032', ['dog']), ('2007_000039', []),
                         ('2007_000061', ['cat', 'dog'])):
        write_xml(root / f'Annotations/{img_id}.xml', tags)
    dataset = build(root, labels_from='xml')
    assert [dataset.get_cat_ids(i) for i in range(3)] == [[1], [], [0, 1]]
    dataset = build(root, labels_from='masks')
    assert [dataset.get_cat_ids(i) for i in range(3)] == [[0, 1], [1], []]
    assert 'seg_map_path' not in dataset.get_data_info(0)
    save_mask(root / 'SegmentationClass/2007_000039.png', np.full((4, 4), 7))
    with pytest.raises(ValueError, match=r'image 2007_000039 holds \[7\]'):
        build(root, labels_from='masks')
    (root / 'Annotations/2007_000039.xml').unlink()
    with pytest.raises(FileNotFoundError, match='2007_000039'):
        build(root, labels_from='xml')


def test_all_images_of_the_label_file(root):
    assert len(build(root, ann_file='')) == 3
    with pytest.raises(ValueError, match='needs a labels_file'):
        build(root, ann_file='', labels_from='xml')


@pytest.mark.parametrize('class_less, number', [('keep', 3), ('skip', 2)])
def test_class_less(root, class_less, number):
    assert len(build(root, class_less=class_less)) == number


def test_class_less_refused(root):
    with pytest.raises(ValueError, match=r'1 image\(s\).*2007_000061'):
        build(root, class_less='error')
    make_voc(root, {'a': ()})
    with pytest.raises(ValueError, match='No image .* has a tag'):
        build(root, class_less='skip')


def test_configuration_errors(root):
    with pytest.raises(ValueError, match="labels_file or labels_from='xml'"):
        ImageLevelDataset(data_root=str(root), metainfo=METAINFO)
    with pytest.raises(ValueError, match='needs either'):
        build(root, labels_file='labels.json', labels_from='xml')
    with pytest.raises(ValueError, match="labels_from is 'boxes'"):
        build(root, labels_from='boxes')
    with pytest.raises(ValueError, match="class_less is 'drop'"):
        build(root, class_less='drop')
    with pytest.raises(ValueError, match="begin with 'background'"):
        build(root, metainfo=dict(classes=('cat', 'dog')))
    with pytest.raises(ValueError, match='reduce_zero_label'):
        build(root, reduce_zero_label=True)
    with pytest.raises(ValueError, match='fixed classes'):
        VOCImageLevelDataset(
            data_root=str(root),
            labels_file='labels.json',
            metainfo=dict(classes=('background', 'cat', 'dog')))


def test_missing_things(root):
    with pytest.raises(
            FileNotFoundError,
            match='no data folder .*nowhere.*python tools/dataset_converters'):
        build(root / 'nowhere')
    with pytest.raises(FileNotFoundError, match='no split list .*test.txt'):
        build(root, ann_file='ImageSets/Segmentation/test.txt')
    with pytest.raises(FileNotFoundError, match='no label file'):
        build(root, labels_file='nothing.json')
    (root / 'JPEGImages/2007_000039.jpg').unlink()
    with pytest.raises(
            FileNotFoundError, match=r'1 image\(s\).*: 2007_000039 '):
        build(root)
    assert len(build(root, check_files=False)) == 3
    shutil.rmtree(root / 'JPEGImages')
    with pytest.raises(FileNotFoundError, match='no image folder'):
        build(root)


def test_missing_mask(root):
    (root / 'SegmentationClass/2007_000039.png').unlink()
    build(root)
    with pytest.raises(
            FileNotFoundError, match=r'1 mask\(s\).*: 2007_000039 '):
        build(root, with_masks=True)


def test_saliency_maps(root):
    folder = dict(saliency_path='Saliency')
    # Who does not ask for them does not need them.
    assert 'saliency_path' not in build(root).get_data_info(0)
    with pytest.raises(
            FileNotFoundError,
            match='no saliency map folder .*Saliency.*LoadSaliency out'):
        build(root, data_prefix=folder)
    for i, img_id in enumerate(LABELS):
        saliency = np.zeros((20, 30), np.uint8)
        saliency[i + 1:, :4] = 200
        save_mask(root / f'Saliency/{img_id}.png', saliency)
    dataset = build(
        root,
        data_prefix=folder,
        pipeline=[
            dict(type='mmwsss.LoadImage'),
            dict(type='mmwsss.LoadSaliency'),
            dict(type='mmwsss.PackWSSSInputs')
        ])
    for i in range(3):
        found = dataset[i]['data_samples'].gt_saliency.data
        assert found.shape == (1, 20, 30) and found.sum() == 4 * (19 - i)
    with pytest.raises(
            FileNotFoundError, match=r"3 saliency map\(s\).*ending '_s.png'"):
        build(root, data_prefix=folder, saliency_suffix='_s.png')
    (root / 'Saliency/2007_000039.png').unlink()
    with pytest.raises(
            FileNotFoundError, match=r'1 saliency map\(s\).*: 2007_000039 '):
        build(root, data_prefix=folder)


@pytest.mark.parametrize('text, message', [
    ('', 'is empty'),
    ('\n \n', 'is empty'),
    ('2007_000032\n2007_000032\n', '2007_000032 stands twice'),
    ('/JPEGImages/a.jpg /Seg/a.png\n', 'is no image id'),
])
def test_bad_split(root, text, message):
    (root / SPLIT).write_text(text)
    with pytest.raises(ValueError, match=message):
        build(root)


def test_images_without_entry(tmp_path):
    make_voc(tmp_path, {f'im{i}': (0, ) for i in range(9)})
    make_voc(tmp_path, {'im0': (0, )}, ids=[f'im{i}' for i in range(9)])
    with pytest.raises(
            ValueError,
            match=r'8 of 9 .*im1, im2, im3, im4, im5 and 3 more.*voc\.py'):
        build(tmp_path)


def test_ids_in_subfolders(tmp_path):
    for name in ('a', 'b'):
        (tmp_path / f'JPEGImages/{name}').mkdir(parents=True)
        (tmp_path / f'SegmentationClass/{name}').mkdir(parents=True)
    make_voc(tmp_path, {'a/1': (0, ), 'b/1': (1, )})
    assert build(tmp_path).get_data_info(1)['img_id'] == 'b/1'
    (tmp_path / 'JPEGImages/b/1.jpg').unlink()
    with pytest.raises(FileNotFoundError, match=r'1 image\(s\).*: b/1 '):
        build(tmp_path)


def test_corrupt_image_is_named(root):
    pipeline = [
        dict(type='mmwsss.LoadImage'),
        dict(type='mmwsss.PackWSSSInputs')
    ]
    path = root / 'JPEGImages/2007_000039.jpg'
    path.write_bytes(path.read_bytes()[:-200])
    dataset = build(root, pipeline=pipeline)
    dataset[0]
    with pytest.raises(ValueError, match='2007_000039.*corrupt'):
        dataset[1]


def test_none_is_not_replaced(root):
    # mmengine would silently take another image.
    dataset = build(root, pipeline=[lambda results: None])
    with pytest.raises(ValueError, match='None for image 2007_000032'):
        dataset[0]


@TRANSFORMS.register_module()
class RandomNumbersForTest:
    """Gives back what the three generators say."""

    def __call__(self, results):
        return dict(
            numbers=torch.tensor(
                [random.random(),
                 np.random.rand(),
                 torch.rand(()).item()]),
            index=results['sample_idx'])


def test_draws_decide_the_augmentation(root):
    dataset = build(
        root, pipeline=[dict(type='mmwsss.RandomNumbersForTest')])
    first = dataset[Draw(1, 5)]['numbers']
    assert not torch.equal(dataset[Draw(1, 6)]['numbers'], first)
    assert torch.equal(dataset[Draw(1, 5)]['numbers'], first)
    assert not torch.equal(dataset[1]['numbers'], first)

    def epoch(workers):
        sampler = SeededSampler(dataset, shuffle=True, seed=3)
        loader = DataLoader(dataset, 1, sampler=sampler, num_workers=workers)
        return torch.cat([batch['numbers'] for batch in loader])

    alone = epoch(0)
    assert len(alone.unique(dim=0)) == 3
    assert torch.equal(epoch(2), alone)
    plain = DefaultSampler(dataset, shuffle=False)
    assert [type(i) for i in plain] == [int] * 3


def test_registered_from_any_scope(root):
    config = dict(
        type='mmwsss.ImageLevelDataset',
        data_root=str(root),
        ann_file=SPLIT,
        labels_file='labels.json',
        metainfo=METAINFO)
    assert len(DATASETS.build(config)) == 3


def test_reads_voc_classes(tmp_path):
    root = make_voc(tmp_path, {'2007_000032': (0, )})
    write_xml(root / 'Annotations/2007_000032.xml',
              ['pottedplant', 'aeroplane', 'tvmonitor'])
    dataset = VOCImageLevelDataset(
        data_root=str(root), ann_file=SPLIT, labels_from='xml')
    assert dataset.get_cat_ids(0) == [0, 15, 19]
    assert len(dataset.metainfo['classes']) == 21
    assert dataset.metainfo['palette'][1] == [128, 0, 0]


def write_images(folder, names):
    rng = np.random.default_rng(0)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        done, data = cv2.imencode(path.suffix.lower(), rng.integers(
            0, 256, (20, 30, 3), dtype=np.uint8))
        path.write_bytes(data.tobytes())


@pytest.fixture
def photos(tmp_path):
    """Files of all endings, and a csv beside them."""
    folder = tmp_path / 'my photos'
    write_images(folder, ['IMG 1.JPG', 'été.png', 's/b.jpeg', 'c.jpg'])
    (folder / 'tags.csv').write_bytes(
        'image,tags\r\nIMG 1.JPG,dog\r\nété.png,cat;dog\r\ns/b.jpeg,\r\n'
        'c,zebra\r\n'.encode())
    return folder


def own(folder, **kwargs):
    kwargs.setdefault('labels_file', 'tags.csv')
    return ImageLevelDataset(
        data_root=str(folder),
        data_prefix=dict(img_path=''),
        img_suffix='any',
        **kwargs)


def test_images_and_tags_of_your_own(photos):
    dataset = own(photos, pipeline=[
        dict(type='mmwsss.LoadImage'),
        dict(type='mmwsss.PackWSSSInputs')
    ])
    # Without metainfo the classes are those of the file.
    assert dataset.metainfo['classes'] == ('background', 'cat', 'dog',
                                           'zebra')
    assert dataset.metainfo['palette'] == [[0, 0, 0], [128, 0, 0],
                                           [0, 128, 0], [128, 128, 0]]
    assert [dataset.get_data_info(i)['img_id'] for i in range(4)] == [
        'IMG 1', 'été', 's/b', 'c']
    assert [dataset.get_cat_ids(i) for i in range(4)] == [
        [1], [0, 1], [], [2]]
    for i in range(4):
        assert dataset[i]['inputs'].shape == (3, 20, 30)
        assert dataset[i]['data_samples'].gt_label.score.shape == (3, )


def test_list_of_own_images(photos):
    # Ids or names of files, with blanks.
    (photos / 'list.txt').write_bytes('IMG 1\r\nété.png\r\n'.encode())
    dataset = own(photos, ann_file='list.txt')
    assert [dataset.get_data_info(i)['img_id'] for i in range(2)] == [
        'IMG 1', 'été']
    assert dataset.split == 'list'
    (photos / 'list.txt').write_text('IMG 2\n')
    with pytest.raises(ValueError, match="'IMG 2' of .* is no image id"):
        own(photos, ann_file='list.txt')


def test_classes_can_be_chosen(photos):
    chosen = dict(classes=('background', 'dog', 'cat'))
    with pytest.raises(ValueError, match="'zebra' in .*tags.csv, line 5"):
        own(photos, metainfo=chosen)
    dataset = own(photos, metainfo=chosen, unknown_tags='drop')
    assert [dataset.get_cat_ids(i) for i in range(4)] == [[0], [0, 1], [], []]
    assert len(own(photos, metainfo=chosen, unknown_tags='drop',
                   class_less='skip')) == 2
    with pytest.raises(ValueError, match="unknown_tags is 'keep'"):
        own(photos, unknown_tags='keep')


def test_declared_classes_that_nobody_wants(photos):
    (photos / 'x.csv').write_text('image,dog,cow\nc,1,0\n')
    chosen = dict(classes=('background', 'dog'))
    with pytest.raises(ValueError, match=r"lacks: \['cow'\].*'drop'"):
        own(photos, labels_file='x.csv', metainfo=chosen)
    assert len(own(photos, labels_file='x.csv', metainfo=chosen,
                   unknown_tags='drop')) == 1


def test_missing_own_images(photos):
    with (photos / 'tags.csv').open('a') as file:
        file.write('d.jpg,dog\n')
    with pytest.raises(
            FileNotFoundError,
            match=r"1 image\(s\) of .*tags.csv .*'d' \(line 6\)\. It has 4"):
        own(photos)
    with pytest.raises(FileNotFoundError, match='There is no label file'):
        own(photos, labels_file='nothing.csv')
    with pytest.raises(FileNotFoundError, match='no image folder'):
        ImageLevelDataset(data_root=str(photos), labels_file='tags.csv',
                          img_suffix='any')
    with pytest.raises(ValueError, match="img_suffix='any' looks into a"):
        own(photos, backend_args=dict(backend='petrel'))


def test_other_formats(photos):
    for img_id, tags in (('c', ['dog']), ('s/b', ['cat'])):
        write_xml(photos / f'xml/{img_id.split("/")[-1]}.xml', tags)
    (photos / 'xml/b.xml').unlink()
    dataset = own(photos, labels_file='xml')
    assert dataset.classes == ('dog', ) and len(dataset) == 1
    write_images(photos.parent / 'classes', ['cat/1.png', 'dog/1.jpg'])
    dataset = own(photos.parent / 'classes', labels_file='.')
    assert dataset.classes == ('cat', 'dog')
    assert dataset.get_data_info(1)['img_path'].endswith('dog/1.jpg')
    shutil.copy(photos / 'tags.csv', photos / 'tags.txt')
    assert len(own(photos, labels_file='tags.txt', labels_format='csv')) == 4


def test_masks_if_there_are_any(photos):
    assert own(photos, with_masks='auto').with_masks is False
    dataset = own(photos, with_masks='auto')
    assert 'seg_map_path' not in dataset.get_data_info(0)
    for img_id in ('IMG 1', 'été', 's/b'):
        save_mask(photos / f'SegmentationClass/{img_id}.png',
                  np.zeros((20, 30)))
    # Some, but not all: which images would a result be about?
    with pytest.raises(FileNotFoundError, match=r'1 mask\(s\) .*: c '):
        own(photos, with_masks='auto')
    save_mask(photos / 'SegmentationClass/c.png', np.zeros((20, 30)))
    dataset = own(photos, with_masks='auto')
    assert dataset.with_masks is True
    assert dataset.get_data_info(1)['seg_map_path'].endswith('/été.png')
    with pytest.raises(ValueError, match="with_masks is 'yes'"):
        own(photos, with_masks='yes')
