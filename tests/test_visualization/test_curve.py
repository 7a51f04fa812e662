"""The curve as a file."""
import sys

import cv2
import numpy as np
import pytest

from mmwsss.visualization import plot_curve


def make_curve(**kwargs) -> dict:
    thresholds = np.arange(0, 1, 0.01)
    miou = 40 - 100 * (thresholds - 0.3)**2
    return dict(
        thresholds=thresholds.tolist(),
        miou_curve=miou.tolist(),
        mIoU=40.,
        threshold=0.3,
        mIoU_fixed=39.,
        fixed_threshold=0.4,
        mIoU_all_background=12.,
        mIoU_tag_fill=14.,
        split='val',
        num_images=7) | kwargs


def test_plot(tmp_path):
    plain = plot_curve(tmp_path / 'new' / 'a.png', make_curve())
    more = plot_curve(
        tmp_path / 'b.png',
        make_curve(),
        references={'before training': make_curve(miou_curve=[5.] * 100)})
    pictures = [cv2.imread(str(path)) for path in (plain, more)]
    assert all(p.shape[0] > 300 and p.shape[1] > 500 for p in pictures)
    assert (pictures[0] != 255).any()
    # Green belongs to the reference alone.
    green = [((p[..., 1] > 120) & (p[..., 2] < 80) & (p[..., 0] < 80)).sum()
             for p in pictures]
    assert green[0] == 0 and green[1] > 100
    assert sorted(p.name for p in tmp_path.iterdir()) == ['b.png', 'new']


def test_without_baselines_and_split(tmp_path):
    curve = make_curve(split=None, thresholds=[0.4], miou_curve=[39.])
    del curve['mIoU_all_background'], curve['mIoU_tag_fill']
    assert plot_curve(tmp_path / 'a.png', curve).stat().st_size > 1000


def test_leaves_pyplot_alone(tmp_path):
    if 'matplotlib.pyplot' in sys.modules:
        pytest.skip('another test has loaded it')
    plot_curve(tmp_path / 'a.png', make_curve())
    assert 'matplotlib.pyplot' not in sys.modules
