import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from PIL import Image
from torch.testing import assert_close

from mmwsss.models.segmentors.amn import resize_nearest, scores_in_seeds
from mmwsss.registry import MODELS
from tests.test_models.builders import NUM_CLASSES, resnet_cfg, sample


def build(seed=0, **kwargs):
    parts = resnet_cfg()
    del parts['localizer']
    parts['cls_head'].update(
        type='mmwsss.LabelConditionedHead', dilations=(1, 2))
    torch.manual_seed(seed)
    model = MODELS.build(dict(type='mmwsss.AMN', **{**parts, **kwargs}))
    # Labels must matter and no logit be constant.
    for param in model.cls_head.parameters():
        torch.nn.init.normal_(param, std=0.1)
    return model


def batch(field='gt_sem_seg', tags=([1, 2], [])):
    samples = []
    for i, labels in enumerate(tags):
        samples.append(sample(labels, img_id=f'im{i}'))
        seeds = torch.zeros(1, 64, 64, dtype=torch.int64)
        for n, c in enumerate(labels):
            seeds[0, 20 * n:20 * n + 15, 10:40] = c + 1
        seeds[0, 55:] = 255
        setattr(samples[-1], field, PixelData(data=seeds))
    torch.manual_seed(1)
    return torch.randn(len(samples), 3, 64, 64), samples


def tags_of(samples):
    return torch.stack([s.gt_label.score for s in samples])


@pytest.mark.parametrize('size,other', [
    ((64, 48), (4, 3)), ((70, 50), (5, 7)), ((5, 7), (11, 3)), ((9, 9),
                                                              (1, 1))])
def test_nearest_as_pillow_has_it(size, other):
    masks = torch.randint(256, (2, *size), dtype=torch.uint8)
    found = resize_nearest(masks, other)
    for mask, small in zip(masks, found):
        image = Image.fromarray(mask.numpy())
        expected = image.resize(other[::-1], Image.Resampling.NEAREST)
        assert small.flatten().tolist() == list(expected.getdata())


def test_scores_in_seeds():
    torch.manual_seed(0)
    logits = torch.randn(4, 5, 6)
    seeds = torch.randint(4, (5, 6))
    seeds[0] = 255
    found = scores_in_seeds(logits, torch.tensor([0, 2]), seeds)
    prob = logits.exp() / logits.exp().sum(dim=0)
    for row, plane in zip(found, (0, 1, 3)):
        p = prob[plane]
        scaled = (p - p.min()) / (p.max() - p.min() + 1e-5)
        for i in range(5):
            for j in range(6):
                source = p if seeds[i, j] == 0 else scaled
                assert_close(row[i, j], source[i, j])
    # Tags of no class leave the background.
    found = scores_in_seeds(logits, torch.zeros(0, dtype=torch.int64), seeds)
    assert found.shape == (1, 5, 6)


def test_loss_compares_with_seeds_on_the_grid():
    model = build()
    model.cls_head.dropout.p = 0.
    model.eval()  # Batch statistics would move.
    inputs, samples = batch()
    losses = model.loss(inputs, samples)
    assert set(losses) == {'loss_seed', 'acc_seed'}
    feats = model.backbone(inputs)[0]
    code = model.cls_head.label_encoder(tags_of(samples))
    logits = model.cls_head.classify(feats * code[:, :, None, None])
    stride = 64 // feats.shape[2]
    seeds = torch.cat([s.gt_sem_seg.data for s in samples])
    seeds = seeds[:, stride // 2::stride, stride // 2::stride]
    target = torch.full_like(logits, 0.4 / NUM_CLASSES)
    target.scatter_(1, seeds.where(seeds != 255, 0)[:, None], 0.6)
    each = -(target * logits.log_softmax(1)).sum(1)
    known = seeds != 255
    expected = (each[seeds == 0].mean() + each[known & (seeds > 0)].mean()) / 2
    assert_close(losses['loss_seed'], expected)
    right = (logits.argmax(1) == seeds)[known].float().mean()
    assert_close(losses['acc_seed'], 100 * right)
    losses['loss_seed'].backward()
    assert all(p.grad.abs().sum() > 0
               for p in model.cls_head.parameters())


def test_learns_its_seeds():
    model = build()
    inputs, samples = batch()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    history = []
    for _ in range(25):
        losses = model.loss(inputs, samples)
        optimizer.zero_grad()
        losses['loss_seed'].backward()
        optimizer.step()
        history.append(float(losses['acc_seed']))
    assert history[-1] > 95 > history[0]


@pytest.mark.parametrize('flip', [True, False])
def test_prediction_follows_the_formula(flip):
    scales = (1., 0.5)
    model = build(test_cfg=dict(scales=scales, flip=flip)).eval()
    inputs, samples = batch('seed_sem_seg', tags=([1, 2], [], [4]))
    size = (50, 70)
    for s in samples:
        s.set_metainfo(dict(ori_shape=size))
        seeds = resize_nearest(s.seed_sem_seg.data, size)
        s.seed_sem_seg = PixelData(data=seeds)
    with torch.no_grad():
        found = model.predict(inputs, samples)
        logits = []
        for scale in scales:
            image = F.interpolate(
                inputs, scale_factor=scale, mode='bilinear')
            x = model._forward(image, samples)
            if flip:
                x = (x + model._forward(image.flip(-1), samples).flip(-1)) / 2
            logits.append(F.interpolate(x, size, mode='bilinear'))
    for i, (s, ids) in enumerate(zip(found, ([1, 2], [], [4]))):
        assert s.class_ids.tolist() == ids
        assert s.cams.shape == (len(ids), *size)
        scores = scores_in_seeds(sum(logits)[i] / len(logits), s.class_ids,
                                 s.seed_sem_seg.data[0])
        assert_close(s.cams, scores[1:])
        scores[0] = 0.25
        names = torch.tensor([0, *(c + 1 for c in ids)])
        assert torch.equal(s.pred_sem_seg.data[0], names[scores.argmax(0)])
        assert s.cams.numel() == 0 or 0 <= s.cams.min() <= s.cams.max() <= 1


def test_tags_condition_the_prediction():
    model = build().eval()
    inputs, samples = batch()
    with torch.no_grad():
        one = model._forward(inputs, samples)
        assert not torch.equal(one, model._forward(inputs))
        samples[0].gt_label.score[3] = 1
        two = model._forward(inputs, samples)
    assert not torch.equal(one[0], two[0]) and torch.equal(one[1], two[1])


def test_messages():
    model = build()
    inputs, samples = batch()
    for call, match in ((model.loss, 'im0 comes without seeds'),
                        (model.predict, "im0 .*key='seed_map'")):
        with pytest.raises(KeyError, match=match):
            call(inputs, [sample([1], img_id='im0')] * 2)
    with pytest.raises(KeyError, match='has no tags'):
        model.predict(inputs)
    with pytest.raises(ValueError, match='one view'):
        build(second_view=dict(type='mmwsss.HorizontalFlip'))
    with pytest.raises(KeyError, match="'fuse'"):
        build(test_cfg=dict(fuse='sum'))


def test_fine_grained_background_on_top():
    """Its losses reach the conditioned features; inference ignores it."""
    extra = dict(
        type='mmwsss.FineGrainedBackgroundContrast',
        in_channels=128,
        num_classes=NUM_CLASSES,
        embed_dims=8)
    model, plain = build(regularizers=dict(fbr=extra)), build(seed=3)
    inputs, samples = batch()
    losses = model.loss(inputs, samples)
    terms = {k for k in losses if 'loss' in k} - {'loss_seed'}
    assert {'fbr.loss_bg_contrast', 'fbr.loss_fg_contrast'} <= terms
    encoder = model.cls_head.label_encoder.weight
    grad = torch.autograd.grad(
        sum(losses[k] for k in terms), encoder, retain_graph=True)[0]
    assert grad.abs().sum() > 0
    sum(losses[k] for k in terms | {'loss_seed'}).backward()

    state = model.state_dict()
    missing = plain.load_state_dict(state, strict=False)
    assert not missing.missing_keys
    assert all(
        k.startswith('regularizers.') for k in missing.unexpected_keys)
    inputs, samples = batch('seed_sem_seg')
    outputs = []
    for m in (model, plain):
        m.eval()
        with torch.no_grad():
            outputs.append([s.cams for s in m.predict(inputs, samples)])
    assert all(torch.equal(a, b) for a, b in zip(*outputs))
