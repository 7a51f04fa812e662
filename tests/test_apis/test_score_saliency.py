"""Numbers of saliency maps, counted by hand."""
import json
import runpy

import numpy as np
import pytest

from mmwsss.apis.score_saliency import evaluate_saliency

from ..test_datasets.builders import save_mask
from ..test_tools import TOOLS


@pytest.fixture
def world(tmp_path):
    true = np.zeros((2, 4, 5), np.uint8)
    true[0, :2] = 3  # 10 pixels, of which two are ignored
    true[0, 0, :2] = 255
    true[0, 3, 0] = 7  # and one more of another class
    shown = np.zeros_like(true)
    shown[0, :3, 1:] = 200  # 12: one ignored, 7 right, 4 wrong
    shown[0, 3] = 127  # not above the threshold
    for i, img_id in enumerate(('a', 'b')):
        save_mask(tmp_path / f'true/{img_id}.png', true[i])
        save_mask(tmp_path / f'maps/{img_id}.png', shown[i])
    (tmp_path / 'list.txt').write_text('a\nb\n')
    return tmp_path


def run(world, *arguments):
    parse = runpy.run_path(str(TOOLS / 'evaluate_saliency.py'))['parse_args']
    return evaluate_saliency(**vars(parse([
        str(world / 'maps'), '--gt', str(world / 'true'), '--split',
        str(world / 'list.txt'), *arguments])))


def test_by_hand(world):
    found = run(world, '--out', str(world / 'out.json'))
    expected = dict(
        IoU=700 / 13, precision=700 / 11, recall=700 / 9,
        mean_IoU=(700 / 13 + 100) / 2, nothing=50, num_images=2)
    assert found == pytest.approx(expected)
    assert json.loads((world / 'out.json').read_text()) == found
    # Wrong on the empty image.
    save_mask(world / 'maps/b.png', np.eye(4, 5) * 255)
    found = run(world)
    assert found['mean_IoU'] == pytest.approx(350 / 13)
    assert found['IoU'] == pytest.approx(700 / 17) and not found['nothing']
    # The last row of the first map counts as well.
    assert run(world, '--threshold', '126')['recall'] == pytest.approx(800 / 9)


def test_errors(world):
    save_mask(world / 'maps/b.png', np.zeros((5, 4)))
    with pytest.raises(ValueError, match=r'Image b.*\(5, 4\)'):
        run(world)
    (world / 'maps/b.png').unlink()
    with pytest.raises(FileNotFoundError, match="'b'.*no saliency map"):
        run(world)
    (world / 'list.txt').write_text('\n')
    with pytest.raises(ValueError, match='lists no images'):
        run(world)
    (world / 'list.txt').write_text('b\n')
    save_mask(world / 'maps/b.png', np.zeros((4, 5)))
    with pytest.raises(ValueError, match='no object in any image'):
        run(world)
