"""A page of pictures."""
import re
from html.parser import HTMLParser

import cv2
import numpy as np

from mmwsss.visualization import Gallery

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


def make(folder, num=2, title='Pictures') -> Gallery:
    gallery = Gallery(folder, title)
    for i in range(num):
        gallery.add_pictures(f'<b>im{i}', [(IMAGE, 'left & right'),
                                           (IMAGE[:, :30], 'right')])
    return gallery


def test_page(tmp_path):
    path = make(tmp_path).write_html(dict(mIoU=50.126, name='a&b'), note='1<2')
    assert path == tmp_path / 'index.html'
    page = Page(path.read_text())
    for source in page.sources:
        assert re.fullmatch(r'images/\d{5}\.jpg', source)
    assert [cv2.imread(str(tmp_path / s)).shape[1]
            for s in page.sources] == [60, 30, 60, 30]
    for text in ('50.13', 'a&b', '1<2', '<b>im1', 'left & right'):
        assert text in page.texts
    assert page.seen.count('section') == 2
    assert 'b' not in page.seen


def test_empty(tmp_path):
    page = Page(Gallery(tmp_path, 'None').write_html().read_text())
    assert 'No images.' in page.texts
    assert page.sources == []


def test_names_are_escaped(tmp_path):
    gallery = Gallery(tmp_path, '<script>x</script>')
    gallery.add_pictures('../<img src=x>"\'', [(IMAGE, '"')])
    page = Page(gallery.write_html().read_text())
    assert page.sources == ['images/00000.jpg']
    assert 'script' not in page.seen
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        'images', 'index.html']


def test_plots_are_copied(tmp_path):
    plots = {name: tmp_path / f'{name}.png' for name in ('curve', 'a & b')}
    for i, path in enumerate(plots.values()):
        cv2.imwrite(str(path), IMAGE[:20 + i])
    text = make(tmp_path / 'g').write_html(plots=plots).read_text()
    for path in plots.values():
        assert (tmp_path / 'g/images' / path.name).read_bytes() == \
            path.read_bytes()
    assert '<img src="images/curve.png" alt="curve">' in text
    assert 'alt="a &amp; b"' in text


def test_older_pictures_go(tmp_path):
    make(tmp_path, 3).write_html()
    (tmp_path / 'images' / 'mine.jpg').write_text('kept')
    make(tmp_path, 1).write_html()
    assert sorted(p.name for p in (tmp_path / 'images').iterdir()) == [
        '00000.jpg', '00001.jpg', 'mine.jpg']


def test_shapes(tmp_path):
    gallery = Gallery(tmp_path, 'Shapes', longest=100)
    for size in ((1, 1), (10, 4000)):
        gallery.add_pictures('x', [(np.zeros((*size, 3), np.uint8), 'x')])
    gallery.write_html()
    assert cv2.imread(str(tmp_path / 'images/00001.jpg')).shape == (1, 100, 3)
