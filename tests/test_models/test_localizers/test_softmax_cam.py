import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from tests.test_models.builders import (
    NUM_CLASSES,
    build_segmentor,
    resnet_cfg,
    sample,
)

REFINER = dict(
    type='mmwsss.PixelCorrelationModule',
    in_channels=(128, ),
    channels=(8, ),
    in_index=(-1, ))


def build(**kwargs):
    parts = resnet_cfg(**kwargs)
    parts['localizer'] = dict(type='mmwsss.SoftmaxCAM')
    parts['cls_head']['with_background'] = True
    model = build_segmentor(**parts).eval()
    # Logits of a size that probabilities can show.
    model.cls_head.conv.weight.data.mul_(0.01)
    return model


def probabilities(model, image):
    """Written out: the head's last output is the background."""
    feats = model.extract_feat(image)[-1]
    maps = torch.einsum('nchw,kc->nkhw', feats,
                        model.cls_head.conv.weight[:, :, 0, 0])
    assert maps.shape[1] == NUM_CLASSES + 1
    return (maps.exp() / maps.exp().sum(dim=1, keepdim=True))[:, :-1]


def test_probabilities_of_the_asked_classes():
    model = build()
    image = torch.randn(2, 3, 64, 32)
    view = model.forward_view(image)
    maps = model.localizer(model, view, torch.tensor([[4, 0], [1, -1]]))
    prob = probabilities(model, image)
    assert_close(maps[0], prob[0, [4, 0]])
    assert_close(maps[1, 0], prob[1, 1])
    assert (maps[1, 1] == 0).all()
    # All classes compete, also those that nobody asks for.
    assert 0.1 < maps[0].sum(dim=0).mean() < 0.9


def test_prediction_adds_up_views_and_divides_by_the_maximum():
    scales = (0.5, 1.)
    model = build(
        test_cfg=dict(
            scales=scales,
            interpolation='bicubic',
            normalize='max',
            eps=1e-5,
            threshold=0.22))
    image, size, ids = torch.randn(1, 3, 64, 64), (50, 70), [0, 3]
    result, = model.predict(image.clone(), [sample(ids, ori_shape=size)])
    total = 0
    for scale in scales:
        view = image if scale == 1 else F.interpolate(
            image, scale_factor=scale, mode='bicubic', antialias=True)
        for mirrored in (False, True):
            prob = probabilities(model, view.flip(-1) if mirrored else view)
            prob = F.interpolate(
                prob[:, ids], size, mode='bilinear', align_corners=False)[0]
            total = total + (prob.flip(-1) if mirrored else prob)
    expected = total / (total.amax(dim=(1, 2), keepdim=True) + 1e-5)
    assert_close(result.cams, expected, rtol=1e-4, atol=1e-5)
    assert result.cams.amax(dim=(1, 2)).min() > 0.999


def test_a_refiner_takes_no_part():
    plain, refined = build(), build(refiner=REFINER)
    refined.load_state_dict(plain.state_dict(), strict=False)
    inputs = torch.randn(2, 3, 64, 64)
    results = [
        m.predict(inputs.clone(), [sample([1]), sample([2, 4])])
        for m in (plain, refined)
    ]
    for one, other in zip(*results):
        assert torch.equal(one.cams, other.cams)


def test_needs_a_map_of_the_background():
    parts = resnet_cfg()
    parts['localizer'] = dict(type='mmwsss.SoftmaxCAM')
    with pytest.raises(ValueError, match='SoftmaxCAM.*with_background=True'):
        build_segmentor(**parts)
