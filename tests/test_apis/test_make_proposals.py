"""Proposals of even colour, and the tool that writes them."""
import runpy

import cv2
import numpy as np
import pytest

from mmwsss.apis.make_proposals import (
    colour_proposals,
    even_regions,
    make_proposals,
)
from mmwsss.pseudo_labels.proposal_file import read_proposals

from ..test_tools import TOOLS


def picture():
    """A frame in another colour and a slightly darker half in it."""
    image = np.full((40, 60, 3), 200, np.uint8)
    image[10:30, 10:50] = (40, 90, 30)
    image[10:30, 30:50] = (40, 72, 30)
    return image


def overlaps(masks, area):
    expected = np.zeros((40, 60), bool)
    expected[area] = True
    return max((m & expected).sum() / (m | expected).sum() for m in masks)


def test_regions():
    image = np.zeros((3, 5, 3), np.uint8)
    # Neighbours decide: a slope is one region, two equal fields apart are two.
    image[0] = np.arange(5)[:, None] * 2
    image[2, :2] = image[2, 3:] = 100
    image[2, 2] = 50
    regions = even_regions(image, 2)
    assert len(np.unique(regions)) == 4
    assert len(np.unique(regions[:2])) == 1
    assert regions[2, 0] == regions[2, 1] != regions[2, 3]
    assert len(np.unique(even_regions(image, 0))) == 8
    assert len(np.unique(even_regions(image, 255))) == 1


def test_coarse_and_fine():
    masks = colour_proposals(picture())
    assert masks.dtype == bool and masks.sum(axis=(1, 2)).min() >= 30
    for area in (np.s_[10:30, 10:30], np.s_[10:30, 30:50],
                 np.s_[10:30, 10:50]):
        assert overlaps(masks, area) > .85
    assert len({m.tobytes() for m in masks}) == len(masks)
    assert colour_proposals(picture(), [12], min_area=4000).shape == (0, 40,
                                                                      60)


def test_tool(tmp_path):
    images, out = tmp_path / 'images', tmp_path / 'out'
    (images / 'sub').mkdir(parents=True)
    cv2.imwrite(str(images / 'a.png'), picture())
    cv2.imwrite(str(images / 'sub' / 'b.PNG'), picture()[:, ::-1])
    (images / 'notes.txt').write_text('no image')
    parse = runpy.run_path(str(TOOLS / 'make_proposals.py'))['parse_args']
    args = vars(parse([str(images), str(out), '--distances', '12', '24']))
    counts = make_proposals(**args)
    assert len(counts) == 2 and min(counts) >= 3
    found = read_proposals(out, 'sub/b', (40, 60))
    assert len(found) == counts[1]
    assert np.array_equal(
        found, colour_proposals(picture()[:, ::-1].copy(), [12, 24]))
    # Only what is missing is done again.
    (out / 'a.json').unlink()
    assert make_proposals(**args) == counts[:1]
    assert make_proposals(**args) == []


def test_tool_errors(tmp_path):
    parse = runpy.run_path(str(TOOLS / 'make_proposals.py'))['parse_args']
    args = vars(parse([str(tmp_path), str(tmp_path / 'out')]))
    with pytest.raises(FileNotFoundError, match='no images'):
        make_proposals(**args)
    (tmp_path / 'a.jpg').write_bytes(b'broken')
    with pytest.raises(ValueError, match="'a'.*corrupt"):
        make_proposals(**args)
    assert [p.name for p in (tmp_path / 'out').rglob('*.json')] == [
        'settings.json']
