"""The page of a pipeline."""
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.config import Config, ConfigDict

from mmwsss.apis.pipeline_gallery import write_pipeline_gallery
from mmwsss.pseudo_labels import write_cam, write_mask

from ..test_datasets.builders import make_voc
from ..test_engine.test_output_hooks import make_cfg
from ..test_visualization.test_run_page import data_of, plane_of

LABELS = {'a1': [0], 'b2': [0, 1], 'c3': []}


@pytest.fixture
def pipeline(tmp_path):
    """Two stages of CAMs and one of masks, as files."""
    cfg = make_cfg(
        make_voc(tmp_path / 'data', LABELS), tmp_path / 'run', [])
    config = tmp_path / 'model.py'
    Config(cfg).dump(config)
    for img_id, ids in LABELS.items():
        for k, name in enumerate(('cams', 'refined')):
            write_cam(tmp_path / name, img_id, ids,
                      np.full((len(ids), 20, 30), 0.5 + k / 4, np.float32),
                      (20, 30))
    write_mask(tmp_path / 'crf', 'b2', np.full((20, 30), 2, np.uint8))
    columns = {
        'CAM': 'cams', 'refined': 'refined', '+ CRF': 'crf', 'later': 'none'}
    stages = [SimpleNamespace(name='cams', rows={'CAM': 'mIoU'})]
    return SimpleNamespace(
        cfg=ConfigDict(
            gallery={
                title: dict(
                    config=str(config),
                    train_images=title == 'train',
                    columns=columns) for title in ('train', 'val')
            },
            filename=str(tmp_path / 'chain' / 'pipeline.py')),
        work_dir=tmp_path / 'work',
        stages=stages,
        value=lambda stage, key: '51.23',
        fill=lambda text, what: text
        if text.endswith('.py') else str(tmp_path / text))


def test_page(pipeline, tmp_path):
    path = write_pipeline_gallery(pipeline)
    assert path == tmp_path / 'work/gallery/index.html'
    data = data_of(path)
    assert [(row['group'], row['id']) for row in data['rows']] == [
        (group, img_id) for group in ('train', 'val') for img_id in LABELS]
    first, second, third = data['rows'][:3]
    # Every folder of CAMs is a stage of its own.
    assert list(first['stages']) == ['CAM', 'refined']
    assert list(second['stages']) == ['CAM', 'refined', '+ CRF']
    assert second['stages']['CAM']['classes'] == [0, 1]
    assert plane_of(second['stages']['refined']['maps']).shape == (40, 30)
    assert (plane_of(second['stages']['+ CRF']['mask']) == 2).all()
    assert third['stages']['CAM'] == dict(classes=[], maps='')
    assert all(row['gt'] for row in data['rows'])
    assert data['steps'][data['start']] == 0.4
    assert 'threshold={threshold}' in data['settings']
    assert 'model.py' in data['settings']
    assert '51.23' in path.read_text()


def test_nothing_to_show(pipeline):
    pipeline.fill = lambda text, what: 'nowhere'
    assert write_pipeline_gallery(pipeline) is None
    pipeline.cfg.gallery.train.pop('columns')
    with pytest.raises(ValueError, match='gallery.train has'):
        write_pipeline_gallery(pipeline)
