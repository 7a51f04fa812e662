"""Refiners after any model of mmseg, and a frozen affinity on CAM files."""
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.structures import LabelData, PixelData
from mmseg.structures import SegDataSample
from torch import nn
from torch.testing import assert_close

from mmwsss.models.refiners.frozen_affinity import FrozenAffinity
from mmwsss.pseudo_labels.pamr import PAMR
from mmwsss.registry import MODELS
from tests.test_models.frozen_builders import pictures, toy_network

CLASSES = 5
MEAN, STD = [110., 120., 130.], [50., 60., 70.]
CRF = dict(type='mmwsss.DenseCRFRefiner', num_iters=2, backend='torch')
SMALL_PAMR = dict(type='mmwsss.PAMR', num_iters=2, dilations=(1, 2))


@MODELS.register_module()
class ShiftRefiner(nn.Module):
    """Moves every class up by one, or halves the size; notes what it got."""

    def __init__(self, small: bool = False) -> None:
        super().__init__()
        self.small = small
        self.seen = []

    def forward(self, image, probs):
        self.seen.append((image, probs))
        if self.small:
            return probs[..., ::2, ::2]
        return probs.roll(1, dims=1)


def inner(**head):
    """A model whose every position has logits of its own."""
    return dict(
        type='EncoderDecoder',
        backbone=dict(
            type='mmwsss.ToyFrozenNet', stride=2, channels=CLASSES * 2),
        decode_head=dict(
            dict(
                type='FCNHead',
                num_convs=0,
                kernel_size=1,
                concat_input=False,
                in_channels=CLASSES * 2,
                channels=CLASSES * 2,
                in_index=0,
                num_classes=CLASSES,
                dropout_ratio=0.,
                norm_cfg=None), **head),
        train_cfg=ConfigDict(),
        test_cfg=ConfigDict(mode='whole'))


def processor(**kwargs):
    return dict(
        type='SegDataPreProcessor', mean=MEAN, std=STD, bgr_to_rgb=True,
        size_divisor=1, **kwargs)


def build(*refiners, data_preprocessor=None, seed=0, **kwargs):
    torch.manual_seed(seed)
    model = MODELS.build(
        dict(
            type='mmwsss.RefinedSegmentor',
            data_preprocessor=data_preprocessor or processor(),
            segmentor=inner(),
            refiners=refiners,
            **kwargs))
    for param in model.segmentor.parameters():
        nn.init.normal_(param, std=0.7)
    return model.eval()


def sample(*labels, **meta):
    one = SegDataSample(metainfo=dict(img_id='a', **meta))
    if labels:
        one.gt_label = LabelData(label=torch.tensor(labels))
    return one


@torch.no_grad()
def predict(model, images, samples):
    batch = model.data_preprocessor(
        dict(inputs=list(images), data_samples=samples), False)
    return model.predict(**batch), batch['inputs']


def whole(size, **kwargs):
    return dict(ori_shape=size, img_shape=size, **kwargs)


def test_lack_of_memory_names_image_and_setting():
    model = build(dict(type='mmwsss.PAMR', num_iters=2, dilations=(1, 2)))

    def fail(*_):
        raise RuntimeError('CUDA out of memory. Tried to allocate 9 GiB.')

    model.refiners[0].forward = fail
    with pytest.raises(MemoryError, match='image a .*16 x 12 pixels.*'
                       'test_cfg.long_side, now None'):
        predict(model, pictures(1, 3, 12, 16), [sample(**whole((12, 16)))])


# ------------------------------------------------------- without refiners
def test_without_refiners_it_is_the_model():
    model = build()
    images = pictures(2, 3, 12, 16)
    ours, inputs = predict(
        model, images, [sample(**whole((12, 16))) for _ in range(2)])
    with torch.no_grad():
        theirs = model.segmentor.predict(
            inputs,
            [sample(**whole((12, 16), pad_shape=(12, 16))) for _ in range(2)])
    for one, other in zip(ours, theirs):
        assert torch.equal(one.pred_sem_seg.data, other.pred_sem_seg.data)
        assert len(one.pred_sem_seg.data.unique()) > 2
        assert_close(one.seg_logits.data,
                     other.seg_logits.data.softmax(dim=0))
        assert one.step_names == ['model']
        assert torch.equal(one.step_sem_seg.data, one.pred_sem_seg.data)
    # Without samples as well.
    with torch.no_grad():
        bare = model.predict(inputs)
    assert torch.equal(bare[1].pred_sem_seg.data,
                       ours[1].pred_sem_seg.data)


def test_training_is_that_of_the_model():
    model = build(SMALL_PAMR)
    inputs = pictures(1, 3, 8, 8) / 50
    one = sample(**whole((8, 8)))
    one.gt_sem_seg = PixelData(data=torch.randint(0, CLASSES, (1, 8, 8)))
    ours = model.loss(inputs, [one])
    theirs = model.segmentor.loss(inputs, [one])
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name])
    assert_close(model(inputs), model.segmentor(inputs))
    assert not list(model.refiners.parameters())


# ----------------------------------------------------- geometry of a test
@pytest.mark.parametrize('direction', ['horizontal', 'vertical'])
def test_flipped_padded_and_resized(direction):
    """An image resized to 10 x 14, flipped, padded to 12 x 16."""
    model = build(dict(type='mmwsss.ShiftRefiner'))
    image = pictures(3, 10, 14)
    dim = -1 if direction == 'horizontal' else -2
    padded = F.pad(image.flip(dim), (0, 2, 0, 2), value=255)
    found, inputs = predict(model, padded[None], [
        sample(
            ori_shape=(20, 21),
            img_shape=(10, 14),
            padding_size=[0, 2, 0, 2],
            flip=True,
            flip_direction=direction)
    ])
    with torch.no_grad():
        logits = model.segmentor.encode_decode(
            inputs, [dict(img_shape=(12, 16))])
    probs = logits[0, :, :10, :14].softmax(dim=0)
    image_seen, probs_seen = model.refiners[0].seen[0]
    # The refiner sees the picture without padding, in RGB.
    assert_close(image_seen[0], image.flip(dim).flip(0), rtol=0, atol=1e-3)
    kept = sorted({0, *probs.argmax(dim=0).unique().tolist()})
    assert len(kept) > 2
    assert_close(probs_seen[0], probs[kept])
    refined = torch.zeros_like(probs)
    refined[kept] = probs[kept].roll(1, dims=0)
    for step, expected in enumerate((probs, refined)):
        expected = F.interpolate(
            expected.flip(dim)[None], (20, 21), mode='bilinear')[0]
        assert torch.equal(found[0].step_sem_seg.data[step],
                           expected.argmax(dim=0))
    assert_close(found[0].seg_logits.data, expected / expected.sum(dim=0))
    assert found[0].pred_sem_seg.data.shape == (1, 20, 21)


def test_padding_of_the_preprocessor():
    model = build(
        data_preprocessor=processor(test_cfg=dict(size_divisor=8)))
    image = pictures(1, 3, 10, 12)
    found, inputs = predict(model, image, [sample(**whole((10, 12)))])
    assert inputs.shape == (1, 3, 16, 16)
    with torch.no_grad():
        logits = model.segmentor.encode_decode(
            inputs, [dict(img_shape=(16, 16))])
    assert torch.equal(found[0].pred_sem_seg.data[0],
                       logits[0, :, :10, :12].argmax(dim=0))


# ------------------------------------------------------ image-level labels
@pytest.mark.parametrize('refiners', [(), (SMALL_PAMR, ), (CRF, )])
def test_absent_classes_never_occur(refiners):
    model = build(*refiners, test_cfg=dict(use_image_labels=True))
    images = pictures(3, 3, 12, 16)
    meta = whole((12, 16))
    none = sample(**meta)
    none.gt_label = LabelData(label=torch.zeros(0, dtype=torch.int64))
    found, _ = predict(
        model, images, [sample(2, 0, **meta), none, sample(**meta)])
    first, second, third = (one.step_sem_seg.data for one in found)
    assert set(first.unique().tolist()) <= {0, 1, 3}
    assert len(first.unique()) > 1
    assert not second.any()  # No class is present.
    for absent in (2, 4):
        assert not found[0].seg_logits.data[absent].any()
    # Without labels none are needed; nor are they read where not asked for.
    model.test_cfg['use_image_labels'] = False
    free, _ = predict(
        model, images, [sample(2, 0, **meta), sample(**meta), sample(**meta)])
    assert torch.equal(free[2].step_sem_seg.data, third)
    assert not set(free[0].step_sem_seg.data.unique().tolist()) <= {0, 1, 3}


# ---------------------------------------------------------------- refiners
def test_order_and_names():
    shift = dict(type='mmwsss.ShiftRefiner')
    half = dict(type='mmwsss.ShiftRefiner', small=True)
    model = build(shift, half, SMALL_PAMR, shift)
    assert model.step_names == [
        'model', 'ShiftRefiner', 'ShiftRefiner_2', 'PAMR', 'ShiftRefiner_3'
    ]
    found, _ = predict(
        model, pictures(1, 3, 12, 16), [sample(**whole((12, 16)))])
    assert found[0].step_names == model.step_names
    assert found[0].step_sem_seg.data.shape == (5, 12, 16)
    assert torch.equal(found[0].step_sem_seg.data[-1:],
                       found[0].pred_sem_seg.data)
    # Each gets what the one before made.
    sizes = [r.seen[0][1].shape[2:] for r in (
        model.refiners[0], model.refiners[1], model.refiners[3])]
    assert [tuple(s) for s in sizes] == [(12, 16), (12, 16), (12, 16)]
    other = build(half, shift)
    predict(other, pictures(1, 3, 12, 16), [sample(**whole((12, 16)))])
    assert other.refiners[1].seen[0][1].shape[2:] == (6, 8)


def test_each_refiner_by_hand(tmp_path):
    network = toy_network(tmp_path)
    refiners = [
        SMALL_PAMR,
        dict(SMALL_PAMR, kernel='par'), CRF,
        dict(type='mmwsss.FrozenAffinity', network=network)
    ]
    image = pictures(3, 12, 16)
    rgb = image.flip(0)[None]
    probs = predict(build(), image[None],
                    [sample(**whole((12, 16)))])[0][0].seg_logits.data
    kept = sorted({0, *probs.argmax(dim=0).unique().tolist()})
    assert 1 < len(kept) < CLASSES or kept == list(range(CLASSES))
    by_hand = [
        PAMR(2, (1, 2))(rgb, probs[None, kept]),
        PAMR(2, (1, 2), 'par')(rgb, probs[None, kept]),
        MODELS.build(CRF)(rgb, probs[None, kept]),
        FrozenAffinity(network).refine_maps(rgb, probs[None, kept])
    ]
    for refiner, expected in zip(refiners, by_hand):
        found, _ = predict(
            build(refiner), image[None], [sample(**whole((12, 16)))])
        mask = torch.tensor(kept)[F.interpolate(
            expected, (12, 16), mode='bilinear')[0].argmax(dim=0)]
        # Rounding of the normalised image may turn a tie.
        same = (found[0].pred_sem_seg.data[0] == mask).float().mean()
        assert same > 0.98, refiner
        before = (found[0].step_sem_seg.data[0] == mask).float().mean()
        assert before < 1, refiner  # It does something.


def test_classes_that_win_nowhere_are_left_out():
    model = build(dict(type='mmwsss.ShiftRefiner'))
    image = pictures(3, 4, 4)
    probs = torch.full((CLASSES, 4, 4), 0.1)
    probs[3] = 0.2
    probs[3, 0, 0], probs[1, 0, 0] = 0.1, 0.3
    steps = model.refine(probs, image)
    assert_close(model.refiners[0].seen[0][1][0], probs[[0, 1, 3]])
    assert not steps[1][[2, 4]].any()


# ------------------------------------------------------------------ errors
def test_errors(tmp_path):
    with pytest.raises(ValueError, match='single channel'):
        MODELS.build(
            dict(
                type='mmwsss.RefinedSegmentor',
                segmentor=inner(
                    num_classes=2,
                    out_channels=1,
                    threshold=.3,
                    loss_decode=dict(
                        type='CrossEntropyLoss', use_sigmoid=True))))
    with pytest.raises(KeyError, match='RefinedSegmentor.test_cfg.*mode'):
        build(test_cfg=dict(mode='whole'))
    model = build(
        dict(type='mmwsss.FrozenAffinity', network=toy_network(tmp_path)))
    with pytest.raises(ValueError, match='Image a: .*20 times as long'):
        predict(model, pictures(1, 3, 4, 100), [sample(**whole((4, 100)))])


# -------------------------------------------------- a stage on CAM files
def cam_sample(size, ids, cams):
    one = sample(**whole(size))
    one.set_data(dict(cams=cams, class_ids=torch.tensor(ids).long()))
    return one


def build_stage(tmp_path, **kwargs):
    return MODELS.build(
        dict(
            type='mmwsss.AffinityRefiner',
            affinity=dict(network=toy_network(tmp_path)),
            data_preprocessor=dict(
                processor(), mean=[0., 0., 0.], std=[1., 1., 1.]),
            **kwargs)).eval()


def test_affinity_of_cam_files(tmp_path):
    model = build_stage(tmp_path, threshold=0.35)
    image = pictures(3, 16, 20)
    cams = torch.rand(2, 16, 20)
    (found, ), _ = predict(
        model, image[None], [cam_sample((16, 20), [4, 1], cams)])
    maps = FrozenAffinity(toy_network(tmp_path)).refine_maps(
        image.flip(0)[None], cams[None])
    maps = F.interpolate(maps, (16, 20), mode='bilinear')[0]
    low, high = (f(maps, (1, 2), True) for f in (torch.amin, torch.amax))
    maps = (maps - low) / (high - low)
    assert_close(found.cams, maps, rtol=1e-4, atol=1e-5)
    assert found.class_ids.tolist() == [4, 1]
    score, best = maps.max(dim=0)
    expected = torch.where(score > .35, torch.tensor([5, 2])[best], 0)
    # But for what rounding decides.
    sure = ((maps[0] - maps[1]).abs() > 1e-4) & ((score - .35).abs() > 1e-4)
    assert sure.float().mean() > .9
    assert torch.equal(found.pred_sem_seg.data[0][sure], expected[sure])


def test_affinity_without_classes_and_training(tmp_path):
    model = build_stage(tmp_path)
    (found, ), inputs = predict(
        model, pictures(1, 3, 16, 20),
        [cam_sample((16, 20), [], torch.zeros(0, 16, 20))])
    assert not found.pred_sem_seg.data.any() and len(found.cams) == 0
    # Nothing in it can be trained.
    assert not list(model.parameters()) and model.training_free
    with pytest.raises(TypeError, match='nothing to train.*tools/test.py'):
        model.loss(inputs, [])
    assert model.extract_feat(inputs)[0].shape == (1, 6, 4, 5)
    with pytest.raises(KeyError, match='Image a comes without CAMs'):
        predict(model, pictures(1, 3, 16, 20), [sample(**whole((16, 20)))])
