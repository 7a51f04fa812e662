"""Large pictures in tiles against the whole."""
import pytest
import torch
from mmseg.structures import SegDataSample
from torch import nn
from torch.testing import assert_close

from mmwsss.models.localizers.fusion import resize_image
from mmwsss.models.localizers.tiles import (
    Span,
    blend,
    maps_in_tiles,
    plan_tiles,
    resize_region,
    split_axis,
)
from tests.test_models.builders import build_segmentor, resnet_cfg, sample

MANY = pytest.mark.parametrize('length', [
    1, 31, 384, 385, 500, 639, 640, 641, 700, 1000, 1023, 4000, 6001
])


# ------------------------------------------------------------------- the plan
@MANY
@pytest.mark.parametrize('longest', [384, 416, 2048])
def test_spans_cover_an_axis(length, longest):
    spans = split_axis(length, longest, 32)
    assert spans[0].start == 0 and spans[-1].stop == length
    assert all(s.start % 32 == 0 for s in spans)
    assert all(0 < s.stop - s.start <= longest for s in spans)
    for a, b in zip(spans, spans[1:]):
        assert a.start < b.start < a.stop < b.stop or b.stop == a.stop
        assert a.stop - b.start >= 128  # the overlap
    # No pixel is looked at more than twice.
    for a, b in zip(spans, spans[2:]):
        assert b.start >= a.stop
    assert len(spans) == 1 or length > longest


@pytest.mark.parametrize('size', [(1000, 1000), (200, 9000), (9000, 200),
                                  (4000, 3000), (513, 513), (100, 7000)])
def test_tiles_keep_the_budget(size):
    for pixels in (384**2, 150000, 512**2):
        rows, columns = plan_tiles(size, pixels, 32)
        for r in rows:
            for c in columns:
                assert (r.stop - r.start) * (c.stop - c.start) <= pixels


def test_a_strip_is_cut_across_only():
    rows, columns = plan_tiles((200, 9000), 512**2, 32)
    assert len(rows) == 1 and 7 <= len(columns) <= 9
    assert [len(x) for x in plan_tiles((9000, 200), 512**2, 32)[::-1]] == [
        len(rows), len(columns)]


def test_too_small_a_budget():
    with pytest.raises(ValueError, match='384 x 384 = 147456 pixels'):
        plan_tiles((1000, 1000), 147455, 32)


@MANY
def test_weights_add_up_to_one(length):
    spans = split_axis(length, 384, 32)
    total = torch.zeros(-(-length // 8))
    for span, weight in zip(spans, blend(spans, 8)):
        total[span.start // 8:span.start // 8 + len(weight)] += weight
        assert weight.min() >= 0
    assert_close(total, torch.ones_like(total), rtol=0, atol=1e-6)


def test_cut_edges_are_not_looked_at():
    first, second = blend([Span(0, 256), Span(128, 384)], 4)
    # 128 pixels overlap; the outer quarters, 8 cells, are the other's.
    assert first[-8:].tolist() == [0] * 8 and (first[:40] == 1).all()
    assert second[:8].tolist() == [0] * 8 and (second[24:] == 1).all()
    middle = first[40:56]
    assert ((middle[1:] - middle[:-1]) < 0).all()
    assert (middle[1:] - middle[:-1]).abs().max() < 0.2


# ----------------------------------------------------------------- the pixels
@pytest.mark.parametrize('new', [(60, 90), (30, 45), (91, 133), (121, 180),
                                 (1, 2)])
def test_region_is_cut_out_of_the_whole(new):
    image = torch.rand(2, 3, 60, 90) * 255
    whole = resize_image(image, new)
    for rows, columns in ((Span(0, new[0]), Span(0, new[1])),
                          (Span(new[0] // 3, new[0] // 2 + 1),
                           Span(new[1] // 2, new[1]))):
        part = resize_region(image, new, rows, columns)
        assert_close(
            part,
            whole[:, :, rows.start:rows.stop, columns.start:columns.stop],
            rtol=0,
            atol=2e-3)


def test_maps_that_do_not_fit_are_refused():
    def cut(rows, columns):
        return torch.zeros(1, 1, rows.stop - rows.start,
                           columns.stop - columns.start)

    with pytest.raises(ValueError, match='multiples of 32'):
        maps_in_tiles((480, 480), 384**2, 32, cut,
                      lambda x: x[:, :, ::12, ::12])
    with pytest.raises(ValueError, match='CAMs of a tile are'):
        maps_in_tiles((480, 483), 384**2, 32, cut,
                      lambda x: x[:, :, ::8, :x.shape[3] // 8 * 8:8])


# ----------------------------------------------------------------- the models
class Local(nn.Module):
    """Stride 8; no cell sees further than 12 pixels."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 128, 8, 8)
        self.mix = nn.Conv2d(128, 128, 3, padding=1)

    def forward(self, x):
        # Pictures end where they end, as in a ResNet: rounded up.
        pad = [-s % 8 for s in x.shape[2:]]
        x = nn.functional.pad(x, (0, pad[1], 0, pad[0]))
        return (self.mix(self.conv(x).relu()), )


def local_model(**test_cfg):
    torch.manual_seed(0)
    model = build_segmentor(**resnet_cfg(test_cfg=test_cfg))
    model.backbone = Local()
    return model.eval()


def predict(model, inputs, tags, **test_cfg):
    old, model.test_cfg = model.test_cfg, {**model.test_cfg, **test_cfg}
    size = tuple(inputs.shape[-2:])
    with torch.no_grad():
        found = model.predict(inputs, [sample(t, size) for t in tags])
    model.test_cfg = old
    return found


@pytest.mark.parametrize('cfg', [
    dict(flip=True),
    dict(flip=False, normalize='max', size_divisor=16),
    dict(scales=(0.5, 1.0, 1.5), flip_fuse='max'),
    dict(scales=(1.3, ), interpolation='bicubic'),
])
def test_no_seams_in_a_convolutional_network(cfg):
    """Equal to the whole up to rounding, borders of the picture included."""
    model = local_model(**cfg)
    inputs = torch.rand(2, 3, 701, 613)
    whole = predict(model, inputs, [[1, 3], [2]])
    seen = []
    model.backbone.register_forward_hook(
        lambda _, args, out: seen.append(args[0].shape))
    tiled = predict(model, inputs, [[1, 3], [2]], max_pixels=384**2)
    alone = [shape for shape in seen if shape[0] == 1]
    assert len(alone) >= 8
    assert all(shape[2] * shape[3] <= 384**2 for shape in alone)
    for a, b in zip(whole, tiled):
        assert a.class_ids.tolist() == b.class_ids.tolist()
        assert_close(b.cams, a.cams, rtol=0, atol=2e-5)


def test_tiles_pass_into_each_other_in_a_transformer():
    """The jump between two tiles is spread over the middle of the overlap."""
    model = build_segmentor(test_cfg=dict(flip=False, max_pixels=384**2))
    model.eval()
    y, x = torch.meshgrid(
        torch.arange(256.), torch.arange(1024.), indexing='ij')
    inputs = torch.stack((torch.sin(x / 50), torch.cos(y / 40),
                          torch.sin((x + y) / 70)))[None]
    ids = torch.tensor([[1, 3]])
    rows, spans = plan_tiles((256, 1024), 384**2, 32)
    assert len(rows) == 1 and len(spans) == 2
    (maps, covered), = model.compute_cams(inputs, ids)[0]
    assert maps.shape == (1, 2, 16, 64) and covered == (1, 1)
    # Every tile alone, cut in the middle of the overlap.
    model.test_cfg['max_pixels'] = None
    pieces, edges, tiles = [], [], []
    for i, s in enumerate(spans):
        (alone, _), = model.compute_cams(inputs[..., s.start:s.stop], ids)[0]
        tiles.append(alone)
        left = 4 if i else 0
        right = 4 if i + 1 < len(spans) else 0
        pieces.append(alone[..., left:alone.shape[3] - right])
        edges.append(s.start // 16 + left)
    hard = torch.cat(pieces, dim=3)
    assert hard.shape == maps.shape
    for edge in edges[1:]:
        jump = hard[..., edge] - hard[..., edge - 1]
        # Away from seams nothing changes but what the ramp mixes in.
        assert_close(maps[..., edge - 4], hard[..., edge - 4])
        step = maps[..., edge - 2:edge + 3].diff(dim=3).abs()
        assert jump.abs().mean() > 1e-3
        assert step.mean((0, 1, 2)).max() < 0.5 * jump.abs().mean()
    # Nor is there a jump anywhere else where two tiles overlap.
    start, stop = spans[1].start // 16, spans[0].stop // 16
    first, second = tiles[0][..., start:stop], tiles[1][..., :stop - start]
    apart = (first - second).abs()[..., 1:]
    most = torch.maximum(first.diff(dim=3).abs(), second.diff(dim=3).abs())
    steps = maps[..., start:stop].diff(dim=3).abs()
    assert (steps.mean((0, 1, 2)) <
            (most + 0.5 * apart).mean((0, 1, 2)) + 1e-6).all()
    for edge, tile in ((start, tiles[0]), (stop, tiles[1])):
        beside = maps[..., edge] - maps[..., edge - 1]
        at = edge - (0 if tile is tiles[0] else start)
        assert_close(beside, tile[..., at] - tile[..., at - 1])


def test_tags_of_large_pictures_are_those_of_a_small_copy():
    model = local_model()
    inputs = torch.rand(1, 3, 768, 768)
    small = resize_image(inputs, (380, 380))
    expected = predict(model, small, [[]])[0].tag_scores
    found, = predict(model, inputs, [[1]], max_pixels=384**2)
    assert_close(found.tag_scores, expected)
    # Also where they are predicted: the model finds the same classes.
    model.test_cfg['use_image_labels'] = False
    ids = (expected > 0.5).nonzero()[:, 0].tolist()
    found, = predict(model, inputs, [[]], max_pixels=384**2)
    assert found.class_ids.tolist() == ids


def test_small_pictures_are_not_cut():
    model = local_model(scales=(1.0, 2.0))
    inputs = torch.rand(1, 3, 64, 64)
    a, = predict(model, inputs, [[1]])
    b, = predict(model, inputs, [[1]], max_pixels=384**2)
    assert torch.equal(a.cams, b.cams)


def test_lack_of_memory_names_image_and_setting():
    model = local_model(max_pixels=384**2)
    data = SegDataSample(metainfo=dict(img_id='holidays/7'))

    def fail(_):
        raise RuntimeError('[enforce fail] DefaultCPUAllocator: can\'t '
                           'allocate memory: you tried to allocate 9 bytes.')

    model.backbone.forward = fail
    with pytest.raises(MemoryError, match='holidays/7 .*40 x 30 pixels.*'
                       'model.test_cfg.max_pixels=147456') as error:
        model.predict(torch.zeros(1, 3, 30, 40), [data])
    assert 'tried to allocate' in str(error.value)

    def other(_):
        raise RuntimeError('shapes differ')

    model.backbone.forward = other
    with pytest.raises(RuntimeError, match='^shapes differ'):
        model.predict(torch.zeros(1, 3, 30, 40), [data])


def test_decoders_in_tiles():
    """Masks of an end-to-end model, whose decoder sees not far either."""
    model = build_segmentor(
        type='mmwsss.EndToEndSegmentor',
        decode_head=dict(
            type='FCNHead', in_channels=128, in_index=-1, channels=128,
            num_convs=0, concat_input=False, dropout_ratio=0.,
            norm_cfg=None, num_classes=6),
        label_maker=dict(type='mmwsss.LabelCompletion'),
        seg_losses=dict(ce=dict(type='mmwsss.BalancedCrossEntropy')),
        **resnet_cfg(test_cfg=dict(pseudo_labels=False))).eval()
    model.backbone = Local()
    inputs = torch.rand(1, 3, 504, 400)
    seen = []
    model.backbone.register_forward_hook(
        lambda _, args, out: seen.append(args[0].shape[2] * args[0].shape[3]))
    with torch.no_grad():
        whole = model.encode_decode(inputs, [])
        model.test_cfg['max_pixels'] = 384**2
        tiled = model.encode_decode(inputs, [])
    assert len(seen) > 4 and max(seen[1:]) <= 384**2 < seen[0]
    assert tiled.shape == whole.shape
    assert_close(tiled, whole, rtol=1e-4, atol=1e-3)


def test_maps_that_are_normalised_within_a_view_are_not_cut():
    """They are those of the picture shrunk to the limit."""
    model = local_model(flip=False)
    model.localizer.fits_in_tiles = False
    inputs = torch.rand(1, 3, 768, 768)
    seen = []
    model.backbone.register_forward_hook(
        lambda _, args, out: seen.append(tuple(args[0].shape[2:])))
    found, = predict(model, inputs, [[1]], max_pixels=384**2)
    assert seen == [(380, 380)] and found.cams.shape == (1, 768, 768)
