import io

import cv2
import numpy as np
import pytest
from PIL import Image

from mmwsss.datasets.transforms import LoadImage, LoadMask

from ..builders import save_mask

RNG = np.random.default_rng(0)
COLOUR = cv2.resize(
    RNG.integers(0, 256, (3, 4, 3), dtype=np.uint8), (40, 30))


def load(path, **kwargs):
    return LoadImage(**kwargs)(dict(img_path=str(path), img_id='im1'))


def test_plain(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), COLOUR)
    results = load(tmp_path / 'a.png')
    assert np.array_equal(results['img'], COLOUR)
    assert results['ori_shape'] == results['img_shape'] == (30, 40)
    results = load(tmp_path / 'a.png', to_float32=True)
    assert results['img'].dtype == np.float32
    assert 'img_id' not in LoadImage()(
        dict(img_path=str(tmp_path / 'a.png')))


def encode(kind):
    """File content and what it should become, BGR."""
    rgb = Image.fromarray(COLOUR[..., ::-1])
    buffer = io.BytesIO()
    if kind == 'grey jpeg':
        rgb.convert('L').save(buffer, 'jpeg', quality=98)
        return buffer, np.array(rgb.convert('L'))[..., None].repeat(3, 2)
    if kind == 'cmyk jpeg':
        rgb.convert('CMYK').save(buffer, 'jpeg', quality=98)
    elif kind == '16 bit':
        wide = COLOUR[..., 0].astype(np.uint16) * 257
        buffer.write(cv2.imencode('.png', wide)[1].tobytes())
        return buffer, COLOUR[..., :1].repeat(3, 2)
    elif kind == 'rgba':
        rgba = rgb.convert('RGBA')
        rgba.putalpha(255)
        rgba.save(buffer, 'png')
    elif kind == 'palette':
        rgb.convert('P', palette=Image.ADAPTIVE).save(buffer, 'png')
    elif kind == 'bmp':
        rgb.save(buffer, 'bmp')
    return buffer, COLOUR


@pytest.mark.parametrize(
    'kind', ['grey jpeg', 'cmyk jpeg', '16 bit', 'rgba', 'palette', 'bmp'])
def test_formats(tmp_path, kind):
    buffer, wanted = encode(kind)
    path = tmp_path / 'image'
    path.write_bytes(buffer.getvalue())
    image = load(path)['img']
    assert image.shape == (30, 40, 3) and image.dtype == np.uint8
    difference = np.abs(image.astype(int) - wanted.astype(int))
    assert difference.mean() < 6


def test_orientation_tag_is_ignored(tmp_path):
    # Masks belong to the stored pixels.
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(COLOUR).save(tmp_path / 'a.jpg', exif=exif)
    assert load(tmp_path / 'a.jpg')['img'].shape == (30, 40, 3)


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
@pytest.mark.parametrize('keep', [0, 10, 0.5, 0.95])
def test_truncated(tmp_path, suffix, keep):
    content = cv2.imencode(suffix, COLOUR)[1].tobytes()
    keep = int(keep * len(content)) if keep < 1 else keep
    path = tmp_path / f'a{suffix}'
    path.write_bytes(content[:keep])
    with pytest.raises(ValueError, match="'im1'.*corrupt or no image"):
        load(path)


def test_trailing_bytes_are_harmless(tmp_path):
    content = cv2.imencode('.jpg', COLOUR)[1].tobytes()
    (tmp_path / 'a.jpg').write_bytes(content + b'\0' * 500)
    assert load(tmp_path / 'a.jpg')['img'].shape == (30, 40, 3)


def test_no_image(tmp_path):
    (tmp_path / 'a.jpg').write_text('<html>404</html>')
    with pytest.raises(ValueError, match="'im1'.*a.jpg"):
        load(tmp_path / 'a.jpg')
    with pytest.raises(FileNotFoundError, match="'im1': no file .*b.jpg"):
        load(tmp_path / 'b.jpg')


@pytest.mark.parametrize('size', [(1, 1), (10, 4000), (4000, 10)])
def test_extreme_sizes(tmp_path, size):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((*size, 3), np.uint8))
    assert load(tmp_path / 'a.png')['ori_shape'] == size


def mask_results(path, **kwargs):
    return dict(
        seg_map_path=str(path),
        img_id='im1',
        ori_shape=(3, 4),
        num_classes=2,
        **kwargs)


def test_mask(tmp_path):
    mask = np.array([[0, 1, 2, 255]] * 3, np.uint8)
    save_mask(tmp_path / 'm.png', mask)
    results = LoadMask()(mask_results(tmp_path / 'm.png', seg_fields=[]))
    # Indices, not the colours of the palette.
    assert np.array_equal(results['gt_seg_map'], mask)
    assert results['seg_fields'] == ['gt_seg_map']
    cv2.imwrite(str(tmp_path / 'grey.png'), mask)
    results = LoadMask()(mask_results(tmp_path / 'grey.png'))
    assert np.array_equal(results['gt_seg_map'], mask)


def test_bad_masks(tmp_path):
    path = tmp_path / 'm.png'
    save_mask(path, np.full((3, 4), 3))
    with pytest.raises(ValueError, match=r'image im1 holds \[3\].*1\.\.2'):
        LoadMask()(mask_results(path))
    save_mask(path, np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"'im1' is \(3, 4\).*\(4, 3\)"):
        LoadMask()(mask_results(path))
    cv2.imwrite(str(path), np.zeros((3, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="'im1'.*mode RGB.*not colours"):
        LoadMask()(mask_results(path))
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match="'im1'.*corrupt"):
        LoadMask()(mask_results(path))
    path.unlink()
    with pytest.raises(FileNotFoundError, match="'im1': no mask"):
        LoadMask()(mask_results(path))
    with pytest.raises(KeyError, match='with_masks=True'):
        LoadMask()(dict(img_id='im1'))
