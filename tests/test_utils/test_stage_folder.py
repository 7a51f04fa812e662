"""Datasets tell the steps of their pipelines where earlier stages wrote."""
import inspect

import pytest

from mmwsss.datasets import ImageLevelDataset
from mmwsss.pseudo_labels.transforms import LoadCAMs
from mmwsss.utils.stage_folder import STAGE_FOLDERS, stage_folder

from ..test_datasets.builders import METAINFO, make_voc


def make(root, **folders):
    return ImageLevelDataset(
        data_root=str(root),
        ann_file='ImageSets/Segmentation/train.txt',
        labels_file='labels.json',
        metainfo=METAINFO,
        **folders)


def test_samples_carry_the_folders_that_are_set(tmp_path):
    make_voc(tmp_path, {'a': [0], 'b': []})
    folders = {name: tmp_path / name for name in STAGE_FOLDERS}
    # The pipeline is empty, so this is what its steps would get.
    for info in (make(tmp_path, **folders)[1],
                 make(tmp_path, **folders).get_data_info(0)):
        found = {name: info[name] for name in STAGE_FOLDERS}
        assert found == {k: str(v) for k, v in folders.items()}
    info = make(tmp_path, cam_dir='cams', mask_dir=None)[0]
    assert set(STAGE_FOLDERS) & set(info) == {'cam_dir'}
    parameters = inspect.signature(ImageLevelDataset.__init__).parameters
    assert set(STAGE_FOLDERS) < set(parameters)


def test_missing():
    assert stage_folder(dict(cam_dir='x'), 'cam_dir', LoadCAMs()) == 'x'
    with pytest.raises(
            ValueError, match='Image a: LoadCAMs .* Set its cam_dir, e.g. '
            '--cfg-options test_dataloader.dataset.cam_dir=FOLDER'):
        stage_folder(dict(img_id='a', mask_dir='x'), 'cam_dir', LoadCAMs())
