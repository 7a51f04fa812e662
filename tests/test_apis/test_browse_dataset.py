"""Pictures of training samples, from tensors to the page."""
import runpy

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

from mmwsss.apis.browse_dataset import (
    browse_dataset,
    count_tags,
    fit_mask,
    input_picture,
    sample_pictures,
    spread,
)
from mmwsss.datasets import ImageLevelDataset
from mmwsss.pseudo_labels.cam_file import write_cam
from mmwsss.pseudo_labels.mask_file import write_mask

from ..test_datasets.builders import METAINFO, make_voc
from ..test_tools import ROOT, python
from ..test_visualization.test_gallery import Page

TOOL = ROOT / 'tools/analysis_tools/browse_dataset.py'
PALETTE = METAINFO['palette']
CLASSES = METAINFO['classes']
LABELS = {'a': (0, ), 'b': (0, 1), 'c': ()}
CONFIG = """
default_scope = 'mmseg'
train_dataloader = dict(dataset=dict(
    type='mmwsss.ImageLevelDataset', data_root={root!r},
    ann_file='ImageSets/Segmentation/train.txt', labels_file='labels.json',
    metainfo={metainfo!r}, cam_dir={root!r} + '/../cams',
    mask_dir={root!r} + '/../seeds', pipeline=[
        dict(type='mmwsss.LoadImage', to_float32=True), {steps}
        dict(type='RandomFlip', prob=0.5),
        dict(type='mmwsss.PackWSSSInputs')]))
test_dataloader = dict(dataset=dict(
    train_dataloader['dataset'], with_masks='auto', pipeline=[
        dict(type='mmwsss.LoadImage'), dict(type='mmwsss.LoadMask'),
        dict(type='mmwsss.PackWSSSInputs')]))
test_evaluator = dict(type='mmwsss.CAMIoUMetric')
"""


def arguments(*args):
    return vars(
        runpy.run_path(str(TOOL))['parse_args']([str(a) for a in args]))


@pytest.fixture
def config(tmp_path):
    make_voc(tmp_path / 'voc', LABELS, size=(20, 30))

    def write(steps='', **metainfo):
        path = tmp_path / 'toy_config.py'
        path.write_text(CONFIG.format(
            root=str(tmp_path / 'voc'), metainfo=dict(METAINFO, **metainfo),
            steps=steps))
        return path

    return write


def test_network_input_is_shown_as_it_is():
    inputs = torch.tensor([[[-3., 300.]], [[1.4, 1.6]], [[9., 10.]]])
    picture = input_picture(inputs)
    assert picture.dtype == np.uint8
    assert picture.tolist() == [[[0, 1, 9], [255, 2, 10]]]
    assert input_picture(inputs.byte()).shape == (1, 2, 3)


def test_masks_are_fitted_to_the_nearest():
    mask = np.array([[0, 255], [3, 7]], np.uint8)
    assert fit_mask(mask, (2, 2)) is mask
    assert fit_mask(mask, (4, 6)).tolist() == np.kron(
        mask, np.ones((2, 3), int)).tolist()


def sample(**fields):
    packed = SegDataSample()
    for name, value in fields.items():
        packed.set_data({name: value})
    return dict(inputs=torch.full((3, 4, 6), 100.), data_samples=packed)


def pixels(array):
    return PixelData(data=torch.as_tensor(np.asarray(array))[None])


def test_all_that_a_sample_holds():
    from mmengine.structures import LabelData
    mask = np.zeros((4, 6), np.int64)
    mask[0], mask[1] = 2, 255
    valid = np.ones((4, 6), bool)
    valid[:, 3:] = False
    masks = np.zeros((2, 4, 6), bool)
    masks[0, 0], masks[1, 1] = True, True
    packed = sample(
        gt_label=LabelData(label=torch.tensor([1])),
        gt_sem_seg=pixels(mask),
        seed_sem_seg=pixels(mask * 0),
        valid_mask=pixels(valid),
        gt_saliency=pixels(mask > 0),
        cams=torch.full((1, 2, 3), 0.5),
        class_ids=torch.tensor([1]),
        gt_instances=InstanceData(
            masks=torch.from_numpy(masks), labels=torch.tensor([1, 1])))
    pictures = sample_pictures(packed, CLASSES, PALETTE)
    assert [caption for _, caption in pictures] == [
        'network input, 4 x 6, 50% padding', 'mask to learn, 25% ignored',
        'seeds, 0% ignored', 'saliency', 'map of dog, max 0.50', '2 objects']
    for picture, _ in pictures:
        assert picture.shape == (4, 6, 3) and picture.dtype == np.uint8
    shown = pictures[1][0]
    # Dogs are green; the background stays grey.
    assert shown[0, 0, 1] > shown[0, 0, 2] and shown[3, 0].tolist() == [
        100, 100, 100]
    assert (pictures[2][0] == 100).all()


def test_labels_that_count_the_classes_of_the_image():
    from mmengine.structures import LabelData
    packed = sample(
        gt_label=LabelData(label=torch.tensor([1])),
        gt_sem_seg=pixels([[1, 255]]))  # As small as AffinityNet's.
    shown = sample_pictures(packed, CLASSES, PALETTE,
                            local_labels=True)[1][0]
    plain = sample_pictures(packed, CLASSES, PALETTE)[1][0]
    assert shown.shape == (4, 6, 3)
    assert shown[0, 0, 1] > shown[0, 0, 2]  # A dog, green.
    assert plain[0, 0, 2] > plain[0, 0, 1]  # A cat, red.


def test_spread():
    assert spread(10, 3) == [0, 3, 6]
    assert spread(3, 10) == [0, 1, 2]
    assert len(set(spread(82081, 24))) == 24


def test_numbers_on_top(tmp_path):
    make_voc(tmp_path, LABELS)
    dataset = ImageLevelDataset(
        data_root=str(tmp_path), labels_file='labels.json', metainfo=METAINFO)
    assert count_tags(dataset, CLASSES) == {
        'images': 3, 'tags per image': 1., 'images without tag': 1,
        'images of cat': 2, 'images of dog': 1}


def test_page(config, tmp_path):
    page = browse_dataset(**arguments(config(), '--out', tmp_path / 'page'))
    found = Page(page.read_text())
    assert [t for t in found.texts if t in ('a: cat', 'b: cat, dog',
                                            'c: no tag')] == [
        'a: cat', 'b: cat, dog', 'c: no tag']
    assert found.texts.count('network input, 20 x 30') == 6
    assert 'a.jpg, 20 x 30' in found.texts
    files = sorted((tmp_path / 'page/images').glob('*.jpg'))
    assert len(files) == 9
    # A flipped view is the mirrored file.
    one, views = cv2.imread(str(files[0])), [
        cv2.imread(str(f)) for f in files[1:3]]
    for view in views:
        near = [np.abs(view.astype(int) - x).mean()
                for x in (one, one[:, ::-1])]
        assert min(near) < 15 < max(near)
    # The same seed draws the same, another one not everything.
    again = browse_dataset(**arguments(config(), '--out', tmp_path / 'again'))
    other = browse_dataset(**arguments(config(), '--out', tmp_path / 'other',
                                     '--seed', 4, '--views', 8))

    def pictures(page):
        return [f.read_bytes()
                for f in sorted((page.parent / 'images').iterdir())]

    assert pictures(again) == pictures(page)
    assert len(set(pictures(other)[1:9])) == 2


@pytest.mark.parametrize('wrapper', ['ConcatDataset', 'RepeatDataset'])
def test_wrapped_data(config, tmp_path, wrapper):
    cfg = Config.fromfile(config())
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(
        type='ConcatDataset', datasets=[inner, inner]) \
        if wrapper == 'ConcatDataset' else dict(
            type=wrapper, times=2, dataset=inner)
    cfg.dump(tmp_path / 'x.py')
    page = browse_dataset(**arguments(tmp_path / 'x.py', '--out',
                                      tmp_path / 'page', '--number', 6))
    texts = Page(page.read_text()).texts
    assert texts.count('b: cat, dog') == 2 and '6' in texts


def test_raw_and_test_images(config, tmp_path):
    out = tmp_path / 'page'
    browse_dataset(**arguments(config(), '--out', out, '--raw', '--number', 2))
    texts = Page((out / 'index.html').read_text()).texts
    assert 'a.jpg, 20 x 30' in texts
    assert not any('network input' in t or 'mask' in t for t in texts)
    browse_dataset(**arguments(config(), '--out', out, '--test-images'))
    texts = Page((out / 'index.html').read_text()).texts
    # A row of 30 of 600 pixels is ignored.
    assert texts.count('true mask, 5% ignored') == 3
    browse_dataset(**arguments(config(), '--out', out, '--test-images',
                             '--raw'))
    assert 'true mask' in Page((out / 'index.html').read_text()).texts
    assert len(list((out / 'images').iterdir())) == 6
    # Without masks the images are shown all the same.
    browse_dataset(
        **arguments(config(), '--out', out, '--test-images', '--cfg-options',
                  'test_dataloader.dataset.data_prefix.seg_map_path=x'))
    texts = Page((out / 'index.html').read_text()).texts
    assert texts.count('network input, 20 x 30') == 3


def test_what_earlier_stages_made(config, tmp_path):
    for img_id, classes in LABELS.items():
        write_mask(tmp_path / 'seeds', img_id, np.ones((20, 30), np.uint8))
        write_cam(tmp_path / 'cams', img_id, classes,
                  np.full((len(classes), 20, 30), 0.25, np.float32), (20, 30))
    steps = ("dict(type='mmwsss.LoadPseudoMask'),"
             "dict(type='mmwsss.LoadCAMs'),")
    browse_dataset(**arguments(config(steps), '--out', tmp_path / 'page',
                             '--views', 1))
    texts = Page((tmp_path / 'page/index.html').read_text()).texts
    assert texts.count('mask to learn, 0% ignored') == 3
    assert texts.count('map of cat, max 0.25') == 2
    assert texts.count('map of dog, max 0.25') == 1


def test_errors(config, tmp_path):
    with pytest.raises(ValueError, match='--number must be at least 1'):
        browse_dataset(**arguments(config(), '--number', 0))
    with pytest.raises(ValueError, match='has no train_dataloader'):
        browse_dataset(**arguments(ROOT / 'configs/cam/pipeline_shapes.py'))
    (tmp_path / 'voc/JPEGImages/b.jpg').write_bytes(b'no image')
    with pytest.raises(ValueError, match="'b'.*corrupt or no image"):
        browse_dataset(**arguments(config(), '--out', tmp_path / 'page'))
    assert not (tmp_path / 'page/index.html').exists()


@pytest.mark.slow
def test_tool(config, tmp_path):
    done = python(TOOL, config(), '--out', tmp_path / 'page', '--number', 1)
    assert (tmp_path / 'page/index.html').is_file()
    done = python(TOOL, tmp_path / 'none.py', check=False)
    assert done.returncode == 1 and 'Traceback' not in done.stderr
    assert 'error: There is no config' in done.stderr
