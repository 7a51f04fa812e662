"""Mask proposals: both formats, and all that can be wrong with a file."""
import json

import numpy as np
import pytest
from PIL import Image

from mmwsss.pseudo_labels.instance_file import encode_mask
from mmwsss.pseudo_labels.proposal_file import (
    proposal_paths,
    read_proposals,
    write_proposals,
)

SIZE = (4, 6)


def two_masks():
    masks = np.zeros((2, *SIZE), bool)
    masks[0, 1:3, 2:5] = True
    masks[1, 2:, :4] = True  # They overlap.
    return masks


def test_round_trip(tmp_path):
    path = write_proposals(tmp_path, 'b/a', two_masks())
    assert path == tmp_path / 'b' / 'a.json'
    item = json.loads(path.read_text())[1]
    assert item['area'] == 8 and item['segmentation']['size'] == [4, 6]
    found = read_proposals(tmp_path, 'b/a', SIZE)
    assert found.dtype == bool and np.array_equal(found, two_masks())
    write_proposals(tmp_path, 'none', np.zeros((0, *SIZE), bool))
    assert read_proposals(tmp_path, 'none', SIZE).shape == (0, *SIZE)
    assert sorted(p.name for p in tmp_path.rglob('*.*')) == [
        'a.json', 'none.json'
    ]


def test_what_segment_anything_writes(tmp_path):
    first, second = two_masks()
    # Compressed: from the fourth on, differences to the run before the last.
    assert encode_mask(first) == [9, 2, 2, 2, 2, 2, 5]
    text = '9220003'
    content = [
        dict(
            segmentation=dict(size=[4, 6], counts=text),
            area=6,
            bbox=[2, 1, 3, 2],
            predicted_iou=.97,
            point_coords=[[3.5, 1.5]],
            stability_score=.98,
            crop_box=[0, 0, 6, 4]),
        # Uncompressed, and without what is not read.
        dict(segmentation=dict(size=[4, 6], counts=encode_mask(second))),
        # Polygons are COCO's too.
        dict(segmentation=[[0, 0, 2, 0, 2, 4, 0, 4]])
    ]
    (tmp_path / 'a.json').write_text(json.dumps(content))
    found = read_proposals(tmp_path, 'a', SIZE)
    assert np.array_equal(found[:2], [first, second])
    assert found[2].sum(axis=0).tolist() == [4, 4, 0, 0, 0, 0]


def test_run_lengths_of_pycocotools(tmp_path):
    coco = pytest.importorskip('pycocotools.mask')
    rng = np.random.default_rng(0)
    masks = rng.random((5, 75, 50)) < np.array(
        [0, .02, .5, .98, 1])[:, None, None]
    codes = [coco.encode(np.asfortranarray(m.astype(np.uint8))) for m in masks]
    (tmp_path / 'a.json').write_text(
        json.dumps([
            dict(segmentation=dict(
                size=list(c['size']), counts=c['counts'].decode()))
            for c in codes
        ]))
    assert np.array_equal(read_proposals(tmp_path, 'a', (75, 50)), masks)


@pytest.mark.parametrize('dtype,high', [(np.uint8, 255), (np.uint16, 40000)])
def test_numbered_picture(tmp_path, dtype, high):
    numbers = np.zeros(SIZE, dtype)
    numbers[0, 2:5], numbers[2, 1] = 7, high  # 255 is a number like others.
    Image.fromarray(numbers).save(tmp_path / 'a.png')
    found = read_proposals(tmp_path, 'a', SIZE)
    assert np.array_equal(found, [numbers == 7, numbers == high])
    Image.fromarray(np.zeros(SIZE, dtype)).save(tmp_path / 'b.png')
    assert read_proposals(tmp_path, 'b', SIZE).shape == (0, *SIZE)


def test_palette_picture(tmp_path):
    numbers = np.arange(24, dtype=np.uint8).reshape(SIZE) % 3
    picture = Image.fromarray(numbers)
    picture.putpalette([i // 3 for i in range(768)])
    picture.save(tmp_path / 'a.png')
    found = read_proposals(tmp_path, 'a', SIZE)
    assert np.array_equal(found, [numbers == 1, numbers == 2])


def test_missing_and_double(tmp_path):
    with pytest.raises(
            FileNotFoundError, match=r'image a: neither .*a\.json.*\[\]'):
        read_proposals(tmp_path, 'a', SIZE)
    write_proposals(tmp_path, 'a', two_masks())
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(tmp_path / 'a.png')
    with pytest.raises(ValueError, match='Image a has two .*Remove one'):
        read_proposals(tmp_path, 'a', SIZE)
    with pytest.raises(ValueError, match='does not name a file'):
        proposal_paths(tmp_path, '../a')


def test_other_size(tmp_path):
    write_proposals(tmp_path, 'a', two_masks())
    with pytest.raises(ValueError, match='image a .*4 x 6.*6 x 4.*own size'):
        read_proposals(tmp_path, 'a', (6, 4))
    Image.fromarray(np.ones(SIZE, np.uint8)).save(tmp_path / 'b.png')
    with pytest.raises(ValueError, match='image b .*4 x 6.*4 x 7.*own size'):
        read_proposals(tmp_path, 'b', (4, 7))


GOOD = dict(size=[4, 6], counts=[24])


@pytest.mark.parametrize('content,message', [
    ('{', 'no JSON'),
    ('', 'no JSON'),
    ('{"annotations": []}', 'must hold a list .*dict'),
    ('[3]', "proposal 0: it has no 'segmentation'"),
    ([dict(area=3)], "proposal 0: it has no 'segmentation'"),
    ([dict(segmentation=GOOD),
      dict(segmentation=dict(GOOD, counts=[23]))], 'proposal 1: .*4 x 6'),
    ([dict(segmentation=dict(GOOD, counts=None))], 'run lengths'),
    ([dict(segmentation=dict(GOOD, counts='h'))], 'middle of a number'),
    ([dict(segmentation=dict(GOOD, size=[4]))], 'size'),
    ([dict(segmentation=None)], 'neither'),
])
def test_damaged_list(tmp_path, content, message):
    if not isinstance(content, str):
        content = json.dumps(content)
    (tmp_path / 'a.json').write_text(content)
    with pytest.raises(ValueError, match=f'image a .*{message}'):
        read_proposals(tmp_path, 'a', SIZE)


def test_damaged_picture(tmp_path):
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / 'a.png')
    with pytest.raises(ValueError, match='image a .*mode RGB'):
        read_proposals(tmp_path, 'a', SIZE)
    data = (tmp_path / 'a.png').read_bytes()
    (tmp_path / 'a.png').write_bytes(data[:40])
    with pytest.raises(ValueError, match='image a .*corrupt'):
        read_proposals(tmp_path, 'a', SIZE)
