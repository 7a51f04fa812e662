"""Images and masks as people have them: noted, translated or refused."""
import io
import struct
import sys

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from mmwsss.apis.custom_config import configs_for
from mmwsss.apis.image_sources import find_images
from mmwsss.datasets import ImageLevelDataset
from mmwsss.datasets.custom import read_custom, write_custom
from mmwsss.utils import read_images as loading
from mmwsss.utils.read_images import read_image, read_mask

SIZE = (20, 30)


def noise(seed=0, size=SIZE, high=256):
    rng = np.random.default_rng(seed)
    return rng.integers(0, high, (*size, 3)).astype(
        np.uint8 if high <= 256 else np.uint16)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(path.suffix.lower(), array)
    path.write_bytes(data.tobytes())


def photos(folder, tags, suffix='.png', make=noise):
    """Images with a csv file: id -> tags."""
    for i, img_id in enumerate(tags):
        save(folder / f'{img_id}{suffix}', make(i))
    (folder / 'tags.csv').write_text(
        'image,tags\n' + ''.join(f'{i},{";".join(t)}\n'
                                 for i, t in tags.items()))
    return folder / 'tags.csv'


def masks(folder, values, suffix='.png', mode='L'):
    """A mask per id: the upper half holds its value."""
    folder.mkdir(parents=True, exist_ok=True)
    for img_id, value in values.items():
        mask = np.zeros(SIZE, np.uint8)
        mask[:10] = value
        path = folder / f'{img_id}{suffix}'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).convert(mode).save(path)
    return folder


DEFECTS = {f'{i:03d}': ['defect'] * (i % 2) for i in range(8)}
HALVES = {i: 255 * len(tags) for i, tags in DEFECTS.items()}


# --------------------------------------------------------------- binary masks
def test_masks_of_0_and_255_are_refused(tmp_path):
    tags = photos(tmp_path / 'photos', DEFECTS)
    gt = masks(tmp_path / 'gt', HALVES)
    with pytest.raises(ValueError) as error:
        read_custom(tags, masks=gt)
    for word in ("'defect' (value 1, 4 tagged", '255 in 4 mask',
                 "--mask-values '255=defect'"):
        assert word in str(error.value)


@pytest.mark.parametrize('mode', ['L', '1', 'RGB', 'RGBA', 'LA'])
def test_masks_of_0_and_255_are_translated(tmp_path, mode):
    tags = photos(tmp_path / 'photos', DEFECTS)
    gt = masks(tmp_path / 'gt', HALVES, mode=mode)
    data = read_custom(tags, masks=gt, mask_values=['255=defect'], val=0.3)
    write_custom(data, tmp_path / 'out')
    dataset = ImageLevelDataset(
        data_root=str(tmp_path / 'out'),
        ann_file='val.txt',
        labels_file='image_labels.json',
        img_suffix='any',
        with_masks=True,
        data_prefix=dict(img_path=str(data.images)))
    assert any(len(dataset[i]['gt_label']) for i in range(len(dataset)))
    for img_id, tags in DEFECTS.items():
        mask = read_mask(tmp_path / f'out/SegmentationClass/{img_id}.png', '')
        assert mask[:10].ravel().tolist() == [len(tags)] * 300
        assert not mask[10:].any()


def test_config_finds_translated_masks(tmp_path):
    data = read_custom(
        photos(tmp_path / 'photos', DEFECTS),
        masks=masks(tmp_path / 'gt', HALVES),
        mask_values=['255=defect'])
    assert set(data.translated) == set(DEFECTS)
    text, = configs_for(['configs/cam/cam_r50_custom.py'], tmp_path / 'out',
                        images=data.images, num_classes=1).values()
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/config.py').write_text(text)
    cfg = Config.fromfile(tmp_path / 'out/config.py')
    prefix = cfg.val_dataloader.dataset.data_prefix
    assert prefix.seg_map_path == 'SegmentationClass'


@pytest.mark.parametrize('values,message', [
    ([0, 100, 200], r'\[100, 200\] in that of image 001.*200=defect'),
    ([0, 255], "'255=defect'"),
])
def test_values_that_make_no_sense(tmp_path, values, message):
    tags = photos(tmp_path / 'photos', DEFECTS)
    gt = masks(tmp_path / 'gt', HALVES)
    mask = np.resize(np.array(values, np.uint8), SIZE)
    for img_id in ('001', '003', '005', '007'):
        Image.fromarray(mask).save(gt / f'{img_id}.png')
    with pytest.raises(ValueError, match=message):
        read_custom(tags, masks=gt)


def test_one_class_of_several_is_255(tmp_path):
    """The others can be measured, so only this one's values tell."""
    tags = {f'{i}': [['cat'], ['dog']][i % 2] for i in range(8)}
    gt = masks(tmp_path / 'gt', {i: {'cat': 1, 'dog': 255}[t[0]]
                                 for i, t in tags.items()})
    path = photos(tmp_path / 'photos', tags)
    with pytest.raises(ValueError, match="never show 'dog' .*'255=dog'"):
        read_custom(path, masks=gt)
    data = read_custom(path, masks=gt, mask_values=['1=cat', '255=dog'])
    write_custom(data, tmp_path / 'out')
    found = {read_mask(tmp_path / f'out/SegmentationClass/{i}.png', i).max()
             for i in tags}
    assert found == {1, 2}


def test_one_image_marked_255_alone(tmp_path):
    """One or two images may be chance, but not with such masks."""
    tags = {f'{i}': ['cat'] for i in range(6)} | {'d': ['dog']}
    path = photos(tmp_path / 'photos', tags)
    gt = masks(tmp_path / 'gt', dict(dict.fromkeys(tags, 1), d=0))
    note, = (n for n in read_custom(path, masks=gt).notes if 'No mask' in n)
    assert 'dog' in note
    masks(gt, dict(d=255))
    with pytest.raises(ValueError, match="never show 'dog' .*'255=dog'"):
        read_custom(path, masks=gt)


@pytest.mark.parametrize('entries,message', [
    (['255'], 'write VALUE=NAME'),
    (['300=defect'], 'in 0..255'),
    (['255=Defekt'], "no class 'Defekt' among background, ignore, defect"),
    (['255=defect', '255=ignore'], '255 is named twice'),
    (['254=defect'], "'255=defect'"),
])
def test_bad_mask_values(tmp_path, entries, message):
    tags = photos(tmp_path / 'photos', DEFECTS)
    gt = masks(tmp_path / 'gt', HALVES)
    with pytest.raises(ValueError, match=message):
        read_custom(tags, masks=gt, mask_values=entries)


# ---------------------------------------------------------------- good, defect
PARTS = {'good': ['000', '001', '002', '003'],
         'scratch': ['005', '006', '007']}


@pytest.fixture
def parts(tmp_path):
    """Folders of classes; masks of the defects only, of another name."""
    for tag, names in PARTS.items():
        for name in names:
            save(tmp_path / f'parts/{tag}/{name}.png', noise(int(name)))
    masks(tmp_path / 'gt',
          {f'scratch/{name}': 255 for name in PARTS['scratch']}, '_mask.png')
    return tmp_path


@pytest.mark.parametrize('name', [
    'good', 'OK', 'normal', 'No Finding', 'no_finding', 'none', 'defect-free'
])
def test_names_of_nothing_are_noted(tmp_path, name):
    for i in range(3):
        save(tmp_path / f'x/{name}/{i}.png', noise(i))
        save(tmp_path / f'x/scratch/{i}.png', noise(10 + i))
    data = read_custom(tmp_path / 'x')
    # Readers of tags leave the usual names out by themselves.
    how = '--no-class' if name in data.classes else 'is no class here'
    assert (name in data.classes) == (name == 'defect-free')
    note, = (n for n in data.notes if how in n)
    assert repr(name) in note and '3 image(s)' in note
    data = read_custom(tmp_path / 'x', no_class=[name])
    assert data.classes == ('scratch', )
    assert sum(not tags for tags in data.labels.values()) == 3
    assert not any('--no-class' in n for n in data.notes)
    with pytest.raises(ValueError, match="unknown tag 'nix'"):
        read_custom(tmp_path / 'x', no_class=['nix'])


@pytest.mark.parametrize('name', ['Tomato___healthy', 'OK parts',
                                  'normal_skin'])
def test_names_that_hold_a_name_of_nothing_are_noted(tmp_path, name):
    data = read_custom(photos(tmp_path, dict(a=['blight'], b=[name])))
    note, = (n for n in data.notes if '--no-class' in n)
    assert repr(name) in note and name in data.classes


def test_a_usual_class_is_not_noted(tmp_path):
    data = read_custom(photos(tmp_path, DEFECTS))
    assert not any('--no-class' in n for n in data.notes)


def test_masks_of_defects_alone(parts):
    data = read_custom(
        parts / 'parts',
        masks=parts / 'gt',
        no_class=['good'],
        mask_values=['255=scratch'])
    notes = '\n'.join(data.notes)
    assert "'_mask.png' behind the name" in notes
    assert '4 image(s) without any tag have no mask' in notes
    # All have a mask now, so all are trained on but the share.
    assert len(data.lists['val']) == 1 and len(data.lists['train']) == 6
    write_custom(data, parts / 'out')
    for img_id in data.labels:
        mask = read_mask(parts / f'out/SegmentationClass/{img_id}.png', '')
        assert mask.shape == SIZE
        assert mask.max() == img_id.startswith('scratch')


def test_an_error_of_masks_says_what_was_noted(parts):
    with pytest.raises(ValueError, match=r"(?s)255=scratch.*'good' \(4 image"):
        read_custom(parts / 'parts', masks=parts / 'gt')


def test_several_endings_of_masks(parts):
    masks(parts / 'gt', {f'scratch/{n}': 1 for n in PARTS['scratch']},
          '_other.png')
    ask = dict(masks=parts / 'gt', no_class=['good'],
               mask_values=['255=scratch'])
    with pytest.raises(FileNotFoundError, match='--mask-suffix'):
        read_custom(parts / 'parts', **ask)
    data = read_custom(parts / 'parts', mask_suffix='_mask.png', **ask)
    assert len(data.translated) == 7


def test_endings_in_capitals(parts):
    """Cameras and scanners write .PNG and .TIF, some beside .png."""
    for name in PARTS['scratch'][:2]:
        path = parts / f'gt/scratch/{name}_mask.png'
        path.rename(path.with_suffix('.PNG'))
    ask = dict(masks=parts / 'gt', no_class=['good'],
               mask_values=['255=scratch'])
    for suffix in (None, '_mask.png', '_mask.PNG'):
        data = read_custom(parts / 'parts', mask_suffix=suffix, **ask)
        assert len(data.translated) == 7
    (parts / 'gt/scratch/006_mask.png').write_bytes(b'')
    with pytest.raises(ValueError, match='would be masks of one image'):
        read_custom(parts / 'parts', **ask)


def test_images_without_mask_are_noted(tmp_path):
    tags = photos(tmp_path / 'photos', DEFECTS)
    gt = masks(tmp_path / 'gt', {'000': 0, '001': 1})
    note, = (n for n in read_custom(tags, masks=gt).notes if 'measured' in n)
    assert '2 of 8 image(s) have a mask' in note
    assert 'None has 002, 003, 004, 005, 006 and 1 more' in note


def test_validation_images_are_not_only_background(tmp_path):
    tags = {f'{i:02d}': ['cat'] * (i > 15) for i in range(20)}
    path = photos(tmp_path, tags)
    for seed in range(8):
        data = read_custom(path, seed=seed, check_images=False)
        assert any(data.labels[i] for i in data.lists['val'])


# -------------------------------------------------------------------- doubles
def test_one_picture_in_two_folders(tmp_path):
    for i in range(3):
        save(tmp_path / f'cat/{i}.png', noise(i))
        save(tmp_path / f'dog/{i}.png', noise(10 + i))
    for tag in ('cat', 'dog'):
        save(tmp_path / f'{tag}/both.png', noise(99))
    data = read_custom(tmp_path)
    assert len(data.labels) == 7
    assert data.labels['cat/both'] == (0, 1)
    note, = (n for n in data.notes if 'more than once' in n)
    assert 'cat/both = dog/both (cat, dog)' in note


def test_one_picture_without_a_check(tmp_path):
    """Files of the same bytes, and what nobody knows of one of them."""
    for i, name in enumerate('abcde'):
        save(tmp_path / f'{name}.png', noise(dict(b=0, d=2).get(name, i)))
    (tmp_path / 'tags.csv').write_text(
        'image,cat,dog\na,1,-1\nb,0,1\nc,1,-1\nd,0,0\ne,0,1\n')
    for check in (False, True):
        data = read_custom(tmp_path / 'tags.csv', check_images=check)
        assert data.labels == dict(a=(0, 1), c=(0, ), e=(1, ))
        assert data.labels.unknown == dict(c=(1, ))
        note, = (n for n in data.notes if 'more than once' in n)
        assert ('byte for byte' in note) == (not check)


# ---------------------------------------------------------------- deep pixels
TWO = {'a': ['cat'], 'b': ['dog'], 'c': ['cat', 'dog'], 'd': []}


def twelve_bit(seed):
    return noise(seed, high=4096)


def test_few_bits_are_noted(tmp_path):
    tags = photos(tmp_path, TWO, make=twelve_bit)
    data = read_custom(tags)
    note, = (n for n in data.notes if '16-bit' in n)
    assert '4 image(s)' in note and '12 bits' in note
    assert '--window 0 4095' in note
    data = read_custom(tags, window=(0, 4095))
    assert not any('16-bit' in n for n in data.notes)


def test_window_reaches_the_network(tmp_path):
    tags = photos(tmp_path, TWO, make=twelve_bit)
    steps = [dict(type='mmwsss.LoadImage'),
             dict(type='mmwsss.PackWSSSInputs')]
    facts = dict(data_root=str(tmp_path), labels_file=tags.name,
                 data_prefix=dict(img_path=''), img_suffix='any',
                 pipeline=steps)
    dark = ImageLevelDataset(**facts)[0]['inputs']
    bright = ImageLevelDataset(window=(0, 4095), **facts)[0]
    assert dark.max() == 15
    expected = np.rint(twelve_bit(0) * (255 / 4095))
    assert np.array_equal(bright['inputs'].permute(1, 2, 0), expected)
    # Whoever reads the file again must read it alike.
    assert bright['data_samples'].window == (0, 4095)
    text, = configs_for(['configs/cam/cam_r50_custom.py'], tmp_path / 'out',
                        images=tmp_path, num_classes=2,
                        window=(0., 4095.)).values()
    assert text.count('window=(') == 3


@pytest.fixture
def said(monkeypatch):
    """What reading says in the log."""
    lines = []
    monkeypatch.setattr(loading, '_SAID', set())
    monkeypatch.setattr(loading, 'print_log',
                        lambda text, *args, **kwargs: lines.append(text))
    return lines


def test_dark_images_are_noted_while_reading(tmp_path, said):
    """Also where nobody converted anything, once per folder."""
    save(tmp_path / 'a.png', noise(high=65536))
    read_image(tmp_path / 'a.png', 'a')
    assert not said
    for name in 'bc':
        save(tmp_path / f'{name}.png', twelve_bit(0))
        read_image(tmp_path / f'{name}.png', name)
    text, = said
    assert 'b.png' in text and 'nearly all of them up to 409' in text
    assert '--window LOW HIGH' in text


def test_broken_pixels_do_not_hide_darkness(tmp_path, said):
    """The brightest value of a camera or scanner says little."""
    image = noise(high=4096, size=(60, 80))
    image[0, :4] = 65535
    save(tmp_path / 'a.png', image)
    (tmp_path / 'tags.csv').write_text('image,tags\na,cat\n')
    read_image(tmp_path / 'a.png', 'a')
    assert 'nearly all of them up to 409' in said[0]
    save(tmp_path / 'b.png', image // 2)
    (tmp_path / 'tags.csv').write_text('image,tags\na,cat\nb,dog\n')
    note, = (n for n in read_custom(tmp_path / 'tags.csv').notes
             if '16-bit' in n)
    assert '(12 bits)' in note and '--window 0 4095' in note


def test_pages_are_noted_while_reading(tmp_path, said):
    pages = [Image.fromarray(noise(i)) for i in range(3)]
    for name in ('a.tif', 'b.gif', 'c.tif'):
        pages[0].save(tmp_path / name, save_all=name[0] != 'c',
                      append_images=pages[1:] if name[0] != 'c' else [])
    read_image(tmp_path / 'c.tif', 'c')
    assert not said
    for name in ('a.tif', 'b.gif'):
        read_image(tmp_path / name, name)
    text, = said
    assert 'a.tif holds 3 pages or frames' in text


@pytest.mark.parametrize('dtype,low,high', [
    (np.float32, 0.25, 0.75), (np.int32, 1000, 3000), (np.float64, -1, 1),
    (np.int16, -1000, 2000)
])
def test_numbers_that_are_no_grey_levels(tmp_path, dtype, low, high):
    ramp = np.linspace(low, high, 600).reshape(SIZE).astype(dtype)
    save(tmp_path / 'x.tif', ramp)
    with pytest.raises(ValueError) as error:
        read_image(tmp_path / 'x.tif', 'x')
    text = str(error.value)
    assert np.dtype(dtype).name in text and f'{low:g} to {high:g}' in text
    assert '--window LOW HIGH' in text and 'corrupt' not in text
    image = read_image(tmp_path / 'x.tif', 'x', (low, high))
    assert image.shape == (*SIZE, 3) and image.dtype == np.uint8
    expected = (ramp.astype(float) - low) / (high - low) * 255
    assert np.abs(image - expected[..., None]).max() <= 0.5
    with pytest.raises(ValueError, match='window is'):
        read_image(tmp_path / 'x.tif', 'x', (high, low))


def test_missing_values_are_black(tmp_path):
    save(tmp_path / 'x.tif', np.full(SIZE, np.nan, np.float32))
    # What becomes of NaN as uint8 is up to the processor.
    with np.errstate(all='raise'):
        assert not read_image(tmp_path / 'x.tif', 'x', (0, 1)).any()


def test_8_bits_have_no_window(tmp_path):
    save(tmp_path / 'x.png', noise())
    assert np.array_equal(
        read_image(tmp_path / 'x.png', 'x', (0, 10)), noise())


def test_16_bits_keep_their_upper_byte(tmp_path):
    image = noise(high=65536)
    save(tmp_path / 'x.png', image)
    assert np.array_equal(read_image(tmp_path / 'x.png', 'x'), image >> 8)


def multispectral(bands, bits=8, kind=1):
    """A TIFF file of bands, grey (kind 1) or colours (2), by hand."""
    height, width = SIZE
    data = bytes(height * width * bands * bits // 8)
    entries = [(256, 4, 1, width), (257, 4, 1, height),
               (258, 3, bands, 8 + len(data)), (259, 3, 1, 1),
               (262, 3, 1, kind), (273, 4, 1, 8), (277, 3, 1, bands),
               (278, 4, 1, height), (279, 4, 1, len(data)), (284, 3, 1, 1)]
    start = 8 + len(data) + 2 * bands
    out = io.BytesIO()
    out.write(struct.pack('<2sHI', b'II', 42, start) + data)
    out.write(struct.pack(f'<{bands}H', *[bits] * bands))
    out.write(struct.pack('<H', len(entries)))
    for entry in entries:
        out.write(struct.pack('<HHII', *entry))
    out.write(struct.pack('<I', 0))
    return out.getvalue()


@pytest.mark.parametrize('kind', [1, 2])
def test_more_than_four_bands(tmp_path, kind):
    (tmp_path / 'x.tif').write_bytes(multispectral(6, kind=kind))
    with pytest.raises(ValueError, match='6 bands'):
        read_image(tmp_path / 'x.tif', 'x')


@pytest.mark.parametrize('bands', [3, 4])
@pytest.mark.parametrize('bits', [8, 16])
def test_bands_that_are_no_colours(tmp_path, bands, bits):
    """OpenCV reads the first of them, or mixes them up."""
    (tmp_path / 'x.tif').write_bytes(multispectral(bands, bits))
    with pytest.raises(ValueError, match=f'{bands} bands, which it does not '
                       'call colours'):
        read_image(tmp_path / 'x.tif', 'x')


def test_a_fourth_band_is_noted(tmp_path):
    tags = photos(tmp_path, TWO)
    (tmp_path / 'a.png').unlink()
    infrared = np.dstack([noise(5), noise(6)[..., 0]])
    Image.frombytes('RGBX', SIZE[::-1], infrared.tobytes()).save(
        tmp_path / 'a.tif')
    note, = (n for n in read_custom(tags).notes if 'fourth band' in n)
    assert '1 image(s)' in note and ': a.' in note


def test_pages_and_transparency_are_noted(tmp_path):
    tags = photos(tmp_path, TWO)
    first, second = (Image.fromarray(noise(i)) for i in (5, 6))
    (tmp_path / 'a.png').unlink()
    first.save(tmp_path / 'a.tif', save_all=True, append_images=[second])
    clear = np.dstack([noise(7), np.full(SIZE, 255, np.uint8)])
    save(tmp_path / 'b.png', clear)
    clear[:5, :, 3] = 0
    save(tmp_path / 'c.png', clear)
    notes = read_custom(tags).notes
    pages, = (n for n in notes if 'pages' in n)
    assert '1 file(s)' in pages and pages.count('a.') <= 1 and ': a.' in pages
    transparent, = (n for n in notes if 'transparent' in n)
    assert '1 image(s)' in transparent and ': c.' in transparent


# -------------------------------------------------------------------- formats
def test_kinds_of_files(tmp_path):
    """What Pillow reads is read; what nobody reads is counted and named."""
    for i, name in enumerate(('a.jfif', 'b.gif', 'c.jp2')):
        Image.fromarray(noise(i)).save(
            tmp_path / name, {'.jfif': 'JPEG'}.get(name[1:]))
    (tmp_path / 'd.dcm').write_bytes(bytes(128) + b'DICM')
    (tmp_path / 'e.NEF').write_bytes(b'raw')
    (tmp_path / 'tags.csv').write_text(
        'image,tags\na.jfif,cat\nb,dog\nc.jp2,cat\nd.dcm,dog\n')
    data = read_custom(tmp_path / 'tags.csv')
    assert list(data.labels) == ['a', 'b', 'c']
    note, = (n for n in data.notes if 'not read' in n)
    assert '1 .dcm (d.dcm: DICOM' in note and '1 .nef (e.NEF' in note
    assert '1 of them have tags' in note
    assert [s.img_id for s in find_images(tmp_path)] == ['a', 'b', 'c']


def test_only_unread_files(tmp_path):
    (tmp_path / 'd.dcm').write_bytes(bytes(128) + b'DICM')
    (tmp_path / 'tags.csv').write_text('image,tags\nd.dcm,dog\n')
    with pytest.raises(ValueError, match='(?s)No image of .* is of a kind '
                       r'that is read here: 1 \.dcm \(d\.dcm: DICOM'):
        read_custom(tmp_path / 'tags.csv')


def test_heic(tmp_path, monkeypatch):
    """An optional reader is taught to Pillow, here one that reads PNG."""
    (tmp_path / 'pillow_heif.py').write_text(
        'import io\nfrom PIL import Image, PngImagePlugin\n'
        'class Heif(PngImagePlugin.PngImageFile):\n'
        '    format = "HEIF"\n'
        '    def _open(self):\n'
        '        self.fp = io.BytesIO(self.fp.read()[24:])\n'
        '        super()._open()\n'
        'def register_heif_opener():\n'
        '    Image.register_open(\n'
        '        "HEIF", Heif, lambda start: start[4:8] == b"ftyp")\n')
    monkeypatch.syspath_prepend(tmp_path)
    for name in ('pillow_heif', 'pi_heif'):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(Image, 'OPEN', {
        k: v for k, v in Image.OPEN.items() if k != 'HEIF'})
    monkeypatch.setattr(Image, 'ID', [i for i in Image.ID if i != 'HEIF'])
    stream = io.BytesIO()
    Image.fromarray(noise()[..., ::-1]).save(stream, 'png')
    (tmp_path / 'x.heic').write_bytes(
        bytes([0, 0, 0, 24]) + b'ftypheic' + bytes(12) + stream.getvalue())
    assert np.array_equal(read_image(tmp_path / 'x.heic', 'x'), noise())
    from mmwsss.utils import image_formats
    assert '.heic' in image_formats._readable()
    monkeypatch.delitem(sys.modules, 'pillow_heif')


def test_optional_reader(tmp_path, monkeypatch):
    heic = bytes([0, 0, 0, 24]) + b'ftypheic' + bytes(12)
    (tmp_path / 'x.heic').write_bytes(heic)
    from mmwsss.utils import image_formats
    if '.heic' in image_formats.IMAGE_SUFFIXES:
        pytest.skip('pillow-heif is there')
    with pytest.raises(ValueError, match='pip install pillow-heif'):
        read_image(tmp_path / 'x.heic', 'x')
    save(tmp_path / 'y.png', noise())
    (tmp_path / 'tags.csv').write_text('image,tags\nx,cat\n')
    with pytest.raises(ValueError, match='pillow-heif'):
        read_custom(tmp_path / 'tags.csv')


def test_avif(tmp_path):
    from PIL import features
    if 'avif' not in features.modules or not features.check('avif'):
        pytest.skip('this Pillow does not read AVIF')
    Image.fromarray(noise()).save(tmp_path / 'x.avif', quality=100)
    assert read_image(tmp_path / 'x.avif', 'x').shape == (*SIZE, 3)
    assert [s.img_id for s in find_images(tmp_path)] == ['x']


# ------------------------------------------------- what is near to the above
MIXED = {f'{i}': [['cat'], ['dog'], ['cat', 'dog']][i % 3] for i in range(12)}


def class_masks(folder, tags, value):
    """Halves of masks show the tags of their images."""
    for img_id, names in tags.items():
        mask = np.zeros(SIZE, np.uint8)
        for i, name in enumerate(names):
            mask[8 * i:8 * i + 8] = value[name]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(folder / f'{img_id}.png')
    return folder


def test_masks_that_number_classes_in_another_order(tmp_path):
    """Images of both classes show both numbers, whichever is whose."""
    tags = photos(tmp_path / 'photos', MIXED)
    gt = class_masks(tmp_path / 'gt', MIXED, dict(cat=2, dog=1))
    with pytest.raises(ValueError, match="never show 'cat' .*or these for "
                       'others'):
        read_custom(tags, masks=gt)
    data = read_custom(tags, masks=gt, mask_values=['2=cat', '1=dog'])
    assert not any('tags lack' in n for n in data.notes)
    right = class_masks(tmp_path / 'right', MIXED, dict(cat=1, dog=2))
    assert not read_custom(tags, masks=right).translated


def test_one_value_for_the_tag_of_each_image(tmp_path):
    """Programs for defects write 0 and 255, whatever defect it is."""
    tags = {f'{i}': [['dent'], ['scratch'], []][i % 3] for i in range(12)}
    path = photos(tmp_path / 'photos', tags)
    gt = masks(tmp_path / 'gt', {i: 255 * len(t) for i, t in tags.items()})
    with pytest.raises(ValueError, match="--mask-values '255=tag'"):
        read_custom(path, masks=gt)
    data = read_custom(path, masks=gt, mask_values=['255=tag'])
    write_custom(data, tmp_path / 'out')
    for i, names in tags.items():
        mask = read_mask(tmp_path / f'out/SegmentationClass/{i}.png', i)
        assert mask[:10].max() == {'': 0, 'dent': 1, 'scratch': 2}[
            ''.join(names)]
    both = dict(tags, **{'0': ['dent', 'scratch']})
    path = photos(tmp_path / 'photos', both)
    with pytest.raises(ValueError, match='image 0 .* it has 2, not one'):
        read_custom(path, masks=gt, mask_values=['255=tag'])


@pytest.mark.parametrize('mode', ['RGB', 'RGBA', 'P'])
def test_masks_of_colours(tmp_path, mode):
    colors = dict(cat=(128, 0, 0), dog=(0, 128, 0))
    tags = photos(tmp_path / 'photos', MIXED)
    for i, names in MIXED.items():
        mask = np.zeros((*SIZE, 3), np.uint8)
        for row, name in enumerate(names):
            mask[8 * row:8 * row + 8] = colors[name]
        (tmp_path / 'gt').mkdir(exist_ok=True)
        picture = Image.fromarray(mask)
        if mode == 'P':  # Its own numbers of colours.
            picture = picture.quantize(4)
        picture.convert(mode).save(tmp_path / f'gt/{i}.png')
    ask = dict(masks=tmp_path / 'gt')
    if mode != 'P':
        with pytest.raises(ValueError, match='0,0,0; 128,0,0. Say what they '
                           'stand for: --mask-values R,G,B=CLASS'):
            read_custom(tags, **ask)
    with pytest.raises(ValueError, match=r'\[0, 128, 0\].*has no name'):
        read_custom(tags, mask_values=['128,0,0=cat'], **ask)
    data = read_custom(
        tags, mask_values=['128,0,0=cat', '0,128,0=dog'], **ask)
    write_custom(data, tmp_path / 'out')
    for i, names in MIXED.items():
        mask = read_mask(tmp_path / f'out/SegmentationClass/{i}.png', i)
        for row, name in enumerate(names):
            assert (mask[8 * row:8 * row + 8] == ('cat', 'dog').index(
                name) + 1).all()
        assert not mask[16:].any()


@pytest.mark.parametrize('entries,message', [
    (['128,0,0=cat', '255=dog'], 'either grey values or colours'),
    (['128,0=cat'], 'or a colour, e.g. 128,0,0=defect'),
    (['128,0,300=cat'], 'or a colour'),
])
def test_bad_colours(tmp_path, entries, message):
    tags = photos(tmp_path / 'photos', MIXED)
    gt = class_masks(tmp_path / 'gt', MIXED, dict(cat=1, dog=2))
    with pytest.raises(ValueError, match=message):
        read_custom(tags, masks=gt, mask_values=entries)


def test_colours_are_rewritten_not_read(tmp_path):
    """A data set takes masks of class indices; it says who makes them."""
    masks(tmp_path, dict(x=0), mode='RGB')
    with pytest.raises(ValueError, match='custom.py --masks translates'):
        read_mask(tmp_path / 'x.png', 'x')
    for entry in ('128,0,0=cat', '255=tag'):
        with pytest.raises(ValueError, match='writes them as|no class .tag'):
            ImageLevelDataset(
                data_root=str(tmp_path),
                labels_file=photos(tmp_path, MIXED).name,
                img_suffix='any',
                data_prefix=dict(img_path=''),
                mask_values=[entry])


@pytest.mark.parametrize('mode', ['RGBA', 'LA'])
def test_masks_that_are_transparent(tmp_path, mode):
    """Where nothing is to be seen, colours may be stored."""
    tags = photos(tmp_path / 'photos', DEFECTS)
    gt = tmp_path / 'gt'
    gt.mkdir()
    for hidden in (0, 255):
        for i, names in DEFECTS.items():
            alpha = np.zeros(SIZE, np.uint8)
            alpha[:10] = 255 * len(names)
            grey = np.where(alpha, 255, hidden).astype(np.uint8)
            Image.merge(mode, [*[Image.fromarray(grey)] * (len(mode) - 1),
                               Image.fromarray(alpha)]).save(gt / f'{i}.png')
        ask = dict(masks=gt, mask_values=['255=defect'])
        if hidden:
            with pytest.raises(ValueError, match="'000'.*transparent.*open"):
                read_custom(tags, **ask)
        else:
            assert len(read_custom(tags, **ask).translated) == 8


def test_masks_of_several_pages(tmp_path):
    tags = photos(tmp_path / 'photos', MIXED)
    gt = tmp_path / 'gt'
    gt.mkdir()
    for i in MIXED:
        pages = [Image.fromarray(np.full(SIZE, v, np.uint8)) for v in (0, 1)]
        pages[0].save(gt / f'{i}.tif', save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match="'0'.*has 2 pages. Save one mask"):
        read_custom(tags, masks=gt)


def test_exchanged_masks(tmp_path):
    """Objects are 0 and the background 1."""
    tags = photos(tmp_path / 'photos', DEFECTS)
    gt = masks(tmp_path / 'gt', dict.fromkeys(DEFECTS, 1))
    with pytest.raises(ValueError, match="show 'defect' .value 1. in all 4 "
                       "images that are not tagged.*'0=defect' '1=backgr"):
        read_custom(tags, masks=gt)
    for i, names in DEFECTS.items():
        mask = np.ones(SIZE, np.uint8)
        mask[:4] = 1 - len(names)
        Image.fromarray(mask).save(gt / f'{i}.png')
    data = read_custom(tags, masks=gt,
                       mask_values=['0=defect', '1=background'])
    assert len(data.translated) == 8


def test_mask_of_a_turned_picture(tmp_path):
    tags = photos(tmp_path / 'photos', MIXED)
    gt = class_masks(tmp_path / 'gt', MIXED, dict(cat=1, dog=2))
    Image.open(gt / '4.png').transpose(Image.Transpose.ROTATE_90).save(
        gt / '4.png')
    with pytest.raises(ValueError, match=r"'4' .*\(30, 20\). The sides are"):
        read_custom(tags, masks=gt)
    Image.open(gt / '4.png').resize((7, 9)).save(gt / '4.png')
    with pytest.raises(ValueError, match='fit pixel by pixel'):
        read_custom(tags, masks=gt)


def test_one_picture_in_files_of_other_bytes(tmp_path):
    for i in range(3):
        save(tmp_path / f'cat/{i}.png', noise(i))
        save(tmp_path / f'dog/{i}.png', noise(10 + i))
    save(tmp_path / 'cat/both.bmp', noise(99))
    Image.fromarray(noise(99)[..., ::-1]).save(tmp_path / 'dog/both.png')
    data = read_custom(tmp_path)
    assert data.labels['cat/both'] == (0, 1) and len(data.labels) == 7
    note, = (n for n in data.notes if 'more than once' in n)
    assert 'pixel for pixel' in note


def test_window_of_other_values(tmp_path, said):
    """Some images have values up to 4095, others from 0 to 1."""
    tags = photos(tmp_path, TWO, make=twelve_bit)
    for name in 'cd':
        (tmp_path / f'{name}.png').unlink()
        save(tmp_path / f'{name}.tif', noise(5)[..., 0].astype(
            np.float32) / 255)
    tags.write_text(tags.read_text().replace('.png', ''))
    for window, names in (((0, 4095), 'c, d'), ((0, 1), 'a, b')):
        note, = (n for n in read_custom(tags, window=window).notes
                 if 'leaves nearly nothing' in n)
        assert 'of 2 image(s)' in note and f'throughout: {names}.' in note
    said.clear()
    loading._SAID.clear()
    for name in ('a.png', 'c.tif', 'd.tif'):  # Once per folder.
        read_image(tmp_path / name, name, (0, 4095))
    text, = said
    assert 'c.tif' in text and 'Check the window' in text


def test_window_of_8_bit_images(tmp_path):
    tags = photos(tmp_path, TWO)
    note, = (n for n in read_custom(tags, window=(0, 4095)).notes
             if 'window' in n)
    assert 'changes nothing' in note
    # A plain picture is no sign of a wrong window.
    for name in TWO:
        save(tmp_path / f'{name}.png', np.full(SIZE, ord(name), np.uint16))
    assert not any('nothing' in n
                   for n in read_custom(tags, window=(0, 4095)).notes)


@pytest.mark.parametrize('name', ['nan', 'null', 'Unknown', '-1'])
def test_names_of_nobody_knows_are_noted(tmp_path, name):
    data = read_custom(photos(tmp_path, dict(TWO, e=[name])))
    note, = (n for n in data.notes if 'nobody knows' in n)
    assert repr(name) in note and '1 image(s)' in note
