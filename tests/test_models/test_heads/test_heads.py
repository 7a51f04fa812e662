import pytest
import torch
from torch.testing import assert_close

from mmwsss.registry import MODELS
from mmwsss.structures import ViewOutput


def view(**fields):
    return ViewOutput(torch.zeros(2, 3, 8, 8), fields=fields)


def test_class_token_head():
    head = MODELS.build(
        dict(type='mmwsss.ClassTokenHead', num_classes=3, in_channels=4))
    token = torch.randn(2, 4)
    assert_close(
        head(view(cls_token=token)), token @ head.fc.weight.T + head.fc.bias)


def test_gap_before_or_after_the_convolution_is_the_same():
    head = MODELS.build(
        dict(type='mmwsss.CAMHead', num_classes=3, in_channels=4)).eval()
    feats = torch.randn(2, 4, 5, 6)
    v = ViewOutput(
        torch.zeros(2, 3, 8, 8),
        fields=dict(feats=(feats, )),
        providers=dict(cams=head.cams))
    expected = feats.mean(dim=(2, 3)) @ head.conv.weight[:, :, 0, 0].T
    assert_close(head(v), expected)


@pytest.mark.parametrize('at_image_size', [False, True])
def test_bias_belongs_to_the_scores(at_image_size):
    head, plain = (
        MODELS.build(
            dict(
                type='mmwsss.CAMHead',
                num_classes=3,
                in_channels=4,
                pool_at_image_size=at_image_size,
                bias=bias)) for bias in (True, False))
    torch.nn.init.normal_(head.conv.bias)
    plain.load_state_dict(dict(head.state_dict()), strict=False)
    feats = torch.randn(2, 4, 5, 6)
    views = [
        ViewOutput(
            torch.zeros(2, 3, 8, 8),
            fields=dict(feats=(feats, )),
            providers=dict(cams=h.cams)) for h in (head, plain)
    ]
    assert_close(head(views[0]), plain(views[1]) + head.conv.bias)
    assert torch.equal(views[0].cams, views[1].cams)
    if not at_image_size:
        weight = head.conv.weight[:, :, 0, 0]
        assert_close(
            head(views[0]),
            feats.mean(dim=(2, 3)) @ weight.T + head.conv.bias)


@pytest.mark.parametrize('kind', [
    'GlobalAveragePooling', 'GlobalWeightedRankPooling', 'HybridPooling',
    'LogSumExpPooling', 'TopSharePooling'
])
def test_bias_in_the_maps_leaves_the_scores_alone(kind):
    heads = [
        MODELS.build(
            dict(
                type='mmwsss.CAMHead',
                num_classes=3,
                in_channels=4,
                pooling=dict(type=f'mmwsss.{kind}'),
                bias=True,
                bias_in_cams=inside)) for inside in (False, True)
    ]
    torch.nn.init.normal_(heads[0].conv.bias)
    heads[1].load_state_dict(heads[0].state_dict())
    feats = torch.randn(2, 4, 5, 6)
    views = [
        ViewOutput(
            torch.zeros(2, 3, 8, 8),
            fields=dict(feats=(feats, )),
            providers=dict(cams=h.cams)) for h in heads
    ]
    assert_close(heads[0](views[0]), heads[1](views[1]))
    bias = heads[0].conv.bias[:, None, None]
    assert_close(views[0].cams + bias, views[1].cams)
    with pytest.raises(ValueError, match='no bias'):
        MODELS.build(
            dict(
                type='mmwsss.CAMHead',
                num_classes=3,
                in_channels=4,
                bias_in_cams=True))


def test_soft_margin_loss():
    head = MODELS.build(
        dict(
            type='mmwsss.ClassTokenHead',
            num_classes=3,
            in_channels=4,
            loss_weight=2.))
    s, y = torch.randn(2, 3), torch.tensor([[1., 0, 1], [0, 0, 0]])
    softplus = torch.nn.functional.softplus
    expected = (softplus(-s) * y + softplus(s) * (1 - y)).mean()
    v = ViewOutput(torch.zeros(1), y, fields=dict(logits=s))
    assert_close(head.loss(v), 2 * expected)


def test_view_is_lazy_and_says_what_it_lacks():
    calls = []

    def logits(v):
        calls.append(v)
        return torch.ones(1)

    v = ViewOutput(torch.zeros(1), providers=dict(logits=logits))
    assert not calls
    assert v.logits is v.logits and len(calls) == 1
    with pytest.raises(AttributeError, match="no 'attentions', only"):
        v.attentions


@pytest.mark.parametrize('pooling', ['GlobalAveragePooling', 'HybridPooling'])
def test_a_background_map_beside_the_classes(pooling):
    """The last output; maps and scores of the classes do not change."""
    head, plain = (
        MODELS.build(
            dict(
                type='mmwsss.CAMHead',
                num_classes=3,
                in_channels=4,
                bias=True,
                pooling=dict(type='mmwsss.' + pooling),
                with_background=extra)) for extra in (True, False))
    assert head.conv.weight.shape[0] == 4 and not plain.with_background
    torch.nn.init.normal_(head.conv.bias)
    plain.load_state_dict({
        'conv.weight': head.conv.weight[:3],
        'conv.bias': head.conv.bias[:3]
    })
    feats = torch.randn(2, 4, 5, 6)
    views = [
        ViewOutput(
            torch.zeros(2, 3, 8, 8),
            fields=dict(feats=(feats, )),
            providers=dict(cams=h.cams, pixel_logits=h.pixel_logits))
        for h in (head, plain)
    ]
    assert_close(views[0].cams, views[1].cams)
    assert_close(head(views[0]), plain(views[1]))
    background = torch.einsum('c,nchw->nhw', head.conv.weight[3, :, 0, 0],
                              feats)
    assert_close(views[0].pixel_logits[:, 0], background)
    assert_close(views[0].pixel_logits[:, 1:], views[1].cams)


def test_label_conditioned_head():
    torch.manual_seed(0)
    head = MODELS.build(
        dict(
            type='mmwsss.LabelConditionedHead',
            num_classes=3,
            in_channels=4,
            dilations=(1, 2)))
    feats = torch.randn(2, 4, 5, 6)
    labels = torch.tensor([[1., 0., 1.], [0., 0., 0.]])
    codes = labels @ head.label_encoder.weight.T + head.label_encoder.bias
    conditioned = head.condition(feats, labels)
    for n in range(2):
        for c in range(4):
            assert_close(conditioned[n, c], feats[n, c] * codes[n, c])
    head.eval()
    expected = sum(
        torch.nn.functional.conv2d(
            conditioned, conv.weight, conv.bias, padding=d, dilation=d)
        for conv, d in zip(head.branches, (1, 2)))
    v = ViewOutput(
        torch.zeros(2, 3, 8, 8),
        fields=dict(feats=(conditioned, )),
        providers=dict(pixel_logits=head.pixel_logits))
    assert_close(v.pixel_logits, expected)
    assert torch.equal(head.cams(v), v.pixel_logits[:, 1:])
    # Dropout in training only.
    assert torch.equal(head.classify(conditioned), v.pixel_logits)
    head.train()
    assert not torch.equal(head.classify(conditioned), v.pixel_logits)
