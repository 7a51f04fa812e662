"""Images with pseudo masks."""
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.datasets import PascalVOCDataset
from PIL import Image

from mmwsss.datasets import ImageLevelDataset, PseudoMaskDataset
from mmwsss.datasets.samplers import Draw
from mmwsss.registry import DATASETS

from .builders import METAINFO, make_voc, save_mask

LABELS = {'a': (0, 1), 'b': (1, ), 'c': ()}
SIZE = (20, 30)
LOAD = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.PackWSSSInputs')
]


@pytest.fixture
def root(tmp_path):
    make_voc(tmp_path / 'voc', LABELS, SIZE)
    for img_id in LABELS:
        mask = np.zeros(SIZE, np.uint8)
        mask[:5] = 2 if img_id == 'b' else 1
        mask[5, 0] = 255
        save_mask(tmp_path / f'masks/{img_id}.png', mask)
    return tmp_path


def inner(root, **kwargs):
    return dict(
        type='mmwsss.ImageLevelDataset',
        data_root=str(root / 'voc'),
        ann_file='ImageSets/Segmentation/train.txt',
        labels_file='labels.json',
        metainfo=METAINFO,
        **kwargs)


def build(root, pipeline=LOAD, **kwargs):
    return DATASETS.build(
        dict(
            type='mmwsss.PseudoMaskDataset',
            dataset=inner(root, **kwargs),
            mask_dir=str(root / 'masks'),
            pipeline=pipeline))


def test_samples(root):
    dataset = build(root)
    assert len(dataset) == 3
    assert dataset.metainfo['classes'] == ('background', 'cat', 'dog')
    assert dataset.metainfo['palette'] == METAINFO['palette']
    # Parts of a ConcatDataset must not differ in it.
    assert 'split' not in dataset.metainfo
    assert dataset.get_cat_ids(0) == [0, 1]
    info = dataset.get_data_info(1)
    assert info['img_id'] == 'b'
    assert info['seg_map_path'] == str(root / 'masks/b.png')
    sample = dataset[1]['data_samples']
    expected = np.zeros((1, *SIZE), np.int64)
    expected[0, :5] = 2
    expected[0, 5, 0] = 255
    assert np.array_equal(sample.gt_sem_seg.data.numpy(), expected)
    assert sample.img_id == 'b'
    # The true mask is another one.
    true = np.array(Image.open(root / 'voc/SegmentationClass/b.png'))
    assert (true[-1] == 255).all()


def test_mmseg_transforms_see_what_mmseg_datasets_give(root):
    init_default_scope('mmseg')
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations'),
        dict(type='RandomResize', scale=(60, 40), ratio_range=(0.5, 2.)),
        dict(type='RandomCrop', crop_size=(8, 8)),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PhotoMetricDistortion'),
        dict(type='PackSegInputs')
    ]
    theirs = PascalVOCDataset(
        ann_file='ImageSets/Segmentation/train.txt',
        data_root=str(root / 'voc'),
        data_prefix=dict(img_path='JPEGImages', seg_map_path='../masks'),
        pipeline=pipeline)
    ours = build(root, pipeline)
    for i in range(3):
        a, b = (d[i] for d in (ours, theirs)
                if not np.random.seed(7))  # Both draw the same.
        assert torch.equal(a['inputs'], b['inputs'])
        assert torch.equal(a['data_samples'].gt_sem_seg.data,
                           b['data_samples'].gt_sem_seg.data)


def test_draws_decide_the_augmentation(root):
    init_default_scope('mmseg')
    crop = [
        *LOAD[:2],
        dict(type='mmwsss.PlaceCrop', size=12),
        dict(type='RandomFlip', prob=0.5), LOAD[2]
    ]
    dataset = build(root, crop)

    def look(seed):
        return dataset[Draw(0, seed)]['inputs']

    first = look(5)
    np.random.rand(3)
    assert torch.equal(first, look(5))
    assert any(not torch.equal(first, look(seed)) for seed in range(4))


def test_inner_data_set_may_be_an_object(root):
    plain = DATASETS.build(inner(root))
    dataset = PseudoMaskDataset(plain, root / 'masks', LOAD)
    assert 'gt_sem_seg' in dataset[0]['data_samples']
    # It stays what it was.
    assert 'seg_map_path' not in plain.get_data_info(0)
    assert 'seg_map_path' not in plain[0]


def test_true_masks_cannot_get_in(root):
    with pytest.raises(ValueError, match='with_masks=True'):
        build(root, with_masks=True)
    with pytest.raises(ValueError, match='not to the inner data set'):
        PseudoMaskDataset(inner(root, pipeline=LOAD), root / 'masks')
    with pytest.raises(TypeError, match='not list'):
        PseudoMaskDataset([], root / 'masks')


def test_missing_masks(root):
    for img_id in 'ac':
        (root / f'masks/{img_id}.png').unlink()
    with pytest.raises(
            FileNotFoundError,
            match=r'2 of 3 images.*: a, c\. .*tools/refine_cams.py.*'
            r'tools/test.py'):
        build(root)
    with pytest.raises(FileNotFoundError, match='no folder.*refine_cams'):
        PseudoMaskDataset(inner(root), root / 'nowhere')
    # Images that are left out need none.
    (root / 'voc/ImageSets/Segmentation/train.txt').write_text('b\n')
    assert len(build(root)) == 1


@pytest.mark.parametrize('load', ['mmwsss.LoadMask', 'mmseg.LoadAnnotations'])
def test_masks_that_do_not_fit_are_named(root, load):
    pipeline = [dict(type='mmwsss.LoadImage'), dict(type=load)]
    dataset = build(root, pipeline)
    path = root / 'masks/b.png'
    save_mask(path, np.zeros((30, 20)))
    with pytest.raises(ValueError, match=r"'b' is \(20, 30\).*b\.png is \(30"):
        dataset[1]
    Image.new('RGB', (30, 20)).save(path)
    with pytest.raises(ValueError, match="'b'.*mode RGB"):
        dataset[1]
    path.write_bytes(b'')
    with pytest.raises(ValueError, match="'b'.*b.png"):
        dataset[1]
    dataset[0]


def test_foreign_values(root):
    save_mask(root / 'masks/b.png', np.full(SIZE, 3))
    with pytest.raises(ValueError, match=r'b holds \[3\]'):
        build(root)[1]


def test_ids_with_folders(tmp_path):
    for folder in ('JPEGImages', 'SegmentationClass'):
        (tmp_path / f'voc/{folder}/one').mkdir(parents=True)
    make_voc(tmp_path / 'voc', {'one/a': (0, )}, SIZE)
    save_mask(tmp_path / 'masks/one/a.png', np.ones(SIZE))
    sample = build(tmp_path)[0]['data_samples']
    assert (sample.gt_sem_seg.data == 1).all()


def test_wrapped_by_mmengine(root):
    dataset = DATASETS.build(
        dict(
            type='RepeatDataset',
            times=2,
            dataset=dict(
                type='mmwsss.PseudoMaskDataset',
                dataset=inner(root),
                mask_dir=str(root / 'masks'),
                pipeline=LOAD)))
    assert len(dataset) == 6
    assert dataset[5]['data_samples'].img_id == 'c'
    assert isinstance(dataset.dataset.dataset, ImageLevelDataset)
