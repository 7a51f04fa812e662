"""The page and its pictures."""
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from mmwsss.visualization import Gallery, image_iou

CLASSES = ('background', 'cat', '<b>dog</b>')
PALETTE = [[0, 0, 0], [128, 0, 0], [0, 128, 0]]
IMAGE = np.full((40, 60, 3), 100, np.uint8)


class Page(HTMLParser):
    """Checks that tags close and collects links and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.sources, self.seen, self.texts = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in ('img', 'meta', 'input'):
            self.open.append(tag)
        self.sources += [v for k, v in attrs if k in ('src', 'href')]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def make(folder, num=2) -> Gallery:
    gallery = Gallery(folder, CLASSES, PALETTE)
    for i in range(num):
        gt = np.zeros((40, 60), np.uint8)
        gt[:20] = 1
        gallery.add(f'im{i}', IMAGE, gt, [0, 1],
                    np.full((2, 40, 60), 0.25 * i, np.float16),
                    np.roll(gt, i, axis=0))
    return gallery


def test_page(tmp_path):
    path = make(tmp_path).write_html(dict(mIoU=50.126, name='a&b'), note='1<2')
    assert path == tmp_path / 'index.html'
    page = Page(path.read_text())
    assert len(page.sources) == 2 * 5
    for source in page.sources:
        assert re.fullmatch(r'images/\d{5}\.jpg', source)
        assert cv2.imread(str(tmp_path / source)).shape == IMAGE.shape
    for text in ('50.13', 'a&b', '1<2', '<b>dog</b>, max 0.25', 'image',
                 'ground truth', 'predicted mask', 'cat, max 0.00'):
        assert text in page.texts
    assert page.seen.count('section') == 2
    assert 'b' not in page.seen
    # Row 0 is right everywhere, row 1 is not; both are sortable.
    ious = re.findall(r'data-iou="([\d.-]+)"', path.read_text())
    assert float(ious[0]) == 100 and 80 < float(ious[1]) < 100


def test_any_pictures(tmp_path):
    gallery = Gallery(tmp_path, CLASSES, PALETTE)
    for name in ('a < b', 'c'):
        gallery.add_pictures(name, [(IMAGE, 'left'), (IMAGE[:, :30], 'right')])
    gallery.add('not scored', IMAGE, pred=np.zeros((40, 60), int))
    path = gallery.write_html()
    page = Page(path.read_text())
    assert 'a < b' in page.texts and page.texts.count('right') == 2
    assert [cv2.imread(str(tmp_path / s)).shape[1]
            for s in page.sources] == [60, 30, 60, 30, 60, 60]
    # Nothing to sort by.
    assert 'script' not in page.seen
    cv2.imwrite(str(tmp_path / 'plot.png'), IMAGE)
    gallery.write_html(plots={'a & b': tmp_path / 'plot.png'})
    assert 'alt="a &amp; b"' in path.read_text()
    assert (tmp_path / 'images/plot.png').is_file()


def test_empty(tmp_path):
    page = Page(Gallery(tmp_path, CLASSES, PALETTE).write_html().read_text())
    assert 'No images.' in page.texts
    assert page.sources == [] and 'script' not in page.seen


def test_rows_without_everything(tmp_path):
    gallery = Gallery(tmp_path, CLASSES, PALETTE)
    gallery.add('plain', IMAGE)
    gallery.add('class-less', IMAGE, np.zeros((40, 60), int), [],
                np.zeros((0, 40, 60)), np.zeros((40, 60), int))
    gallery.add('ignored', IMAGE, np.full((40, 60), 255),
                pred=np.zeros((40, 60), int))
    text = gallery.write_html().read_text()
    assert re.findall(r'data-iou="([\d.-]+)"', text) == [
        '-1.0000', '100.0000', '-1.0000']


def test_names_are_escaped(tmp_path):
    gallery = Gallery(tmp_path, CLASSES, PALETTE, title='<script>x</script>')
    gallery.add('../<img src=x>"\'', IMAGE)
    page = Page(gallery.write_html().read_text())
    assert page.sources == ['images/00000.jpg']
    assert 'script' not in page.seen
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        'images', 'index.html']


def test_plots_are_copied(tmp_path):
    plots = {name: tmp_path / f'{name}.png' for name in ('curve', 'history')}
    for i, path in enumerate(plots.values()):
        cv2.imwrite(str(path), IMAGE[:20 + i])
    text = make(tmp_path / 'g').write_html(plots=plots).read_text()
    for name, path in plots.items():
        assert (tmp_path / f'g/images/{name}.png').read_bytes() == \
            path.read_bytes()
        assert f'<img src="images/{name}.png" alt="{name}">' in text


def test_older_pictures_go(tmp_path):
    make(tmp_path, 3).write_html()
    (tmp_path / 'images' / 'mine.jpg').write_text('kept')
    make(tmp_path, 1).write_html()
    assert sorted(p.name for p in (tmp_path / 'images').iterdir()) == [
        *(f'{i:05d}.jpg' for i in range(5)), 'mine.jpg']


def test_shapes(tmp_path):
    gallery = Gallery(tmp_path, CLASSES, PALETTE, longest=100)
    for size in ((1, 1), (10, 4000)):
        gallery.add('x', np.zeros((*size, 3), np.uint8), None, [1],
                    np.ones((1, *size)))
    gallery.write_html()
    assert cv2.imread(str(tmp_path / 'images/00003.jpg')).shape == (1, 100, 3)


def test_unknown_class(tmp_path):
    with pytest.raises(ValueError, match='Image x has a map of class 2'):
        Gallery(tmp_path, CLASSES, PALETTE).add('x', IMAGE, None, [2],
                                                np.ones((1, 40, 60)))


def test_image_iou():
    gt = np.array([[0, 0, 1, 255]])
    assert image_iou(np.array([[0, 1, 1, 2]]), gt) == 50
    assert np.isnan(image_iou(gt, np.full((1, 4), 255)))
    # What a mask leaves open is not wrong: 0 of 1 and 1 of 2 remain.
    assert image_iou(np.array([[255, 1, 1, 2]]), gt) == 25
