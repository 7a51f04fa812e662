import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmwsss.models.necks import DPTReassemble

D, WIDTHS = 6, (3, 4, 5, 7)


def build(**kwargs):
    torch.manual_seed(0)
    cfg = dict(in_channels=D, out_channels=WIDTHS)
    return DPTReassemble(**{**cfg, **kwargs})


def tokens(gh=4, gw=6, n=2, blocks=4):
    torch.manual_seed(1)
    return ([torch.randn(n, D, gh, gw) for _ in range(blocks)],
            [torch.randn(n, D) for _ in range(blocks)])


def plain_tap(tap, feat, token, level):
    """One position after the other, resizing written out."""
    n, _, gh, gw = feat.shape
    maps = torch.zeros(n, len(tap.project.bias), gh, gw)
    for i in range(gh):
        for j in range(gw):
            both = torch.cat((feat[:, :, i, j], token), dim=1)
            x = F.gelu(both @ tap.readout.weight.T + tap.readout.bias)
            maps[:, :, i, j] = x @ tap.project.weight[:, :, 0, 0].T + \
                tap.project.bias
    if level == 2:
        return maps
    if level < 2:
        # Stride equals kernel: every token fills a square of its own.
        k = (4, 2)[level]
        squares = torch.einsum('ncij,copq->noipjq', maps, tap.resize.weight)
        return squares.reshape(n, -1, k * gh,
                               k * gw) + tap.resize.bias[:, None, None]
    padded = F.pad(maps, (1, 1, 1, 1))
    out = tap.resize.bias[:, None, None]
    for i in range(3):
        for j in range(3):
            out = out + torch.einsum(
                'nchw,oc->nohw', padded[..., i:i + gh:2, j:j + gw:2],
                tap.resize.weight[..., i, j])
    return out


def test_written_out():
    neck, (feats, cls_tokens) = build(), tokens()
    maps = neck(feats, cls_tokens)
    assert [tuple(m.shape) for m in maps] == [(2, 3, 16, 24), (2, 4, 8, 12),
                                              (2, 5, 4, 6), (2, 7, 2, 3)]
    for level, ours in enumerate(maps):
        expected = plain_tap(neck.taps[level], feats[level],
                             cls_tokens[level], level)
        assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_last_only():
    neck, (feats, cls_tokens) = build(), tokens()
    last, = neck(feats, cls_tokens, last_only=True)
    assert torch.equal(last, neck(feats, cls_tokens)[-1])
    last.sum().backward()
    computed = {
        name.split('.')[1]
        for name, p in neck.named_parameters() if p.grad is not None
    }
    assert computed == {'3'}


def test_maps_of_a_stem_stay_as_they_are():
    neck, (feats, cls_tokens) = build(num_stem_maps=2), tokens(blocks=2)
    stem = [torch.randn(2, 3, 16, 24), torch.randn(2, 4, 8, 12)]
    maps = neck([*stem, *feats], cls_tokens)
    assert maps[0] is stem[0] and maps[1] is stem[1]
    for level in (2, 3):
        expected = plain_tap(neck.taps[level], feats[level - 2],
                             cls_tokens[level - 2], level)
        assert_close(maps[level], expected, rtol=1e-4, atol=1e-5)
    assert {n.split('.')[1] for n, _ in neck.named_parameters()} == {'2', '3'}


def test_published_size():
    neck = DPTReassemble()
    assert neck.taps[3].readout.weight.shape == (768, 2 * 768)
    assert [tap.project.out_channels for tap in neck.taps] == [
        96, 192, 384, 768
    ]
    assert neck.taps[0].resize.stride == (4, 4)


def test_smallest_grid():
    maps = build()(*tokens(2, 2))
    assert maps[-1].shape[2:] == (1, 1) and maps[0].shape[2:] == (8, 8)


@pytest.mark.parametrize('last_only', [False, True])
@pytest.mark.parametrize('grid', [(3, 4), (4, 5), (1, 1)])
def test_odd_grids(grid, last_only):
    with pytest.raises(
            ValueError, match=f'{grid[0]} x {grid[1]} tokens.*of 32 pixels'):
        build()(*tokens(*grid), last_only=last_only)


def test_stem_maps_of_another_size():
    """A stem rounds up, so sizes of no multiple show there."""
    feats, cls_tokens = tokens(2, 2, blocks=2)
    stem = [torch.zeros(2, 3, 6, 8), torch.zeros(2, 4, 3, 4)]
    with pytest.raises(ValueError, match=r'stem maps of \[\(6, 8\), \(3, 4'):
        build(num_stem_maps=2)([*stem, *feats], cls_tokens)


@pytest.mark.parametrize('blocks', [1, 3, 5])
def test_wrong_number_of_taps(blocks):
    with pytest.raises(ValueError, match=f'got {blocks} maps.*out_indices'):
        build()(*tokens(blocks=blocks))
    with pytest.raises(ValueError, match='stem_out_indices to 2 stages'):
        build(num_stem_maps=2)(*tokens(blocks=blocks))


def test_wrong_arguments():
    for wrong in (dict(out_channels=(3, 4)), dict(num_stem_maps=4)):
        with pytest.raises(ValueError, match='makes four maps'):
            build(**wrong)
