import numpy as np
import pytest
import torch

from mmwsss.datasets import ImageLevelDataset, ShapesDataset
from mmwsss.datasets.transforms import LoadInstances
from mmwsss.datasets.transforms.load_instances import separate_instances
from tests.test_datasets.builders import METAINFO, make_voc, save_mask

PIPELINE = [
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadMask'),
    dict(type='mmwsss.LoadInstances'),
    dict(type='mmwsss.PackWSSSInputs')
]


def test_separate():
    mask = np.array([[1, 1, 0, 3], [1, 255, 0, 3], [255, 255, 0, 0]])
    numbers = np.array([[1, 2, 0, 7], [1, 2, 0, 7], [9, 255, 0, 0]])
    masks, labels = separate_instances(numbers, mask)
    # The object of pixel 9 shows no class.
    assert labels.tolist() == [0, 0, 2]
    assert masks.dtype == bool and masks.sum((1, 2)).tolist() == [2, 2, 2]
    for own, number in zip(masks, (1, 2, 7)):
        assert np.array_equal(own, numbers == number)
    masks, labels = separate_instances(np.zeros((3, 4), int), mask)
    assert masks.shape == (0, 3, 4) and labels.shape == (0, )
    # The class of most pixels counts.
    masks, labels = separate_instances(
        np.full((1, 6), 4), np.array([[2, 2, 2, 0, 1, 255]]))
    assert labels.tolist() == [1] and masks.all()


@pytest.mark.parametrize('values', [[0, 0, 0, 1], [1, 1, 2, 2]])
def test_objects_need_a_class(values):
    with pytest.raises(ValueError, match='object 4 .* do not belong together'):
        separate_instances(np.full((1, 4), 4), np.array([values]))


def voc(root, **kwargs):
    make_voc(root, {'x': [0, 1], 'y': []})
    numbers = np.zeros((20, 30), np.uint8)
    numbers[0, :10], numbers[0, 20:], numbers[1] = 1, 2, 3
    save_mask(root / 'SegmentationObject/x.png', numbers)
    save_mask(root / 'SegmentationObject/y.png', np.zeros((20, 30)))
    return dict(
        data_root=str(root),
        ann_file='ImageSets/Segmentation/train.txt',
        labels_file='labels.json',
        metainfo=METAINFO,
        data_prefix=dict(instance_path='SegmentationObject'),
        pipeline=PIPELINE) | kwargs


def test_from_files(tmp_path):
    dataset = ImageLevelDataset(**voc(tmp_path), with_masks=True)
    sample = dataset[0]['data_samples']
    assert sample.gt_instances.labels.tolist() == [0, 0, 1]
    masks = sample.gt_instances.masks
    assert masks.dtype == torch.bool and masks.shape == (3, 20, 30)
    assert masks.sum((1, 2)).tolist() == [10, 10, 30]
    empty = dataset[1]['data_samples'].gt_instances
    assert empty.masks.shape == (0, 20, 30) and len(empty.labels) == 0
    assert 'LoadInstances(ignore_index=255)' in repr(LoadInstances())


def test_training_sees_none(tmp_path):
    dataset = ImageLevelDataset(**voc(tmp_path, pipeline=[]))
    assert 'instance_path' not in dataset.get_data_info(0)
    results = dict(dataset.get_data_info(0))
    with pytest.raises(KeyError, match="'x' .*with_masks=True"):
        LoadInstances()(results)
    results['instance_path'] = 'anything'
    with pytest.raises(KeyError, match="'x'.*before LoadInstances"):
        LoadInstances()(results)


def test_errors_name_the_image(tmp_path):
    settings = voc(tmp_path, with_masks=True)
    dataset = ImageLevelDataset(**settings)
    save_mask(tmp_path / 'SegmentationObject/x.png', np.zeros((4, 5)))
    with pytest.raises(ValueError, match=r"'x': .* are \(4, 5\)"):
        dataset[0]
    save_mask(tmp_path / 'SegmentationObject/x.png', np.ones((20, 30)))
    with pytest.raises(ValueError, match=r"'x': .*x\.png: object 1 lies"):
        dataset[0]
    (tmp_path / 'SegmentationObject/x.png').unlink()
    with pytest.raises(FileNotFoundError, match='object numbers.* file in'):
        ImageLevelDataset(**settings)
    settings['data_prefix'] = dict(instance_path='Nowhere')
    with pytest.raises(FileNotFoundError, match='take it and LoadInstances'):
        ImageLevelDataset(**settings)


def test_shapes_have_instances(tmp_path):
    dataset = ShapesDataset(
        data_root=str(tmp_path / 'shapes'),
        num_train=12,
        num_val=1,
        image_size=64,
        with_masks=True,
        data_prefix=dict(instance_path='SegmentationObject'),
        pipeline=PIPELINE)
    several = 0
    for i in range(len(dataset)):
        sample = dataset[i]['data_samples']
        found, mask = sample.gt_instances, sample.gt_sem_seg.data[0]
        assert set(found.labels.tolist()) <= set(
            sample.gt_label.label.tolist())
        for own, label in zip(found.masks, found.labels):
            assert set(mask[own].unique().tolist()) <= {int(label) + 1, 255}
        assert not (mask.ne(0) & mask.ne(255)
                    & ~found.masks.any(0)).any()
        several += len(found) > 1
    assert several > 1
