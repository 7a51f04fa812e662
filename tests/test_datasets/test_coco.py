import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmwsss.datasets import COCOImageLevelDataset, read_image_labels
from mmwsss.datasets.coco import (
    CATEGORY_IDS,
    SPLIT_SIZES,
    convert_coco,
    draw_mask,
    read_instances,
)
from mmwsss.registry import DATASETS
from mmwsss.utils.read_images import read_mask

ROOT = Path(__file__).parents[2]
TOOL = ROOT / 'tools/dataset_converters/coco.py'
CLASSES = COCOImageLevelDataset.METAINFO['classes'][1:]
SIZE = (6, 8)
A, B, C, D = ('COCO_train2014_000000000009', 'COCO_train2014_000000000025',
              'COCO_train2014_000000000030', 'COCO_train2014_straße_日本')
V, W = 'COCO_val2014_000000000042', 'COCO_val2014_000000000073'


def box(left, top, right, bottom):
    return [left, top, right, top, right, bottom, left, bottom]


def annotation(image, category, area, *boxes, **more):
    return dict(
        dict(
            id=image * 1000 + category,
            image_id=image,
            category_id=category,
            area=area,
            iscrowd=0,
            bbox=[0, 0, 1, 1],
            segmentation=[box(*b) for b in boxes]), **more)


# Stop signs in the lower three rows of the first two columns.
CROWD = dict(size=list(SIZE), counts=[3, 3, 3, 3, 36])
TRAIN = (
    {9: A, 25: B, 30: C, 77: D},
    [
        # The list is not sorted by image.
        annotation(77, 44, 6., (0, 0, 2, 2), (6, 4, 8, 5)),
        # The smaller object stands first and lies on top all the same.
        annotation(9, 90, 2., (2, 2, 4, 3)),
        annotation(9, 1, 15.5, (1, 1, 6, 4)),
        annotation(25, 13, 6, iscrowd=1, segmentation=CROWD),
        annotation(9, 1, 1, (7, 5, 8, 6)),
    ])
VAL = ({42: V, 73: W}, [annotation(42, 27, 1., (0, 0, 1, 1))])


def content(images, annotations):
    return dict(
        info=dict(year=2014),
        images=[
            dict(
                id=i, file_name=f'{name}.jpg', height=SIZE[0], width=SIZE[1])
            for i, name in reversed(images.items())
        ],
        licenses=[],
        annotations=annotations,
        categories=[
            dict(id=i, name=name, supercategory='?')
            for i, name in zip(CATEGORY_IDS, CLASSES)
        ])


def save(root, split, data):
    path = root / f'annotations/instances_{split}2014.json'
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data), encoding='utf-8')
    return path


@pytest.fixture
def coco(tmp_path):
    root = tmp_path / 'coco'
    for split, data in (('train', TRAIN), ('val', VAL)):
        folder = root / f'{split}2014'
        folder.mkdir(parents=True)
        save(root, split, content(*data))
        for i, name in enumerate(data[0].values()):
            # cv2.imwrite cannot write such names on all systems.
            image = np.full((*SIZE, 3), 40 * i, np.uint8)
            data_ = cv2.imencode('.jpg', image)[1].tobytes()
            (folder / f'{name}.jpg').write_bytes(data_)
    return root


def test_classes_follow_the_official_ids():
    assert len(CLASSES) == len(set(CLASSES)) == len(CATEGORY_IDS) == 80
    official = dict(zip(CATEGORY_IDS, CLASSES))
    # On both sides of each gap.
    for number, name in {
            1: 'person', 11: 'fire hydrant', 13: 'stop sign', 25: 'giraffe',
            27: 'backpack', 28: 'umbrella', 31: 'handbag', 44: 'bottle',
            46: 'wine glass', 65: 'bed', 67: 'dining table', 70: 'toilet',
            72: 'tv', 82: 'refrigerator', 84: 'book', 90: 'toothbrush'
    }.items():
        assert official[number] == name
    palette = COCOImageLevelDataset.METAINFO['palette']
    assert len(set(map(tuple, palette))) == 81


def test_convert(coco, capsys):
    before = {p: p.stat().st_mtime_ns for p in coco.rglob('*.jpg')}
    out, counts = convert_coco(coco)
    assert out == coco / 'image_labels.json'
    assert read_image_labels(out, CLASSES) == {
        A: (0, 79), B: (11, ), C: (), D: (39, ), V: (24, ), W: ()
    }
    assert counts == dict(
        train=(4, 4, 1), train_tagged=(3, 4, 0), train_part=(1, 2, 0),
        val=(2, 1, 1), val_tagged=(1, 1, 0))
    lists = {
        p.stem: p.read_text(encoding='utf-8').split('\n')[:-1]
        for p in (coco / 'ImageSets/Segmentation').iterdir()
    }
    assert lists == dict(
        train=[A, B, C, D], train_tagged=[A, B, D], train_part=[A],
        val=[V, W], val_tagged=[V])
    masks = {
        p.stem: read_mask(p, '').tolist()
        for p in (coco / 'SegmentationClass').rglob('*.png')
    }
    o, p, t = 0, 1, 80
    assert masks[A] == [[o, o, o, o, o, o, o, o], [o, p, p, p, p, p, o, o],
                        [o, p, t, t, p, p, o, o], [o, p, p, p, p, p, o, o],
                        [o, o, o, o, o, o, o, o], [o, o, o, o, o, o, o, p]]
    crowd = np.zeros(SIZE, int)
    crowd[3:, :2] = 12
    assert masks[B] == crowd.tolist()
    assert not np.any(masks[C]) and not np.any(masks[W])
    two = np.zeros(SIZE, int)
    two[:2, :2] = two[4, 6:] = 40
    assert masks[D] == two.tolist()
    assert masks[V][0] == [25, *[0] * 7]
    # Images are neither copied nor touched.
    assert before == {p: p.stat().st_mtime_ns for p in coco.rglob('*.jpg')}
    assert '0 of 4 masks are in' in capsys.readouterr().out


def test_resumes(coco, capsys):
    convert_coco(coco)
    folder = coco / 'SegmentationClass/train2014'
    (folder / f'{A}.png').unlink()
    kept = (folder / f'{B}.png').stat().st_mtime_ns
    capsys.readouterr()
    convert_coco(coco)
    assert (folder / f'{A}.png').is_file()
    assert (folder / f'{B}.png').stat().st_mtime_ns == kept
    assert 'drawing 1' in capsys.readouterr().out
    assert not [p for p in coco.rglob('*') if '.tmp-' in p.name]


def test_one_split_and_no_masks(coco):
    (coco / 'val2014').rename(coco / 'elsewhere')
    out, counts = convert_coco(coco, masks=False)
    assert set(counts) == {'train', 'train_tagged', 'train_part'}
    assert set(read_image_labels(out, CLASSES)) == {A, B, C, D}
    assert not (coco / 'SegmentationClass').exists()


def test_overlap_and_ties(coco):
    equal = [
        annotation(9, 2, 4., (0, 0, 2, 2)),
        annotation(9, 3, 4., (0, 0, 2, 2)),
        annotation(9, 4, 3., (0, 0, 1, 1))
    ]
    path = save(coco, 'train', content({9: A}, equal))
    image, = read_instances(path)
    mask = draw_mask(image)
    assert mask[:2, :2].tolist() == [[4, 2], [2, 2]]
    # The motorcycle is hidden, its tag is not: 4 is class 3 and value 4.
    assert image.label == (1, 2, 3)


def test_dataset(coco):
    convert_coco(coco)
    pipeline = [
        dict(type='mmwsss.LoadImage'),
        dict(type='mmwsss.LoadMask'),
        dict(type='mmwsss.PackWSSSInputs')
    ]
    kwargs = dict(data_root=str(coco), labels_file='image_labels.json')
    lists = 'ImageSets/Segmentation'
    train = COCOImageLevelDataset(
        ann_file=f'{lists}/train.txt',
        pipeline=[pipeline[0], pipeline[2]],
        **kwargs)
    assert [train.get_data_info(i)['img_id'] for i in range(4)] == [A, B, C, D]
    for i, tags in enumerate(([0, 79], [11], [], [39])):
        info = train.get_data_info(i)
        assert 'seg_map_path' not in info and '.png' not in repr(info)
        sample = train[i]['data_samples']
        assert sample.gt_label.label.tolist() == tags
        assert sample.gt_label.score.shape == (80, )
        assert 'gt_sem_seg' not in sample
    seen = COCOImageLevelDataset(
        ann_file=f'{lists}/train.txt',
        with_masks=True,
        pipeline=pipeline,
        **kwargs)
    values = [
        seen[i]['data_samples'].gt_sem_seg.data.unique().tolist()
        for i in range(4)
    ]
    assert values == [[0, 1, 80], [0, 12], [0], [0, 40]]
    val = COCOImageLevelDataset(
        ann_file=f'{lists}/val.txt',
        with_masks=True,
        data_prefix=dict(
            img_path='val2014', seg_map_path='SegmentationClass/val2014'),
        pipeline=pipeline,
        **kwargs)
    sample = val[0]['data_samples']
    assert sample.img_id == V and sample.gt_sem_seg.data.max() == 25
    with pytest.raises(FileNotFoundError, match='converters/coco.py'):
        COCOImageLevelDataset(ann_file='gone.txt', **kwargs)


def broken(change):
    """Instances of train2014 after ``change(content)``."""
    data = content(*json.loads(json.dumps(TRAIN)))
    data['images'] = content(*TRAIN)['images']
    change(data)
    return data


@pytest.mark.parametrize('change,message', [
    (lambda d: d.pop('images'), "list 'images' is missing or empty"),
    (lambda d: d.pop('annotations'), "list 'annotations' is missing"),
    (lambda d: d.pop('categories'), "list 'categories' is missing"),
    (lambda d: d['images'][1].pop('height'), r"images\[1\] has no 'height'"),
    (lambda d: d['images'][1].update(id='9'), r"images\[1\]: 'id' cannot"),
    (lambda d: d['images'][1].update(id=77), r'images\[1\]: the id 77 .*twi'),
    (lambda d: d['images'][0].update(width=0), "'height' and 'width'"),
    (lambda d: d['images'][0].update(file_name='a/b.jpg'), "'file_name' must"),
    (lambda d: d['images'][0].update(file_name=f'{A}.jpg'),
     f"two of 'images' have the file_name {A}"),
    (lambda d: d['annotations'].__setitem__(2, 5),
     r"annotations\[2\] is '5', no object"),
    (lambda d: d['annotations'][2].pop('segmentation'),
     r"annotations\[2\] has no 'segmentation'"),
    (lambda d: d['annotations'][2].update(segmentation=[[1, 2, 3]]),
     r"annotations\[2\]: 'segmentation' of image 9 is wrong: a polygon"),
    (lambda d: d['annotations'][2].update(category_id=12),
     r"annotations\[2\]: no category has the 'category_id' 12"),
    (lambda d: d['annotations'][2].update(image_id=10),
     r"1 image_id\(s\) that 'images' lacks: \[10\]"),
    # A file of 80 consecutive ids would shift all classes behind the gaps.
    (lambda d: [c.update(id=i + 1) for i, c in enumerate(d['categories'])],
     "'categories' are not the 80 of COCO"),
    (lambda d: d['categories'].pop(), r"not the 80.*\(90, 'toothbrush'\)"),
])
def test_bad_annotations(coco, change, message):
    path = save(coco, 'train', broken(change))
    with pytest.raises(ValueError, match=message) as error:
        convert_coco(coco)
    assert str(path) in str(error.value)
    assert not (coco / 'image_labels.json').exists()
    assert not (coco / 'SegmentationClass').exists()


def test_cut_off_file(coco):
    path = coco / 'annotations/instances_train2014.json'
    text = path.read_text(encoding='utf-8')
    path.write_text(text[:text.index('"iscrowd"')], encoding='utf-8')
    with pytest.raises(
            ValueError, match="train2014.json in 'annotations', element 0"):
        convert_coco(coco)


def test_crowd_of_another_size(coco):
    runs = dict(size=[8, 6], counts=[48])
    change = annotation(25, 13, 6, iscrowd=1, segmentation=runs)
    save(coco, 'train', content(TRAIN[0], [change]))
    with pytest.raises(ValueError, match=f'image {B}: .* 8 x 6 pixels'):
        convert_coco(coco)


def test_missing_files(coco):
    (coco / f'train2014/{D}.jpg').unlink()
    with pytest.raises(ValueError, match='1 of 4 images of train2014 .*日本'):
        convert_coco(coco)
    assert (coco / 'missing_train.txt').read_text('utf-8') == f'{D}\n'
    (coco / 'annotations/instances_train2014.json').unlink()
    with pytest.raises(FileNotFoundError, match='annotations_trainval2014'):
        convert_coco(coco)
    with pytest.raises(FileNotFoundError, match='neither'):
        convert_coco(coco / 'annotations')
    save(coco, 'train', content({1: V}, [annotation(1, 1, 1, (0, 0, 1, 1))]))
    (coco / f'train2014/{V}.jpg').write_bytes(b'')
    with pytest.raises(ValueError, match='images of the same name'):
        convert_coco(coco)


def test_tool(coco):
    command = [sys.executable, str(TOOL)]
    done = subprocess.run(
        [*command, str(coco)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ['train', '4', '4', '1', '(COCO', '2014', 'has', '82783)'] in rows
    assert (coco / f'SegmentationClass/train2014/{D}.png').is_file()
    done = subprocess.run(
        [*command, str(coco / 'gone'), '--no-masks'],
        capture_output=True,
        text=True)
    assert done.returncode == 1
    assert 'error: There is neither' in done.stderr
    assert 'Traceback' not in done.stderr


CONFIGS = ('acr/acr_vit', 'seam/seam_resnet38', 'vwl/vwl-l_r101',
           'vwl/vwl-m_r101')


@pytest.mark.parametrize('name', CONFIGS)
def test_configs_follow_those_of_voc(name):
    """80 classes everywhere; else VOC's model, but for ACR's weight."""
    ours = Config.fromfile(ROOT / f'configs/{name}_coco.py')
    theirs = Config.fromfile(ROOT / f'configs/{name}_voc.py')

    def walk(value):
        if isinstance(value, dict):
            if 'num_classes' in value:
                yield value
            for item in value.values():
                yield from walk(item)
        elif isinstance(value, (list, tuple)):
            for item in value:
                yield from walk(item)

    with_classes = list(walk(ours.model))
    assert len(with_classes) == len(list(walk(theirs.model))) >= 1
    for part in with_classes:
        assert part['num_classes'] == 80
        part['num_classes'] = 20
    if 'acr' in name:
        regularizer, = ours.model.regularizers.values()
        assert regularizer.loss_weight == 100
        regularizer.loss_weight = 125.
        # floor(82081 / 4) * 5
        assert ours.train_cfg.max_iters == 102600
        assert ours.param_scheduler[0].end == 102601
        ours.train_cfg = theirs.train_cfg
        ours.param_scheduler = theirs.param_scheduler
    assert ours.model == theirs.model
    for key in ('train_cfg', 'param_scheduler', 'optim_wrapper',
                'val_evaluator', 'test_evaluator', 'crop_size'):
        assert ours[key] == theirs[key]
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        assert ours[key].batch_size == theirs[key].batch_size
        assert ours[key].dataset.pipeline == theirs[key].dataset.pipeline


@pytest.mark.parametrize('name', CONFIGS)
def test_configs_find_what_the_converter_writes(name, coco):
    convert_coco(coco)
    cfg = Config.fromfile(ROOT / f'configs/{name}_coco.py')
    init_default_scope(cfg.default_scope)
    sizes = {}
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        data = cfg[key].dataset
        assert data.data_root == 'data/coco2014'
        data.data_root = str(coco)
        dataset = DATASETS.build(data)
        sizes[key] = len(dataset)
        sample = dataset[len(dataset) - 1]['data_samples']
        assert ('gt_sem_seg' in sample) == (key != 'train_dataloader')
    assert list(sizes.values()) == [3, 1, 3]


def test_numbers_of_images():
    """All images of 2014 were put together anew for 2017.

    118,287 + 5,000 images, of which 1,021 + 48 show no class.
    """
    assert SPLIT_SIZES['train'] + SPLIT_SIZES['val'] == 118287 + 5000
    assert (SPLIT_SIZES['train_tagged'] +
            SPLIT_SIZES['val_tagged']) == 118287 + 5000 - 1021 - 48
