"""CAMInferencer against tools/test.py, and its life with many images."""
import copy
import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmwsss.apis import inference_output, run
from mmwsss.apis.cam_inferencer import CAMInferencer
from mmwsss.models.segmentors.cam_segmentor import cams_to_mask
from mmwsss.pseudo_labels import mask_path, read_cam, read_manifest
from mmwsss.registry import MODELS
from mmwsss.utils.read_images import read_mask
from mmwsss.utils.run_folder import SETTINGS
from mmwsss.visualization.run_page import levels_to_mask

from .. import small_models
from ..test_datasets.builders import make_voc
from ..test_engine.test_output_hooks import make_cfg
from ..test_visualization.test_run_page import data_of, plane_of
from ..toy import ROOT
from .test_image_sources import picture, write_video
from .test_run import arguments

LABELS = {'a1': [0], 'b2': [0, 1], 'c3': [], 'd4': [1], 'e5': [1]}
TAGS = {
    img_id: [('cat', 'dog')[c] for c in labels]
    for img_id, labels in LABELS.items()
}
#: Batches of other sizes are added up in another order, differently on every
#: processor, and normalisation of nearly flat maps enlarges that (4e-5 seen).
ROUNDING = 2e-4
HOOKS = [dict(type='mmwsss.SaveCAMsHook'), dict(type='mmwsss.SaveMasksHook')]


@pytest.fixture(autouse=True)
def _restore_loader(monkeypatch):
    from mmengine.runner import CheckpointLoader
    monkeypatch.setattr(CheckpointLoader, '_schemes',
                        CheckpointLoader._schemes.copy())
    monkeypatch.setenv('LOCAL_RANK', '0')


def save(cfg, folder, seed=0):
    """Write a config, and a checkpoint of random weights for it."""
    init_default_scope('mmseg')
    cfg = Config(copy.deepcopy(cfg))
    cfg.dump(folder / 'model.py')
    torch.manual_seed(seed)
    model = MODELS.build(cfg.model)
    # Far from the tiny initial values, so that maps differ.
    for param in model.parameters():
        torch.nn.init.normal_(param, std=0.2)
    torch.save(dict(state_dict=model.state_dict()), folder / 'model.pth')
    return str(folder / 'model.py'), str(folder / 'model.pth')


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    """Images, config and checkpoint of a small CAMSegmentor."""
    folder = tmp_path_factory.mktemp('home')
    data = make_voc(folder / 'data', LABELS)
    config, weights = save(make_cfg(data, folder / 'run', HOOKS), folder)
    return folder, data / 'JPEGImages', config, weights


@pytest.fixture(scope='module')
def inferencer(home):
    return CAMInferencer(*home[2:], device='cpu', show_progress=False)


def test_files(config, weights, out, folder, **options):
    """What tools/test.py writes."""
    run.test(
        **arguments(
            config,
            checkpoint=weights,
            out=str(out),
            work_dir=str(folder / 'test'),
            cfg_options=options or None))
    return out / 'cams', out / 'masks'


test_files.__test__ = False


def compare(ours, theirs, ids):
    """Two folders of results, bit for bit."""
    for img_id in ids:
        a, b = (read_cam(f / f'{img_id}.npz') for f in (ours / 'cams', theirs
                                                        / 'cams'))
        assert a.class_ids.tolist() == b.class_ids.tolist(), img_id
        assert np.array_equal(a.cam, b.cam), img_id
        assert a.image_size == b.image_size
        assert (mask_path(ours / 'masks', img_id).read_bytes() == mask_path(
            theirs / 'masks', img_id).read_bytes()), img_id


def test_equals_the_test_tool(home, inferencer, tmp_path):
    folder, images, config, weights = home
    test_files(config, weights, tmp_path / 'test', tmp_path)
    result = inferencer(
        str(images), tags=TAGS, batch_size=2, out_dir=tmp_path / 'ours')
    compare(tmp_path / 'ours', tmp_path / 'test', LABELS)
    predictions = result['predictions']
    assert [p['img_id'] for p in predictions] == sorted(LABELS)
    for p in predictions:
        assert p['tags'] == TAGS[p['img_id']]
        assert p['img_path'] == str(images / f'{p["img_id"]}.jpg')
        assert p['cams'].dtype == np.float32 and p['mask'].dtype == np.uint8
        assert p['cams'].shape == (len(p['tags']), 20, 30)
        assert set(p['scores']) == {'cat', 'dog'}
        stored = read_cam(tmp_path / 'test' / 'cams' / f'{p["img_id"]}.npz')
        assert np.abs(stored.cam - p['cams']).max(initial=0) < 2.6e-4
        ids = torch.tensor(LABELS[p['img_id']])
        mask = cams_to_mask(torch.from_numpy(p['cams']), ids, 0.4)
        assert np.array_equal(p['mask'], mask.numpy())
    # The maps are worth comparing.
    assert any(p['cams'].std() > 0.05 for p in predictions if p['tags'])
    assert any(0 < (p['mask'] > 0).mean() < 1 for p in predictions)
    assert not predictions[2]['mask'].any()


def test_settings_equal_those_of_the_test_tool(home, inferencer, tmp_path):
    """Threshold and predicted tags."""
    folder, images, config, weights = home
    before = dict(inferencer.model.test_cfg)
    test_files(
        config, weights, tmp_path / 'test', tmp_path, **{
            'model.test_cfg.threshold': 0.6,
            'model.test_cfg.use_image_labels': False,
            'model.test_cfg.tag_threshold': 0.3
        })
    result = inferencer(
        images,
        batch_size=2,
        threshold=0.6,
        tag_threshold=0.3,
        out_dir=str(tmp_path / 'ours'))
    compare(tmp_path / 'ours', tmp_path / 'test', LABELS)
    for p in result['predictions']:
        assert p['tags'] == [n for n, s in p['scores'].items() if s > 0.3]
    assert inferencer.model.test_cfg == before

    everything = inferencer(images, tag_threshold=0.)['predictions']
    assert all(p['tags'] == ['cat', 'dog'] for p in everything)
    nothing = inferencer(images, tag_threshold=1.)['predictions']
    assert all(p['tags'] == [] and not p['mask'].any() for p in nothing)
    assert all(p['cams'].shape == (0, 20, 30) for p in nothing)


def test_ways_to_give_images(home, inferencer, tmp_path):
    images = home[1]
    path = images / 'b2.jpg'
    expected, = inferencer(str(path), ['dog'])['predictions']
    image = cv2.imread(str(path))
    other = str(images / 'a1.jpg')
    found = [
        inferencer(path, [['dog']])['predictions'][0],
        inferencer(image, ['dog'])['predictions'][0],
        inferencer([other, path], [['cat'], ['dog']])['predictions'][1],
        inferencer([other, image], ['dog'])['predictions'][1],
        inferencer(images, ['dog'])['predictions'][1],
    ]
    for p in found:
        np.testing.assert_allclose(p['cams'], expected['cams'], atol=ROUNDING)
        assert p['tags'] == ['dog']
    assert [p['img_id'] for p in found
            ] == ['b2', '000000', 'b2', '000001', 'b2']
    assert found[1]['img_path'] is None


def test_videos(inferencer, tmp_path):
    frames = [np.full((16, 32, 3), 40 * i, np.uint8) for i in range(5)]
    write_video(tmp_path / 'clip.avi', frames)
    result = inferencer(
        tmp_path / 'clip.avi', ['cat'], frame_step=2, out_dir=tmp_path / 'o')
    assert [p['img_id'] for p in result['predictions']
            ] == ['clip/000000', 'clip/000002', 'clip/000004']
    assert (tmp_path / 'o' / 'overlays' / 'clip' / '000004.jpg').is_file()
    cam = read_cam(tmp_path / 'o' / 'cams' / 'clip' / '000002.npz')
    assert cam.cam.shape == (1, 16, 32)


def test_batches_and_sizes(home, tmp_path):
    """Results depend on no other image of the call."""
    folder, images, _, _ = home
    cfg = make_cfg(images.parent, folder / 'run', HOOKS)
    pipeline = cfg['test_dataloader']['dataset']['pipeline']
    pipeline[:] = [s for s in pipeline if s['type'] != 'mmwsss.SquareResize']
    cfg['model']['data_preprocessor'].pop('size')
    config, weights = save(cfg, tmp_path)
    mixed = [
        picture(i, size)
        for i, size in enumerate([(20, 30), (20, 30), (32, 24), (20, 30),
                                  (40, 40), (40, 40), (40, 40)])
    ]
    model = CAMInferencer(config, weights, 'cpu', show_progress=False)
    one = model(mixed, ['cat', 'dog'], batch_size=1)['predictions']
    for batch_size in (2, 5):
        more = model(mixed, ['cat', 'dog'], batch_size)['predictions']
        assert [p['img_id'] for p in more] == [p['img_id'] for p in one]
        for a, b in zip(one, more):
            assert a['cams'].shape == b['cams'].shape
            np.testing.assert_allclose(a['cams'], b['cams'], atol=ROUNDING)
    groups = [
        len(items) for items in model.preprocess([
            s for s in _sources(mixed)
        ], batch_size=2)
    ]
    assert groups == [2, 1, 1, 2, 1]


def _sources(images):
    from mmwsss.apis.image_sources import find_images
    return find_images(images)


def test_window(home, tmp_path):
    """Images of more than 8 bits are read as the data set reads them."""
    cfg = Config.fromfile(home[2])
    cfg.test_dataloader.dataset.window = (0, 4095)
    model = CAMInferencer(cfg, home[3], 'cpu', show_progress=False)
    deep = picture().astype(np.uint16) * 16
    cv2.imwrite(str(tmp_path / 'deep.png'), deep)
    grey = np.rint(deep * (255 / 4095)).astype(np.uint8)
    a, b = (model(image, ['cat'], out_dir=out)['predictions'][0]
            for image, out in ((tmp_path / 'deep.png', tmp_path / 'o'),
                               (grey, '')))
    assert np.array_equal(a['cams'], b['cams'])
    # Also on the page, where the image is read again.
    for _ in range(2):
        row, = data_of(tmp_path / 'o/index.html')['rows']
        assert abs(plane_of(row['photo']).mean() - grey.mean()) < 5
        model(tmp_path / 'deep.png', ['cat'], out_dir=tmp_path / 'o')


def test_tags(home, inferencer):
    images = home[1]
    pair = [str(images / 'a1.jpg'), str(images / 'b2.jpg')]
    # Order and repetition do not matter, as in label files.
    p = inferencer(pair, ['dog', 'cat', 'dog'])['predictions'][0]
    assert p['tags'] == ['cat', 'dog'] and p['cams'].shape[0] == 2
    assert inferencer(pair, [])['predictions'][1]['tags'] == []
    assert [
        p['tags'] for p in inferencer(pair, [[], ['dog']])['predictions']
    ] == [[], ['dog']]
    for tags, message in (
        ('dog', r"give a list: tags=\['dog'\]"),
        ([['dog']] * 3, 'tags of 3 images, but 2 images'),
        (dict(a1=['dog']), '1 of 2 images have no tags: b2'),
        (['cow'], "Image a1 has the unknown tag 'cow'.*Known tags: cat, dog"),
    ):
        with pytest.raises(ValueError, match=message):
            inferencer(pair, tags)


def test_bad_arguments(home, inferencer):
    image = picture()
    for kwargs, message in (
        (dict(threshold=1.5), r'threshold must lie in \[0, 1\], is 1.5'),
        (dict(tag_threshold=-1), r'tag_threshold must lie'),
        (dict(batch_size=0), 'batch_size must be at least 1'),
        (dict(frame_step=0), 'frame_step must be at least 1'),
        (dict(on_error='ignore'), "on_error is 'ignore'"),
    ):
        with pytest.raises(ValueError, match=message):
            inferencer(image, **kwargs)
        # Before anybody asks for the first result.
        with pytest.raises(ValueError, match=message):
            inferencer.stream(image, **kwargs)


def test_pictures(home, inferencer, tmp_path):
    images = home[1]
    result = inferencer(images, TAGS, out_dir=tmp_path)
    widths = [v.shape for v in result['visualization']]
    # Image, mask and the maps of 1, 2, 0, 1 and 1 classes, 4 pixels apart.
    assert widths == [(20, 30 * n + 4 * (n - 1), 3) for n in (3, 4, 2, 3, 3)]
    written = cv2.imread(str(tmp_path / 'overlays' / 'b2.jpg'))
    assert written.shape == widths[1]
    bare = inferencer(images, TAGS, return_vis=False, return_cams=False)
    assert bare['visualization'] == []
    assert all(p['cams'] is None for p in bare['predictions'])
    for a, b in zip(bare['predictions'], result['predictions']):
        assert np.array_equal(a['mask'], b['mask'])
        assert a['tags'] == b['tags']


# ------------------------------------------------------------------- folders
def stamps(folder):
    return {
        str(p.relative_to(folder)): p.stat().st_mtime_ns
        for kind in ('cams', 'masks', 'overlays')
        for p in (folder / kind).rglob('*') if p.suffix != '.json'
    }


def test_page(home, inferencer, tmp_path, monkeypatch):
    """The folder has a page on which a threshold is chosen."""
    images, out = home[1], tmp_path / 'out'
    inferencer(images, TAGS, threshold=0.35, out_dir=out)
    first = data_of(out / 'index.html')
    assert [row['id'] for row in first['rows']] == sorted(LABELS)
    assert first['steps'][first['start']] == 0.35
    assert 'threshold={threshold}' in first['settings']
    for row in first['rows']:
        ids = LABELS[row['id']]
        # The mask follows from the maps.
        assert list(row['stages']) == ['CAM']
        assert row['stages']['CAM']['classes'] == ids
        assert list(row['scores']) == [('cat', 'dog')[c] for c in ids]
        mask = read_mask(mask_path(out / 'masks', row['id']), 'x')
        if ids:
            levels = plane_of(row['stages']['CAM']['maps']).reshape(
                len(ids), *mask.shape)
            assert np.array_equal(
                levels_to_mask(levels, ids, first['start']), mask)
    # What was done before is on it again, from the files.
    (out / 'masks' / 'd4.png').unlink()
    inferencer(images, TAGS, threshold=0.35, out_dir=out)
    again = data_of(out / 'index.html')
    assert [row['id'] for row in again['rows']] == sorted(LABELS)
    assert [bool(row['scores']) for row in again['rows']] == [
        False, False, False, True, False]
    # Not more than a browser can bear.
    monkeypatch.setattr(inference_output, 'NUM_SHOWN', 2)
    inferencer(images, TAGS, threshold=0.35, out_dir=out)
    assert len(data_of(out / 'index.html')['rows']) == 2
    assert 'The first 2 of 5 images.' in (out / 'index.html').read_text()


def test_continues(home, inferencer, tmp_path):
    images, out = home[1], tmp_path / 'out'
    first = inferencer(images, TAGS, out_dir=out)
    before = stamps(out)
    assert len(before) == 3 * len(LABELS)
    for kind in ('cams', 'masks'):
        facts = json.loads((out / kind / 'manifest.json').read_text())
        assert facts['num_images'] == len(LABELS)
        assert facts['classes'] == ['background', 'cat', 'dog']
        assert len(facts['checkpoint_sha256']) == 64
    assert read_manifest(out / 'cams')['test_cfg']['use_image_labels']

    # Nothing to do: results are read.
    again = inferencer(images, TAGS, out_dir=out)
    assert stamps(out) == before
    for a, b, v, w in zip(first['predictions'], again['predictions'],
                          first['visualization'], again['visualization']):
        assert a['tags'] == b['tags'] and b['scores'] is None
        assert np.array_equal(a['mask'], b['mask'])
        assert np.abs(a['cams'] - b['cams']).max(initial=0) < 2.6e-4
        assert v.shape == w.shape

    # One file lacks: its image is done again, in its place.
    (out / 'masks' / 'd4.png').unlink()
    again = inferencer(images, TAGS, out_dir=out, return_cams=False)
    changed = {k for k, v in stamps(out).items() if before.get(k) != v}
    assert changed == {'cams/d4.npz', 'masks/d4.png', 'overlays/d4.jpg'}
    assert [p['img_id'] for p in again['predictions']] == sorted(LABELS)
    assert all(p['cams'] is None for p in again['predictions'])

    # Other tags of one image.
    before = stamps(out)
    inferencer(images, dict(TAGS, c3=['dog']), out_dir=out)
    changed = {k for k, v in stamps(out).items() if before.get(k) != v}
    assert changed == {'cams/c3.npz', 'masks/c3.png', 'overlays/c3.jpg'}

    # Other settings.
    for kwargs in (dict(tags=TAGS, threshold=0.7), dict()):
        with pytest.raises(ValueError, match='(?s)other settings.*test_cfg'):
            inferencer(images, out_dir=out, **kwargs)
    inferencer(images, TAGS, threshold=0.7, out_dir=out, overwrite=True)
    after = stamps(out)
    assert all(after[k] != v for k, v in before.items())

    # Another folder of images with the same settings adds to it.
    cv2.imwrite(str(tmp_path / 'new.jpg'), picture())
    inferencer(tmp_path / 'new.jpg', ['cat'], threshold=0.7, out_dir=out)
    assert read_manifest(out / 'cams')['num_images'] == len(LABELS) + 1
    assert {k: v for k, v in stamps(out).items() if 'new' not in k} == after


def test_interrupted(home, inferencer, tmp_path):
    images, out = home[1], tmp_path / 'out'
    # One by one: the last bits of a batch depend on its size.
    inferencer(images, TAGS, batch_size=1, out_dir=out)
    whole = {k: (out / k).read_bytes() for k in stamps(out)}
    for path in out.rglob('*'):
        if path.is_file():
            path.unlink()

    results = inferencer.stream(images, TAGS, batch_size=1, out_dir=out)
    assert next(results)['img_id'] == 'a1'
    # A second run in the meantime.
    with pytest.raises(ValueError, match='Another run is writing'):
        inferencer(images, TAGS, out_dir=out)
    results.close()
    assert not list(out.rglob('manifest.json'))
    assert set(stamps(out)) < set(whole)
    # What a kill may leave.
    left = out / 'masks' / '.b2.tmp-x.png'
    left.write_bytes(b'x')
    inferencer(images, TAGS, batch_size=1, out_dir=out)
    assert {k: (out / k).read_bytes() for k in stamps(out)} == whole
    assert (out / 'cams' / 'manifest.json').is_file()
    assert not left.exists()


def test_foreign_files_are_kept(home, inferencer, tmp_path):
    inferencer(home[1] / 'a1.jpg', TAGS, out_dir=tmp_path / 'out')
    (tmp_path / 'out' / SETTINGS).unlink()
    with pytest.raises(ValueError, match='no settings.json that says'):
        inferencer(home[1] / 'a1.jpg', TAGS, out_dir=tmp_path / 'out')


def test_names_that_clash(home, inferencer, tmp_path):
    cv2.imwrite(str(tmp_path / 'a1.png'), picture())
    pair = [home[1] / 'a1.jpg', tmp_path / 'a1.png']
    assert len(inferencer(pair)['predictions']) == 2
    with pytest.raises(ValueError, match="2 images have the name 'a1'"):
        inferencer(pair, out_dir=tmp_path / 'out')


def test_broken_images(home, inferencer, tmp_path, caplog):
    for img_id in LABELS:
        data = (home[1] / f'{img_id}.jpg').read_bytes()
        if img_id == 'b2':
            data = data[:len(data) // 2]
        (tmp_path / f'{img_id}.jpg').write_bytes(data)
    out = tmp_path / 'out'
    with pytest.raises(ValueError, match=r'b2.jpg is corrupt'):
        inferencer(tmp_path, TAGS, out_dir=out)
    assert not list(out.rglob('manifest.json'))
    with caplog.at_level('WARNING', logger='mmengine'):
        result = inferencer(tmp_path, TAGS, out_dir=out, on_error='skip')
    # In its place, so that lists stay parallel.
    broken = result['predictions'][1]
    assert broken['img_id'] == 'b2' and 'b2.jpg is corrupt' in broken['error']
    assert result['visualization'][1] is None
    assert len(result['predictions']) == 5
    facts = read_manifest(out / 'cams')
    assert facts['skipped'] == ['b2'] and facts['num_images'] == 4
    with pytest.raises(FileNotFoundError, match='no image.*gone.jpg'):
        inferencer(tmp_path / 'gone.jpg', on_error='skip')


# -------------------------------------------------------------------- models
def end_to_end(data, folder):
    cfg = make_cfg(data, folder / 'run', HOOKS)
    model = cfg['model']
    model.update(
        type='mmwsss.EndToEndSegmentor',
        decode_head=dict(
            type='FCNHead', in_channels=24, in_index=-1, channels=8,
            num_convs=1, concat_input=False, dropout_ratio=0.,
            norm_cfg=dict(type='GN', num_groups=2), num_classes=3),
        label_refiner=dict(
            type='mmwsss.PAMR', num_iters=2, dilations=(1, 2)),
        label_maker=dict(type='mmwsss.LabelCompletion', opening=3),
        seg_losses=dict(ce=dict(type='mmwsss.BalancedCrossEntropy')))
    # Saliency serves labels, which nobody asks for here.
    cfg['test_evaluator'] = dict(type='IoUMetric')
    return cfg


def test_end_to_end(home, tmp_path):
    folder, images, _, _ = home
    config, weights = save(end_to_end(images.parent, tmp_path), tmp_path)
    test_files(config, weights, tmp_path / 'test', tmp_path)
    model = CAMInferencer(config, weights, 'cpu', show_progress=False)
    result = model(images, TAGS, batch_size=2, out_dir=tmp_path / 'ours')
    compare(tmp_path / 'ours', tmp_path / 'test', LABELS)
    data = data_of(tmp_path / 'ours' / 'index.html')
    assert [list(row['stages']) for row in data['rows']] == [
        ['CAM', 'predicted mask']] * len(LABELS)
    assert data['settings'] == ''  # no threshold of the model's
    # The mask is the decoder's.
    assert any(set(np.unique(p['mask'])) - {0} - {c + 1 for c in LABELS[
        p['img_id']]} for p in result['predictions'])
    predicted = model(images, tag_threshold=0.)['predictions']
    for a, b in zip(predicted, result['predictions']):
        assert a['tags'] == ['cat', 'dog'] and len(a['cams']) == 2
        assert np.array_equal(a['mask'], b['mask'])
    with pytest.raises(ValueError, match='without a threshold'):
        model(images, threshold=0.5)


def test_segmentation_models(home, tmp_path, monkeypatch):
    folder, images, _, _ = home
    cfg = make_cfg(images.parent, folder / 'run', HOOKS[1:])
    norm = dict(type='BN')
    cfg['model'] = dict(
        type='EncoderDecoder',
        data_preprocessor=cfg['model']['data_preprocessor'],
        backbone=dict(
            type='ResNet', depth=18, stem_channels=8, base_channels=8,
            num_stages=2, out_indices=(1, ), strides=(1, 2), dilations=(1, 1),
            norm_cfg=norm),
        decode_head=dict(
            type='FCNHead', in_channels=16, channels=8, in_index=-1,
            num_convs=1, num_classes=3, norm_cfg=norm),
        train_cfg=None,
        test_cfg=dict(mode='whole'))
    cfg['test_evaluator'] = dict(type='IoUMetric')
    config, weights = save(cfg, tmp_path)
    test_files(config, weights, tmp_path / 'masks', tmp_path)
    model = CAMInferencer(config, weights, 'cpu', show_progress=False)
    result = model(images, batch_size=2, out_dir=tmp_path / 'ours')
    for p in result['predictions']:
        expected = read_mask(
            mask_path(tmp_path / 'masks', p['img_id']), p['img_id'])
        assert np.array_equal(p['mask'], expected)
        assert p['cams'] is None and p['scores'] is None
        shown = set(np.unique(p['mask'])) - {0}
        assert p['tags'] == [('cat', 'dog')[v - 1] for v in sorted(shown)]
    data = data_of(tmp_path / 'ours' / 'index.html')
    assert [list(row['stages']) for row in data['rows']] == [
        ['predicted mask']] * len(LABELS)
    assert not (tmp_path / 'ours' / 'cams').exists()
    assert stamps(tmp_path / 'ours').keys() == {
        f'{kind}/{i}.{suffix}' for i in LABELS
        for kind, suffix in (('masks', 'png'), ('overlays', 'jpg'))
    }
    again = model(images, batch_size=2, out_dir=tmp_path / 'ours')
    assert again['predictions'][0]['tags'] == result['predictions'][0]['tags']

    def fail(_):
        raise RuntimeError('CUDA out of memory. Tried to allocate 9 GiB.')

    with monkeypatch.context() as patch:
        patch.setattr(model.model, 'test_step', fail)
        with pytest.raises(MemoryError, match="a1, b2.*mode='slide'"):
            model(images, batch_size=2)
    for kwargs in (dict(threshold=0.5), dict(tags=['dog'])):
        with pytest.raises(ValueError, match='leave (it|them) out'):
            model(images, **kwargs)


def test_images_that_are_too_small():
    """SegFormer's first attention looks at 29 pixels or more."""
    cfg = small_models.load('segmentation/segformer_small_shapes')
    inferencer = SimpleNamespace(
        reads_tags=False, model=small_models.build(cfg).eval())
    for size in (29, 28):
        batch = small_models.batch_of(cfg, size=size, training=False)
        if size == 29:
            out = CAMInferencer.forward(inferencer, batch, {})
            assert out[0].pred_sem_seg.data.shape == (1, 29, 29)
            continue
        with pytest.raises(ValueError, match='Image image 0, image 1 .28 x'):
            CAMInferencer.forward(inferencer, batch, {})


@pytest.fixture
def refined(home, tmp_path):
    """Config and checkpoint of a segmentation model with PAMR after it."""
    folder, images, _, _ = home
    cfg = make_cfg(images.parent, folder / 'run', HOOKS[1:])
    norm = dict(type='BN')
    cfg['model'] = dict(
        type='mmwsss.RefinedSegmentor',
        data_preprocessor=cfg['model']['data_preprocessor'],
        segmentor=dict(
            type='EncoderDecoder',
            backbone=dict(
                type='ResNet', depth=18, stem_channels=8, base_channels=8,
                num_stages=2, out_indices=(1, ), strides=(1, 2),
                dilations=(1, 1), norm_cfg=norm),
            decode_head=dict(
                type='FCNHead', in_channels=16, channels=8, in_index=-1,
                num_convs=1, num_classes=3, norm_cfg=norm),
            train_cfg=None,
            test_cfg=dict(mode='whole')),
        refiners=[dict(type='mmwsss.PAMR', num_iters=2, dilations=(1, 2))],
        test_cfg=dict(use_image_labels=False))
    cfg['test_evaluator'] = dict(type='mmwsss.RefinementIoUMetric')
    return save(cfg, tmp_path)


@pytest.mark.parametrize('told', [False, True])
def test_refined_models_equal_the_test_tool(home, refined, told, tmp_path):
    images = home[1]
    test_files(*refined, tmp_path / 'masks', tmp_path,
               **{'model.test_cfg.use_image_labels': told})
    model = CAMInferencer(*refined, 'cpu', show_progress=False)
    result = model(
        images, TAGS if told else None, batch_size=2, return_probs=True)
    for p in result['predictions']:
        expected = read_mask(
            mask_path(tmp_path / 'masks', p['img_id']), p['img_id'])
        assert np.array_equal(p['mask'], expected)
        probs = p['probs']
        assert probs.dtype == np.float32 and probs.shape == (3, 20, 30)
        assert np.allclose(probs.sum(0), 1, atol=1e-4)
        assert np.array_equal(probs.argmax(0), p['mask'])
        for c in {0, 1} - set(LABELS[p['img_id']]):
            assert not told or probs[c + 1].max() == 0
        assert p['cams'] is None and p['scores'] is None


def test_refined_models_with_other_tags(home, refined, tmp_path):
    images, out = home[1], tmp_path / 'out'
    model = CAMInferencer(*refined, 'cpu', show_progress=False)
    first = model(images, TAGS, out_dir=out, return_probs=True)
    before = stamps(out)
    again = model(images, TAGS, out_dir=out, return_probs=True)
    assert stamps(out) == before
    for a, b in zip(first['predictions'], again['predictions']):
        assert np.array_equal(a['mask'], b['mask'])
        # Files are in half precision.
        assert np.abs(a['probs'] - b['probs']).max() < 1e-3
    # Masks do not tell which classes were allowed, so all must fit.
    for tags in (None, dict(TAGS, c3=['dog'])):
        with pytest.raises(ValueError, match='(?s)other settings'):
            model(images, tags, out_dir=out)
    assert stamps(out) == before
    model(images, dict(TAGS, c3=['dog']), out_dir=out, overwrite=True)
    assert stamps(out) != before
    with pytest.raises(ValueError, match='without a threshold'):
        model(images, threshold=0.5)


@pytest.mark.parametrize('model,what', [
    (dict(
        type='mmwsss.AMN',
        backbone=dict(
            type='ResNet', depth=18, num_stages=2, out_indices=(1, ),
            strides=(1, 2), dilations=(1, 1)),
        cls_head=dict(
            type='mmwsss.LabelConditionedHead', num_classes=2,
            in_channels=128, dilations=(1, 2))), 'seed masks'),
    ('configs/affinity/affinitynet_small_shapes.py', 'CAMs'),
])
def test_later_stages_are_refused(model, what, home, tmp_path):
    cfg = Config.fromfile(home[2])
    if isinstance(model, str):
        cfg = Config.fromfile(ROOT / model)
    else:
        cfg.model = model
    with pytest.raises(ValueError, match=f'needs {what} of an earlier stage'):
        CAMInferencer(cfg, device='cpu')


def test_pipelines_that_read_more_are_refused(home):
    cfg = Config.fromfile(home[2])
    steps = cfg.test_dataloader.dataset.pipeline
    steps.insert(1, dict(type='mmwsss.LoadCAMs'))
    with pytest.raises(ValueError, match='nothing else; it loads with .*CAMs'):
        CAMInferencer(cfg, home[3], 'cpu')
    cfg.pop('test_dataloader')
    with pytest.raises(ValueError, match='model.py has no test_dataloader'):
        CAMInferencer(cfg, home[3], 'cpu')


def test_masks_and_saliency_are_not_needed(home, inferencer):
    """A test pipeline that loads them serves images without them."""
    cfg = Config.fromfile(home[2])
    steps = cfg.test_dataloader.dataset.pipeline
    assert any(step.type == 'mmwsss.LoadMask' for step in steps)
    steps.insert(2, dict(type='mmwsss.LoadSaliency'))
    model = CAMInferencer(cfg, home[3], 'cpu', show_progress=False)
    a, b = (
        m(home[1] / 'a1.jpg', ['cat'])['predictions'][0]
        for m in (model, inferencer))
    assert np.array_equal(a['cams'], b['cams'])


def test_class_names(home, tmp_path):
    cfg = Config.fromfile(home[2])
    model = CAMInferencer(cfg, home[3], 'cpu')
    assert model.classes == ('background', 'cat', 'dog')
    assert model.palette == [(0, 0, 0), (128, 0, 0), (0, 128, 0)]
    # A data set that has them in its class, but others than the model.
    dataset = cfg.test_dataloader.dataset
    dataset.pop('metainfo')
    dataset.type = 'mmwsss.VOCImageLevelDataset'
    with pytest.raises(ValueError, match='2 classes, its test data 20'):
        CAMInferencer(cfg, home[3], 'cpu')
    # None at all: those of the file of tags, where it is there.
    dataset.type = 'mmwsss.ImageLevelDataset'
    model = CAMInferencer(cfg, home[3], 'cpu')
    assert model.classes == ('background', 'cat', 'dog')
    # Then those of the checkpoint, then nobody's.
    dataset.data_root = str(tmp_path / 'elsewhere')
    with pytest.raises(ValueError, match='what the classes are called'):
        CAMInferencer(cfg, home[3], 'cpu')
    content = torch.load(home[3], weights_only=True)
    content['meta'] = dict(
        dataset_meta=dict(classes=('background', 'sun', 'moon')))
    torch.save(content, tmp_path / 'x.pth')
    model = CAMInferencer(cfg, tmp_path / 'x.pth', 'cpu')
    assert model.classes == ('background', 'sun', 'moon')
    assert len(model.palette) == 3


def test_configs_by_name(monkeypatch, caplog):
    monkeypatch.chdir(ROOT)
    with caplog.at_level('WARNING', logger='mmengine'):
        model = CAMInferencer('cam_vit_shapes', device='cpu')
    assert len(model.classes) == 7
    prediction, = model(
        picture(), ['ring'], show_progress=False)['predictions']
    assert prediction['cams'].shape == (1, 20, 30)
    with pytest.raises(FileNotFoundError, match='cam_vit_shapes.py'):
        CAMInferencer('cam_vit_shape', device='cpu')
    for device in ('cuda:99', 'gpu'):
        with pytest.raises(ValueError, match=f'Device {device} cannot be'):
            CAMInferencer('cam_vit_shapes', device=device)
    with pytest.raises(FileNotFoundError, match='no config .*nope.py'):
        CAMInferencer(Path('configs') / 'cam' / 'nope.py', device='cpu')
    with pytest.raises(ValueError, match='needs a config'):
        CAMInferencer(None, 'x.pth')


def test_checkpoints(home, tmp_path):
    config = home[2]
    with pytest.raises(FileNotFoundError, match='no checkpoint'):
        CAMInferencer(config, tmp_path / 'x.pth', 'cpu')
    torch.save(dict(state_dict={'w': torch.ones(1)}), tmp_path / 'x.pth')
    with pytest.raises(ValueError, match='another architecture'):
        CAMInferencer(config, tmp_path / 'x.pth', 'cpu')
    # A work folder means its last checkpoint.
    (tmp_path / 'run').mkdir()
    Path(home[3]).rename(tmp_path / 'run' / 'epoch_1.pth')
    try:
        (tmp_path / 'run' / 'last_checkpoint').write_text('epoch_1.pth')
        model = CAMInferencer(config, tmp_path / 'run', 'cpu')
        assert Path(model.checkpoint) == tmp_path / 'run' / 'epoch_1.pth'
    finally:
        (tmp_path / 'run' / 'epoch_1.pth').rename(home[3])
    # No initial weights are looked for where a checkpoint is given.
    cfg = Config.fromfile(config)
    cfg.model.backbone.init_cfg = dict(
        type='Pretrained', checkpoint='nowhere.pth')
    CAMInferencer(cfg, home[3], 'cpu')
    with pytest.raises(FileNotFoundError, match='start from nowhere.pth'):
        CAMInferencer(cfg, device='cpu')
