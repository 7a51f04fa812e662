"""The page of a run: what it holds, and what it does in a browser."""
import base64
import json
import re
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmwsss.models.segmentors.cam_segmentor import cams_to_mask
from mmwsss.pseudo_labels.transforms.pseudo_masks import ThresholdMask
from mmwsss.visualization import RunPage
from mmwsss.visualization.run_page import (
    levels_to_mask,
    map_levels,
    picked_pixels,
    small_stage,
    threshold_steps,
)

from ..browser import browser  # noqa: F401
from .test_gallery import Page

CLASSES = ('background', 'cat', '<b>dog</b>', 'cow')
PALETTE = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
SETTINGS = 'model = dict(test_cfg=dict(threshold={threshold}))'


def data_of(path: Path) -> dict:
    """What a page holds."""
    text = re.search(r'<script type="application/json" id="data">(.*?)'
                     '</script>', path.read_text(), re.S)
    return json.loads(text[1])


def plane_of(text: str) -> np.ndarray:
    data = np.frombuffer(base64.b64decode(text), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)


def make_cams(size=(40, 60), num=3, seed=0) -> np.ndarray:
    """Maps with many ties, between classes and with thresholds."""
    rng = np.random.default_rng(seed)
    cams = rng.random((num, *size)).astype(np.float32)
    steps = threshold_steps(1 / 3)
    on_step = rng.random(cams.shape) < 0.5
    cams[on_step] = rng.choice(steps, on_step.sum())
    cams[:, rng.random(size) < 0.2] = np.float32(0.3)
    cams[1:, :5] = cams[0, :5]
    return cams


def image_iou(pred, gt) -> float:
    """Mean IoU in percent over the labels that either has."""
    counted = (gt != 255) & (pred != 255)
    pred, gt = pred[counted], gt[counted]
    return 100 * np.mean([
        np.sum((pred == c) & (gt == c)) / np.sum((pred == c) | (gt == c))
        for c in np.union1d(pred, gt)
    ])


def make(folder, num=6, size=(40, 60), **kwargs) -> RunPage:
    """Image i: a square of class i % 3, whose map leaks more and more."""
    page = RunPage(folder, CLASSES, PALETTE, 'A run', 0.3, SETTINGS,
                   **kwargs)
    for i in range(num):
        gt = np.zeros(size, np.uint8)
        gt[10:30, 10:30] = i % 3 + 1
        gt[:, -1] = 255
        cam = np.full((1, *size), 0.05 * min(i, 9), np.float32)
        cam[0, 10:30, 10:30] = 0.8
        crf = np.roll(gt, 5, axis=1)
        page.add(f'im{i}', np.full((*size, 3), 30 * i % 256, np.uint8),
                 {'CAM': ([i % 3], cam), '+ CRF': crf}, gt,
                 {CLASSES[i % 3 + 1]: 1 - 0.1 * min(i, 9)})
    return page


# ----------------------------------------------------------------- what it is
def test_every_threshold_is_exact():
    """Levels give the mask of the package, ties included."""
    cams, ids = make_cams(), [2, 0, 1]
    steps = threshold_steps(1 / 3)
    assert len(steps) == 102
    levels = map_levels(cams, steps)
    for k, step in enumerate([*(np.arange(101) / 100), 1 / 3]):
        k = int(np.searchsorted(steps, np.float32(step)))
        mask = levels_to_mask(levels, ids, k)
        expected = cams_to_mask(
            torch.from_numpy(cams), torch.tensor(ids), float(step))
        assert np.array_equal(mask, expected.numpy()), step
        results = dict(cams=cams, class_ids=np.array(ids), img_id='x')
        again = ThresholdMask(float(step)).transform(results)['pseudo_mask']
        assert np.array_equal(mask, again), step
    # At 0.3 nearly every second pixel is a tie with it.
    tied = cams.max(axis=0) == np.float32(0.3)
    assert tied.sum() > 300
    assert not levels_to_mask(levels, ids, 30)[tied].any()


def test_levels_of_odd_maps():
    assert map_levels(np.zeros((0, 2, 3)), threshold_steps()).shape == (
        0, 2, 3)
    assert map_levels(np.full((1, 1, 1), np.nan), threshold_steps()) == 128
    with pytest.raises(ValueError, match='128 thresholds do not fit'):
        map_levels(np.zeros((1, 1, 1)), np.arange(128) / 128)


def test_shown_pixels_are_pixels_of_the_mask():
    cams = make_cams((300, 500), 2)
    steps = threshold_steps()
    ids, levels = small_stage(([0, 1], cams), steps, 100)
    assert levels.shape == (2, 60, 100)
    full = cams_to_mask(
        torch.from_numpy(cams), torch.tensor([0, 1]), 0.3).numpy()
    pixels = np.ix_(*picked_pixels((300, 500), 100))
    assert np.array_equal(levels_to_mask(levels, ids, 30), full[pixels])
    assert np.array_equal(small_stage(full, steps, 100), full[pixels])
    # Pixels come from the middle of what they stand for; small ones stay.
    assert picked_pixels((2, 300), 100)[1][:2].tolist() == [1, 4]
    assert [x.tolist() for x in picked_pixels((2, 3), 9)] == [[0, 1],
                                                              [0, 1, 2]]


def test_page_holds_everything(tmp_path):
    plot = tmp_path / 'plot.png'
    cv2.imwrite(str(plot), np.zeros((4, 5, 3), np.uint8))
    path = make(tmp_path / 'p').write(
        dict(mIoU=50.126, name='a&b'), {'x & y': plot}, '1<2')
    assert [p.name for p in path.parent.iterdir()] == ['index.html']
    page = Page(path.read_text())
    assert [s[:22] for s in page.sources] == ['data:image/png;base64,']
    for text in ('50.13', 'a&b', '1<2', 'A run'):
        assert text in page.texts
    assert 'alt="x &amp; y"' in path.read_text()
    data = data_of(path)
    assert data['steps'][data['start']] == 0.3
    row = data['rows'][4]
    assert (row['id'], row['classes'], row['scores']) == ('im4', [1], {
        '<b>dog</b>': 0.6})
    levels = plane_of(row['stages']['CAM']['maps'])
    assert set(np.unique(levels)) == {128 + 20, 128 + 80}
    assert plane_of(row['gt']).shape == (40, 60)
    assert plane_of(row['stages']['+ CRF']['mask'])[15].tolist() == [
        0] * 4 + [255] + [0] * 10 + [2] * 20 + [0] * 25
    assert 'b' not in page.seen


def test_names_cannot_break_the_page(tmp_path):
    page = RunPage(tmp_path, CLASSES, PALETTE, '[[DATA]]</title><script>')
    page.add('../</script><img src=x>', np.zeros((4, 4, 3), np.uint8), {})
    path = page.write(note='[[KEY]]')
    assert [row['id'] for row in data_of(path)['rows']] == [
        '../</script><img src=x>']
    assert Page(path.read_text()).seen.count('script') == 2


def test_what_a_page_refuses(tmp_path):
    page = RunPage(tmp_path, CLASSES, PALETTE)
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match='Image x has a map of class 3'):
        page.add('x', image, {'CAM': ([3], np.ones((1, 4, 4)))})
    page = RunPage(tmp_path, CLASSES, PALETTE)
    with pytest.raises(ValueError, match='Image x has a mask of class 8'):
        page.add('x', image, {'m': np.full((4, 4), 9)})
    page.add('y', image, {})
    page.add('y', image, {}, group='val')
    with pytest.raises(ValueError, match='y is on the page already'):
        page.add('y', image, {})


def test_empty(tmp_path):
    path = RunPage(tmp_path, CLASSES, PALETTE).write()
    assert data_of(path)['rows'] == []


# ---------------------------------------------------------- what it does
@pytest.fixture
def look(browser, tmp_path):  # noqa: F811
    """Opens a page and fails if it complains."""

    def show(path, width=1440, height=900):
        browser.errors.clear()
        browser.open(path, width, height)
        return browser

    yield show
    browser.run('localStorage.clear()')
    assert browser.errors == []


DRAWN = "page.rows[0].card.querySelector('canvas')?.width > 1"
SHOWN = ("[...$('cards').children].filter(c => !c.hidden)"
         '.map(c => page.rows[c.dataset.index].id)')


def test_masks_in_the_browser_are_the_package_s(look, tmp_path):
    page = RunPage(tmp_path, CLASSES, PALETTE, threshold=1 / 3, longest=60)
    # The second one is shown with fewer pixels than it has.
    ids, sizes = [2, 0, 1], ((40, 60), (300, 200))
    cams = [make_cams(size) for size in sizes]
    for i, (size, one) in enumerate(zip(sizes, cams)):
        page.add(str(i), np.zeros((*size, 3), np.uint8), {'CAM': (ids, one)})
    page.add('empty', np.zeros((9, 9, 3), np.uint8),
             {'CAM': ([], np.zeros((0, 9, 9)))})
    b = look(page.write())
    for i, size in enumerate(sizes):
        found = b.run(
            f'''(async () => {{ const layer = page.rows[{i}].stages.CAM;
            const plane = await planeOf(layer);
            return page.steps.map((_, k) =>
              Array.from(maskOf(layer, plane, k)).join('')); }})()''')
        pixels = np.ix_(*picked_pixels(size, 60))
        thresholds = sorted([*(k / 100 for k in range(101)), 1 / 3])
        assert len(found) == len(thresholds)
        for text, threshold in zip(found, thresholds):
            mask = cams_to_mask(
                torch.from_numpy(cams[i]), torch.tensor(ids), threshold)
            assert text == ''.join(
                map(str, mask.numpy()[pixels].ravel())), threshold
    assert b.run('page.steps[state.step]') == pytest.approx(1 / 3, abs=1e-7)


def test_what_is_painted(look, tmp_path):
    b = look(make(tmp_path).write())
    b.wait(DRAWN)

    def colour(y, x):
        return b.run(f'''Array.from(page.rows[0].card.querySelector('canvas')
            .getContext('2d').getImageData({x}, {y}, 1, 1).data)''')

    assert colour(20, 20) == [128, 0, 0, 255]
    assert colour(2, 2) == [0, 0, 0, 0]
    assert colour(10, 20) == [255, 255, 255, 255]  # its outline
    assert b.run("getComputedStyle(document.querySelector('canvas'))"
                 '.opacity') == '0.6'
    b.press('o')
    assert b.run("getComputedStyle(document.querySelector('canvas'))"
                 '.opacity') == '0.5'
    # As a heat map everything is coloured, hot where the map is high.
    b.press('h')
    b.wait('state.heat')
    b.run('refresh(page.rows[0])')
    hot, cold = colour(20, 20), colour(2, 2)
    assert hot[0] > 200 and hot[2] < 60 and cold[3] == 255
    # Alone: no stage at all.
    b.press('0')
    b.run('refresh(page.rows[0])')
    assert b.run("document.querySelector('canvas').width") == 1


def test_threshold_and_stages_by_mouse_and_keys(look, tmp_path):
    b = look(make(tmp_path).write())
    text = "page.rows[5].card.querySelector('footer span').textContent"
    b.wait(f"{text}.includes('area')")
    assert 'area 17 %' in b.run(text)
    for _ in range(6):
        b.press('-')
    # 0.24 < 0.25: the leak is over the threshold.
    assert b.run("$('threshold-value').value") == '0.24'
    b.wait(f"{text}.includes('area 100 %')")
    b.press('+')
    b.wait(f"{text}.includes('area 17 %')")  # 0.25, a tie
    b.run("$('threshold').value = 81; $('threshold').dispatchEvent("
          "new Event('input'))")
    b.wait(f"{text}.includes('area 0 %')")
    b.press('2')
    assert b.run('state.stage') == '+ CRF'
    assert b.run("$('looks').hidden")
    b.run("document.querySelector('[data-stage=\"True mask\"]').click()")
    assert b.run('state.stage') == 'True mask'
    assert b.run("[...document.querySelectorAll('[aria-pressed=true]')]"
                 ".map(x => x.textContent).join()") == 'True mask,Mask'


def test_order_and_classes(look, tmp_path):
    page = make(tmp_path)
    b = look(page.write())
    assert b.run(SHOWN) == [f'im{i}' for i in range(6)]

    def order(name):
        b.run(f"$('order').value = '{name}'; state.order = '{name}'; "
              'arrange()')
        return b.run(SHOWN)

    b.press('2')
    found = b.run('''(async () => { const all = [];
        for (const row of page.rows) all.push((await measure(row)).iou);
        return all; })()''')
    gt = np.zeros((40, 60), np.uint8)
    gt[10:30, 10:30] = 1
    gt[:, -1] = 255
    assert found == pytest.approx([image_iou(np.roll(gt, 5, axis=1), gt)] * 6)
    b.press('1')
    b.run('setThreshold(20)')
    # Leaks from 0.25 on.
    assert order('iouUp')[0] == 'im5' and order('iouDown')[5] == 'im5'
    assert order('scoreUp') == [f'im{i}' for i in (5, 4, 3, 2, 1, 0)]
    assert order('areaDown')[0] == 'im5'
    assert b.run("$('again').hidden")
    b.press('+')
    assert not b.run("$('again').hidden")  # cards stay where they are
    assert order('data')[0] == 'im0'
    b.run("document.querySelector('#chips [data-label=\"1\"]').click()")
    assert b.run(SHOWN) == ['im1', 'im4']
    assert b.run("$('chips').textContent") == 'cat 2<b>dog</b> 2cow 2'
    # The others' pixels are not drawn.
    b.wait("page.rows[1].card.querySelector('canvas')?.width > 1")
    assert b.run('isPicked(1) && !isPicked(0)')


def test_marks_and_choice(look, tmp_path):
    b = look(make(tmp_path / 'p').write())
    b.wait(DRAWN)
    for key in ('ArrowRight', 'g', 'ArrowRight', 'b', 'ArrowRight', 'g', 'u',
                'ArrowRight', 'g', 'ArrowLeft', 'Enter'):
        b.press(key)
    assert b.run('state.large.id') == 'im2'
    b.wait("state.large.card.querySelectorAll('.views figure').length === 5")
    b.press('ArrowRight')
    assert b.run('state.large.id') == 'im3'
    b.press('Escape')
    assert b.run('state.large') is None
    assert b.run("document.activeElement.closest('.card').dataset.index"
                 ) == '3'
    for _ in range(3):
        b.press('-')
    assert b.run("$('status').textContent") == '6 images, 2 good, 1 bad'
    # They stay when the page is opened again.
    look(tmp_path / 'p/index.html')
    assert b.run("$('status').textContent") == '6 images, 2 good, 1 bad'
    b.run("$('only').value = 'bad'; $('only').dispatchEvent("
          "new Event('change'))")
    assert b.run(SHOWN) == ['im1']
    assert b.run("$('status').textContent").startswith('1 of 6 images')
    b.run("$('choose').click()")
    assert 'threshold=0.27' in b.run("$('choice-text').textContent")
    for name, lines in (('good', 'im0\nim3\n'),
                        ('kept', 'im0\nim2\nim3\nim4\nim5\n')):
        b.run(f"$('save-{name}').click()")
        file = b.downloads / f'{name}.txt'
        wait_for(file)
        assert file.read_text() == lines
        file.unlink()
    b.run("$('save-choice').click()")
    file = b.downloads / 'choice.py'
    wait_for(file)
    cfg = Config.fromfile(file)
    file.unlink()
    assert cfg.model.test_cfg.threshold == 0.27
    assert (cfg.good_images, cfg.bad_images) == (['im0', 'im3'], ['im1'])


def wait_for(path: Path) -> None:
    end = time.monotonic() + 20
    while not (path.is_file() and path.stat().st_size):
        assert time.monotonic() < end, f'{path} was not saved'
        time.sleep(0.05)


def test_pages_of_masks_and_groups(look, tmp_path):
    page = RunPage(tmp_path, CLASSES, PALETTE)
    image = np.zeros((8, 8, 3), np.uint8)
    page.add('a', image, {'walk': np.full((8, 8), 2)}, group='train')
    page.add('a', image, {'net': np.full((8, 8), 255)}, group='val')
    b = look(page.write())
    assert b.run("$('threshold-box').hidden && $('looks').hidden")
    assert not b.run("$('group-box').hidden")
    assert b.run("[...$('stages').children].map(x => x.textContent)") == [
        'Photo', 'walk']
    assert 'threshold' not in b.run('choiceText()')
    b.run("setGroup('val')")
    assert b.run("[...$('stages').children].map(x => x.textContent)") == [
        'Photo', 'net']
    assert b.run("$('status').textContent") == '1 images, 0 good, 0 bad'


@pytest.mark.parametrize('width, columns', [(390, 1), (1440, 5)])
def test_fits_phone_and_desk(look, tmp_path, width, columns):
    b = look(make(tmp_path, 300, size=(30, 40)).write(note='A ' * 200), width)
    b.wait(DRAWN)
    assert b.run('document.documentElement.scrollWidth') == width
    tops = b.run("[...$('cards').children].map("
                 'c => c.getBoundingClientRect().top)')
    assert tops.count(tops[0]) == columns
    # Most of the window is for pictures.
    assert b.run("$('bar').offsetHeight") < 200
    # Pictures far away are not made yet.
    assert 0 < b.run("document.querySelectorAll('canvas').length") < 60
    b.run('page.rows[250].card.scrollIntoView()')
    b.wait("page.rows[250].card.querySelector('canvas')?.width > 1")
