import io
from unittest import mock

import cv2
import numpy as np
import pytest
from PIL import Image

from mmwsss.datasets.transforms import (
    LoadImage,
    LoadMask,
    LoadSaliency,
    PackWSSSInputs,
    PlaceCrop,
    RandomFlip,
    RandomLongSideResize,
    RandomRescale,
    SquareResize,
)
from mmwsss.registry import TRANSFORMS
from tests.test_datasets.builders import save_mask

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


# ------------------------------------------------------------------ saliency
MAP = np.zeros((30, 40), np.uint8)
MAP[5:20, 8:30] = RNG.integers(1, 256, (15, 22))


def saliency(path, threshold=0, **results):
    return TRANSFORMS.build(
        dict(type='mmwsss.LoadSaliency', threshold=threshold))(
            dict(img_id='im1', saliency_path=str(path), **results))


@pytest.mark.parametrize('mode', ['L', 'RGB', 'P', '1'])
def test_saliency_formats(tmp_path, mode):
    grey = Image.fromarray(MAP)
    if mode == 'P':
        grey.putpalette([i // 3 for i in range(768)])
    elif mode == '1':
        grey = Image.fromarray(MAP > 0)
    else:
        grey = grey.convert(mode)
    grey.save(tmp_path / 'a.png')
    results = saliency(tmp_path / 'a.png', ori_shape=(30, 40))
    assert results['gt_saliency'].dtype == np.uint8
    assert np.array_equal(results['gt_saliency'], MAP > 0)
    assert results['seg_fields'] == ['gt_saliency']


def test_saliency_threshold(tmp_path):
    Image.fromarray(MAP).save(tmp_path / 'a.png')
    found = saliency(tmp_path / 'a.png', threshold=100)['gt_saliency']
    assert np.array_equal(found, MAP > 100)
    # JPEG leaves traces beside an object.
    flat = np.where(MAP > 0, 255, 0).astype(np.uint8)
    Image.fromarray(flat).save(tmp_path / 'a.jpg', quality=70)
    assert not np.array_equal(saliency(tmp_path / 'a.jpg')['gt_saliency'],
                              flat > 0)
    found = saliency(tmp_path / 'a.jpg', threshold=127)['gt_saliency']
    assert np.array_equal(found, flat > 0)


@pytest.mark.parametrize('threshold, words', [
    (0, 'All of the image would be salient'),
    (None, 'EPS learns its grey levels'),
    (127, None),
])
def test_soft_maps_are_told_once(tmp_path, threshold, words):
    Image.fromarray(MAP // 2 + 51).save(tmp_path / 'soft.png')
    Image.fromarray(MAP).save(tmp_path / 'sharp.png')
    Image.fromarray(np.full_like(MAP, 255)).save(tmp_path / 'all.png')
    step = LoadSaliency(threshold=threshold)
    messages = []
    with mock.patch('mmwsss.datasets.transforms.load_images.print_log',
                    lambda message, **_: messages.append(message)):
        for name in ('sharp', 'all', 'soft', 'soft'):
            step(dict(img_id=name, saliency_path=f'{tmp_path}/{name}.png'))
    if words is None:
        assert not messages
    else:
        message, = messages
        assert "'soft'" in message and 'lowest value is 51' in message
        assert words in message and 'threshold=127' in message


def test_soft_saliency(tmp_path):
    Image.fromarray(MAP).save(tmp_path / 'a.png')
    found = saliency(tmp_path / 'a.png', threshold=None)['gt_saliency']
    assert found.dtype == np.float32
    assert np.array_equal(found, MAP.astype(np.float32) / 255)
    Image.fromarray(MAP > 0).save(tmp_path / 'b.png')
    found = saliency(tmp_path / 'b.png', threshold=None)['gt_saliency']
    assert np.array_equal(found, MAP > 0)


def test_saliency_errors(tmp_path):
    with pytest.raises(KeyError, match="'im1' comes without a saliency map"):
        LoadSaliency()(dict(img_id='im1'))
    with pytest.raises(FileNotFoundError, match="'im1': no saliency map"):
        saliency(tmp_path / 'none.png')
    Image.fromarray(MAP).save(tmp_path / 'a.png')
    with pytest.raises(ValueError, match=r"'im1' is \(40, 30\).*a.png is"):
        saliency(tmp_path / 'a.png', ori_shape=(40, 30))
    Image.fromarray(MAP.astype(np.uint16) * 200).save(tmp_path / 'wide.png')
    with pytest.raises(ValueError, match="'im1'.*wide.png has mode I;16"):
        saliency(tmp_path / 'wide.png')
    (tmp_path / 'cut.png').write_bytes(
        (tmp_path / 'a.png').read_bytes()[:100])
    with pytest.raises(ValueError, match="'im1'.*cut.png is corrupt"):
        saliency(tmp_path / 'cut.png')
    with pytest.raises(ValueError, match='threshold must lie'):
        LoadSaliency(threshold=255)


@pytest.mark.parametrize('step', [
    RandomLongSideResize(50, 60), RandomRescale(1.2, 1.6), PlaceCrop(36),
    RandomFlip(prob=1.)
])
def test_saliency_moves_with_the_image(tmp_path, step):
    """An image that shows its own saliency map, before and after."""
    flat = np.zeros((30, 40), np.uint8)
    flat[5:20, 8:30] = 255
    Image.fromarray(flat).save(tmp_path / 'a.png')
    results = LoadImage(to_float32=True)(
        dict(img_path=str(tmp_path / 'a.png'), img_id='im1'))
    results['saliency_path'] = str(tmp_path / 'a.png')
    np.random.seed(0)
    results = step(LoadSaliency()(results))
    shown = results['img'][..., 0]
    if isinstance(step, PlaceCrop):
        # Mean colour around the image, where nothing is salient.
        shown = np.where(results['valid_mask'], shown, 0)
    found = results['gt_saliency']
    assert found.shape == shown.shape and set(np.unique(found)) == {0, 1}
    # Interpolated borders aside.
    clear = (shown < 1) | (shown > 254)
    assert clear.mean() > .8
    assert np.array_equal(found[clear], shown[clear] > 254)
    if isinstance(step, RandomFlip):
        assert np.array_equal(found, flat[:, ::-1] > 0)


def test_saliency_stays_at_full_size_in_test_pipelines(tmp_path):
    Image.fromarray(MAP).save(tmp_path / 'a.png')
    results = SquareResize(64)(
        LoadImage()(dict(img_path=str(tmp_path / 'a.png'), img_id='im1')))
    results['saliency_path'] = str(tmp_path / 'a.png')
    sample = PackWSSSInputs()(LoadSaliency()(results))['data_samples']
    assert np.array_equal(sample.gt_saliency.data[0].numpy(), MAP > 0)
