import pytest
import torch
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample
from torch.testing import assert_close

from mmwsss.models.segmentors.cam_segmentor import cams_to_mask, pad_class_ids
from mmwsss.registry import MODELS
from mmwsss.structures import AttentionRequest
from tests.test_models.builders import (
    ARCH,
    NUM_CLASSES,
    build_segmentor,
    dpt_cfg,
    resnet_cfg,
    sample,
    vit_cfg,
)

BOTH = pytest.mark.parametrize('parts', [dict(), resnet_cfg()],
                               ids=['vit', 'resnet'])


def predict(model, inputs, samples):
    model.eval()
    with torch.no_grad():
        return model.predict(inputs, samples)


@BOTH
def test_loss(parts):
    model = build_segmentor(**parts)
    losses = model.loss(
        torch.randn(2, 3, 64, 64), [sample([1, 2]), sample([])])
    assert set(losses) == {'loss_cls', 'acc_tags'}
    losses['loss_cls'].backward()
    assert all(p.grad is not None
               for p in model.cls_head.parameters())


@BOTH
def test_second_view_doubles_the_classification_loss(parts):
    model = build_segmentor(
        second_view=dict(type='mmwsss.HorizontalFlip'), **parts).eval()
    image = torch.randn(1, 3, 64, 64)
    losses = model.loss(image, [sample([1])])
    flipped = model.loss(image.flip(-1), [sample([1])])
    assert_close(
        losses['loss_cls_view2'], flipped['loss_cls'], rtol=1e-4, atol=1e-4)


@BOTH
def test_predict(parts):
    model = build_segmentor(**parts)
    samples = [
        sample([1, 3], (50, 70)),
        sample([], (20, 30)),
        sample([0], (1, 1))
    ]
    out = predict(model, torch.randn(3, 3, 64, 64), samples)
    for data_sample, k, size in zip(out, (2, 0, 1), ((50, 70), (20, 30),
                                                     (1, 1))):
        assert data_sample.cams.shape == (k, *size)
        assert data_sample.class_ids.shape == (k, )
        assert data_sample.pred_sem_seg.data.shape == (1, *size)
        assert data_sample.tag_scores.shape == (NUM_CLASSES, )
        if k:
            assert 0 <= data_sample.cams.min() <= data_sample.cams.max() <= 1
    assert out[0].class_ids.tolist() == [1, 3]
    assert (out[1].pred_sem_seg.data == 0).all()
    seen = set(out[0].pred_sem_seg.data.unique().tolist())
    assert seen <= {0, 2, 4} and len(seen) > 1


def test_a_batch_gives_what_single_images_give():
    model = build_segmentor()
    inputs = torch.randn(3, 3, 64, 64)
    tags = [[1, 3], [], [0, 2, 4]]
    together = predict(model, inputs, [sample(t, (40, 40)) for t in tags])
    for i, t in enumerate(tags):
        alone, = predict(model, inputs[i:i + 1], [sample(t, (40, 40))])
        assert_close(together[i].cams, alone.cams, rtol=1e-3, atol=1e-4)


def test_whole_batch_without_classes():
    model = build_segmentor()
    out = predict(model, torch.randn(2, 3, 64, 64),
                  [sample([], (9, 9)), sample([], (9, 9))])
    assert all(s.cams.shape == (0, 9, 9) for s in out)
    model.loss(torch.randn(2, 3, 64, 64),
               [sample([]), sample([])])['loss_cls'].backward()


def test_flip_fusion_is_symmetric():
    """With both flips, the mirrored image gives the mirrored maps."""
    model = build_segmentor()
    inputs = torch.randn(1, 3, 64, 48)
    plain, = predict(model, inputs, [sample([2], (64, 48))])
    mirrored, = predict(model, inputs.flip(-1), [sample([2], (64, 48))])
    assert_close(mirrored.cams.flip(-1), plain.cams, rtol=1e-3, atol=1e-4)
    one = build_segmentor(test_cfg=dict(flip=False))
    single, = predict(one, inputs, [sample([2], (64, 48))])
    assert (single.cams - plain.cams).abs().max() > 1e-3


def test_scales_are_added_up():
    model = build_segmentor(test_cfg=dict(flip=False, scales=(1.0, 0.5)))
    inputs, ids = torch.randn(1, 3, 64, 64), torch.tensor([[1, 3]])
    views, _, _ = model.compute_cams(inputs, ids)
    assert [v[0].shape[-2:] for v in views] == [(4, 4), (2, 2)]
    out, = predict(model, inputs, [sample([1, 3], (30, 30))])
    resized = [
        torch.nn.functional.interpolate(
            maps, (30, 30), mode='bilinear', align_corners=True)[0]
        for maps, _ in views
    ]
    total = resized[0] + resized[1]
    low = total.amin((1, 2), keepdim=True)
    high = total.amax((1, 2), keepdim=True)
    assert_close(out.cams, (total - low) / (high - low + 1e-6),
                 rtol=1e-3, atol=1e-4)


def test_max_fusion():
    model = build_segmentor(test_cfg=dict(fuse='max', normalize='max'))
    inputs, ids = torch.randn(1, 3, 64, 64), torch.tensor([[1]])
    maps = model.compute_cams(inputs, ids)[0][0][0]
    model.test_cfg['flip'] = False
    plain = model.compute_cams(inputs, ids)[0][0][0]
    mirrored = model.compute_cams(inputs.flip(-1), ids)[0][0][0].flip(-1)
    assert_close(maps, torch.maximum(plain, mirrored), rtol=1e-3, atol=1e-5)


def test_flips_may_be_fused_otherwise_than_scales():
    model = build_segmentor(
        test_cfg=dict(
            scales=(1.0, 0.5), fuse='sum', flip_fuse='max', normalize='max'))
    inputs = torch.randn(1, 3, 64, 64)
    out, = predict(model, inputs, [sample([1, 3], (30, 40))])
    model.test_cfg.update(flip=False)
    ids = torch.tensor([[1, 3]])
    total = 0
    for (plain, _), (mirrored, _) in zip(
            model.compute_cams(inputs, ids)[0],
            model.compute_cams(inputs.flip(-1), ids)[0]):
        assert (plain - mirrored.flip(-1)).abs().max() > 1e-3
        total = total + torch.nn.functional.interpolate(
            torch.maximum(plain, mirrored.flip(-1)), (30, 40),
            mode='bilinear', align_corners=model.align_corners)[0]
    expected = total / (total.amax((1, 2), keepdim=True) + 1e-6)
    assert_close(out.cams, expected, rtol=1e-3, atol=1e-4)
    model.test_cfg.update(flip=True, flip_fuse='mean')
    with pytest.raises(ValueError, match="flip_fuse.* is 'mean'"):
        model.compute_cams(inputs, ids)


@pytest.mark.parametrize('size', [(1, 1), (16, 640), (33, 47), (100, 7)])
@BOTH
def test_odd_sizes(parts, size):
    model = build_segmentor(**parts)
    out, = predict(model, torch.randn(1, 3, *size), [sample([1], size)])
    assert out.cams.shape == (1, *size)
    assert out.cams.isfinite().all()


def test_padding_does_not_shift_the_maps():
    """An input of 40 x 24 is padded to 48 x 32; its maps cover 40 x 24."""
    model = build_segmentor(test_cfg=dict(flip=False))
    inputs = torch.randn(1, 3, 40, 24)
    padded = torch.nn.functional.pad(inputs, (0, 8, 0, 8))
    ids = torch.tensor([[1]])
    (maps, covered), = model.compute_cams(inputs, ids)[0]
    assert covered == (40 / 48, 24 / 32)
    assert_close(maps, model.compute_cams(padded, ids)[0][0][0])


def test_tags_are_predicted_when_there_are_none():
    model = build_segmentor(test_cfg=dict(flip=False))
    with torch.no_grad():
        model.cls_head.fc.bias.copy_(
            torch.tensor([99., -99., 99., -99., -99.]))
    inputs = torch.randn(2, 3, 64, 64)
    out = predict(model, inputs, None)
    assert [s.class_ids.tolist() for s in out] == [[0, 2]] * 2
    # The tags of the sample are only used where asked for.
    model.test_cfg['use_image_labels'] = False
    out = predict(model, inputs, [sample([1]), sample([])])
    assert [s.class_ids.tolist() for s in out] == [[0, 2]] * 2
    scores = model.encode_decode(inputs, [])
    assert scores.shape == (2, NUM_CLASSES + 1, 64, 64)
    assert (scores[:, 0] == 0.4).all() and (scores[:, [2, 4, 5]] == 0).all()
    assert scores[:, [1, 3]].max() > 0.9


def test_threshold():
    cams = torch.tensor([[[0.3, 0.9, 0.5]], [[0.2, 0.95, 0.4]]])
    mask = cams_to_mask(cams, torch.tensor([3, 7]), 0.5)
    assert mask.tolist() == [[0, 8, 0]]


def test_missing_tags_and_wrong_class_count():
    model = build_segmentor()
    image = torch.randn(1, 3, 64, 64)
    with pytest.raises(KeyError, match='2007_1 has no tags'):
        model.loss(image, [SegDataSample(metainfo=dict(img_id='2007_1'))])
    other = SegDataSample()
    other.gt_label = LabelData(label=torch.tensor([1]), score=torch.zeros(3))
    with pytest.raises(ValueError, match='num_classes'):
        model.loss(image, [other])


def test_unknown_test_option():
    with pytest.raises(KeyError, match='scale'):
        build_segmentor(test_cfg=dict(scale=(1.0, )))


def test_localizer_needs_attention():
    parts = resnet_cfg()
    parts['localizer'] = dict(type='mmwsss.GETAM')
    with pytest.raises(
            TypeError, match='ResNet shows neither .* which GETAM reads'):
        build_segmentor(**parts)


def test_requests_merge():
    assert AttentionRequest.merge([None, None]) is None
    merged = AttentionRequest.merge([
        None,
        AttentionRequest(matrices='mean', patch_tokens=False),
        AttentionRequest(affinity=True)
    ])
    assert merged == AttentionRequest(matrices='mean', affinity=True)
    with pytest.raises(ValueError, match='different forms'):
        AttentionRequest.merge([
            AttentionRequest(matrices='mean'),
            AttentionRequest(matrices='heads')
        ])


def test_pad_class_ids():
    ids = [torch.tensor([4]), torch.tensor([], dtype=torch.int64)]
    assert pad_class_ids(ids, torch.zeros(1)).tolist() == [[4], [-1]]


def test_plain_classifier_skips_the_last_patch_tokens(monkeypatch):
    """The baseline computes no more than its class token needs."""
    model = build_segmentor()
    seen = []
    forward = type(model.backbone).forward_view

    def spy(self, image, request, align=None):
        seen.append(request)
        return forward(self, image, request, align)

    monkeypatch.setattr(type(model.backbone), 'forward_view', spy)
    model.loss(torch.randn(1, 3, 64, 64), [sample([1])])
    assert seen == [AttentionRequest(patch_tokens=False)]


def test_tensor_mode_gives_logits():
    model = build_segmentor()
    assert model(torch.randn(2, 3, 64, 64)).shape == (2, NUM_CLASSES)


def test_any_backbone_of_mmpretrain():
    model = build_segmentor(
        backbone=dict(type='mmpretrain.MobileNetV2', widen_factor=0.25),
        cls_head=dict(
            type='mmwsss.CAMHead', num_classes=NUM_CLASSES,
            in_channels=1280),
        localizer=dict(type='mmwsss.CAM'))
    out, = predict(model, torch.randn(1, 3, 64, 64), [sample([1], (64, 64))])
    assert out.cams.shape == (1, 64, 64)


def test_distilled_and_rectangular():
    model = build_segmentor(
        backbone=vit_cfg(distilled=True),
        second_view=dict(type='mmwsss.HorizontalFlip'),
        regularizers=dict(acr=dict(type='mmwsss.AllPairsConsistency')))
    image = torch.randn(1, 3, 32, 80)
    model.loss(image, [sample([1])])['acr.loss_affinity'].backward()
    out, = predict(model, image, [sample([1], (32, 80))])
    assert out.cams.shape == (1, 32, 80)


@pytest.mark.parametrize('distilled', [False, True])
@pytest.mark.parametrize('frozen', [False, True])
def test_gradients_cross_the_pyramid(distilled, frozen):
    """GETAM of a score that is pooled from DPT's last map.

    Against one backward pass per class through all attention matrices.
    """
    model = build_segmentor(**dpt_cfg(
        backbone=vit_cfg(out_indices=(0, 1, 2, 3), distilled=distilled)))
    model.requires_grad_(not frozen)
    image = torch.randn(2, 3, 32, 96)
    class_ids = torch.tensor([[0, 3], [2, -1]])
    with torch.no_grad():
        view = model.forward_view(
            image, request=model.localizer.attention_request(model))
        maps = model.localizer(model, view, class_ids)
    assert maps.shape == (2, 2, 2, 6) and len(view.feats) == 1
    assert not maps.requires_grad and (maps[1, 1] == 0).all()
    assert all(p.grad is None for p in model.parameters())
    model.requires_grad_(True)
    for n, k in ((0, 0), (0, 1), (1, 0)):
        full = model.forward_view(
            image[n:n + 1], request=AttentionRequest(matrices='heads'))
        attention = full.attentions[1:]
        grads = torch.autograd.grad(full.logits[0, class_ids[n, k]],
                                    attention)
        # mean over heads of relu(G A), times that of relu(G)
        expected = sum((g * a).relu().mean(1) * g.relu().mean(1)
                       for a, g in zip(attention, grads))
        expected = expected[0, 0, full.num_prefix_tokens:]
        assert expected.max() > 0
        ours = maps[n, k].flatten()
        assert_close(
            ours / expected.max(),
            expected / expected.max(),
            rtol=1e-3,
            atol=1e-4)


def test_only_the_map_that_is_read_is_reassembled(monkeypatch):
    model = build_segmentor(**dpt_cfg())
    seen = []
    forward = type(model.neck).forward

    def spy(self, feats, cls_tokens, last_only=False):
        seen.append(last_only)
        return forward(self, feats, cls_tokens, last_only)

    monkeypatch.setattr(type(model.neck), 'forward', spy)
    image = torch.randn(1, 3, 64, 64)
    model.loss(image, [sample([1])])
    predict(model, image, [sample([1], (64, 64))])
    assert seen == [True, True]
    assert len(model.extract_feat(image)) == 4
    assert len(model.forward_view(image, last_only=False).feats) == 4
    # A head that counts maps from the front gets all of them.
    model.cls_head.in_index = 3
    model.loss(image, [sample([1])])
    assert seen[2:] == [False] * 3


def test_class_token_head_needs_no_pyramid(monkeypatch):
    model = build_segmentor(**dpt_cfg(
        cls_head=dict(
            type='mmwsss.ClassTokenHead',
            num_classes=NUM_CLASSES,
            in_channels=24)))
    image = torch.randn(1, 3, 64, 64)
    # Until somebody reads it.
    assert len(model.forward_view(image, last_only=False).feats) == 4
    monkeypatch.setattr(type(model.neck), 'forward', None)
    model.loss(image, [sample([1])])['loss_cls'].backward()
    out, = predict(model, image, [sample([1], (64, 64))])
    assert out.cams.shape == (1, 64, 64)


def test_inputs_are_padded_to_what_the_pyramid_needs():
    model = build_segmentor(**dpt_cfg())
    assert model.size_divisor == 32
    image, covered = model.scale_and_pad(torch.randn(1, 3, 40, 64), 1.)
    assert image.shape == (1, 3, 64, 64) and covered == (40 / 64, 1)
    out, = predict(model, torch.randn(1, 3, 40, 50), [sample([1], (40, 50))])
    assert out.cams.shape == (1, 40, 50) and out.cams.max() > 0
    with pytest.raises(ValueError, match='3 x 4 tokens.*of 32 pixels'):
        model.forward_view(torch.randn(1, 3, 40, 64))


def test_mirrored_view_of_a_pyramid():
    model = build_segmentor(**dpt_cfg(
        second_view=dict(type='mmwsss.HorizontalFlip'),
        regularizers=dict(acr=dict(type='mmwsss.AllPairsConsistency'))))
    losses = model.loss(torch.randn(2, 3, 32, 64), [sample([1])] * 2)
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    assert model.neck.taps[3].readout.weight.grad.abs().sum() > 0


def test_pyramid_needs_class_tokens():
    parts = resnet_cfg()
    with pytest.raises(ValueError, match='DPTReassemble reads class tokens.*'
                       'AttentionViT'):
        build_segmentor(**{**parts, 'neck': dpt_cfg()['neck']})


def test_pyramid_on_a_hybrid():
    """The stem gives the two fine maps, blocks the coarse ones."""
    parts = dpt_cfg(
        backbone=dict(
            type='mmwsss.HybridViT',
            arch=ARCH,
            stem=dict(
                layers=(1, 1, 1), channels=(16, 32, 8), stem_channels=8),
            stem_out_indices=(0, 1),
            out_indices=(1, 3),
            img_size=64))
    parts['neck'].update(out_channels=(16, 32, 8, 10), num_stem_maps=2)
    model = build_segmentor(**parts)
    image = torch.randn(1, 3, 64, 96)
    assert [tuple(f.shape[1:]) for f in model.extract_feat(image)
            ] == [(16, 16, 24), (32, 8, 12), (8, 4, 6), (10, 2, 3)]
    head = MODELS.build(
        dict(
            type='mmwsss.DPTDecoderHead',
            in_channels=(16, 32, 8, 10),
            channels=8,
            reduction=2,
            num_classes=NUM_CLASSES + 1)).eval()
    logits = head(model.extract_feat(image))
    assert logits.shape == (1, NUM_CLASSES + 1, 64, 96)
    model.loss(image, [sample([1])])['loss_cls'].backward()
    out, = predict(model, torch.randn(1, 3, 40, 70), [sample([1], (40, 70))])
    assert out.cams.shape == (1, 40, 70) and out.cams.max() > 0


def test_refiner_that_no_loss_trains_rests():
    """Distributed training stops at parameters without a gradient."""
    from ...small_models import batch_of, build, load, losses_of
    cfg = load('seam/seam_r18_shapes')
    for weights in (dict(ecr_weight=0, rvmin_weight=0), dict()):
        cfg.model.regularizers = dict(
            seam=dict(type='mmwsss.EquivariantRegularization', **weights))
        model = build(cfg).train()
        losses = losses_of(model, batch_of(cfg))
        model.parse_losses(losses)[0].backward()
        without = [
            name for name, p in model.named_parameters()
            if p.requires_grad and p.grad is None
        ]
        assert without == []
        trained = [p.grad is not None for p in model.refiner.parameters()]
        assert len(trained) and all(t == (not weights) for t in trained)


def test_attention_maps_in_full_precision_under_autocast():
    """``val_cfg.fp16``: maps of 1e-7 would be lost in half precision."""
    from ...small_models import batch_of, build, load
    cfg = load('acr/acr_vit_shapes')
    model = build(cfg).eval()
    cams = []
    for enabled in (False, True):
        with torch.autocast('cpu', torch.bfloat16, enabled), torch.no_grad():
            samples = model.test_step(batch_of(cfg, training=False))
        cams.append(samples[0].cams)
    assert torch.equal(*cams)
