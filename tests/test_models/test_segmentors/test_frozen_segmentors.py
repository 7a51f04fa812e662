"""Heads on frozen features: batches of images of several sizes."""
import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch.testing import assert_close

from mmwsss.models.segmentors.frozen_encoder_decoder import labels_at
from mmwsss.registry import MODELS
from tests.test_models.builders import NUM_CLASSES, sample
from tests.test_models.frozen_builders import pictures, toy_network

SIZES = [(16, 24), (24, 16), (8, 8)]
PROCESSOR = dict(
    type='SegDataPreProcessor',
    mean=[0., 0., 0.],
    std=[1., 1., 1.],
    bgr_to_rgb=True,
    seg_pad_val=255,
    size_divisor=1)


def prepare(model, images, samples):
    batch = model.data_preprocessor(
        dict(inputs=list(images), data_samples=samples), True)
    return batch['inputs'], batch['data_samples']


def set_statistics(model):
    model.backbone.set_statistics(4, torch.ones(6).double(),
                                  torch.arange(1., 7.).double())
    return model


# --------------------------------------------------------- segmentation
def encoder_decoder(tmp_path, avg_non_ignore=True, **network):
    torch.manual_seed(0)
    return set_statistics(
        MODELS.build(
            dict(
                type='mmwsss.FrozenEncoderDecoder',
                data_preprocessor=PROCESSOR,
                backbone=dict(
                    type='mmwsss.FrozenFeatures',
                    networks=[toy_network(tmp_path, **network)]),
                decode_head=dict(
                    type='FCNHead',
                    num_convs=0,
                    kernel_size=1,
                    concat_input=False,
                    in_channels=6,
                    channels=6,
                    in_index=0,
                    num_classes=4,
                    dropout_ratio=0.,
                    norm_cfg=None,
                    loss_decode=dict(
                        type='CrossEntropyLoss',
                        avg_non_ignore=avg_non_ignore)),
                train_cfg=dict(),
                test_cfg=dict(mode='whole'))))


def with_mask(size, seed=0, label=None):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.randint(0, 5, (1, *size), generator=generator)
    mask[mask == 4] = 255
    if label is not None:
        mask[:] = label
    return SegDataSample(
        metainfo=dict(img_id='a', img_shape=size, ori_shape=size),
        gt_sem_seg=PixelData(data=mask))


def images_and_masks():
    return ([pictures(3, *s, seed=i) for i, s in enumerate(SIZES)],
            [with_mask(s, i) for i, s in enumerate(SIZES)])


@pytest.mark.parametrize('long_side', [None, 32])
def test_loss_is_the_mean_over_positions(tmp_path, long_side):
    model = encoder_decoder(tmp_path, long_side=long_side)
    images, masks = images_and_masks()
    losses = model.loss(*prepare(model, images, masks))
    total = count = 0
    for i, image in enumerate(images):
        alone = with_mask(SIZES[i], i)
        feats, = model.backbone(image.flip(0)[None])
        logits = model.decode_head.forward((feats, ))[0]
        label = labels_at(feats, None, [alone], [SIZES[i]])[0]
        label = label.gt_sem_seg.data[0]
        for y in range(label.shape[0]):
            for x in range(label.shape[1]):
                if label[y, x] != 255:
                    total = total - logits[:, y, x].log_softmax(
                        0)[label[y, x]]
                    count += 1
        loss = model.loss(*prepare(model, [image], [alone]))
        assert loss['decode.loss_ce'].isfinite()
    assert count > 20
    assert_close(losses['decode.loss_ce'], total / count)
    losses['decode.loss_ce'].backward()
    assert model.decode_head.conv_seg.weight.grad.abs().sum() > 0


def test_all_labels_ignored(tmp_path):
    for avg_non_ignore in (True, False):
        model = encoder_decoder(tmp_path, avg_non_ignore)
        losses = model.loss(*prepare(
            model, [pictures(3, 16, 16)], [with_mask((16, 16), label=255)]))
        assert losses['decode.loss_ce'] == 0
        losses['decode.loss_ce'].backward()
        assert not model.decode_head.conv_seg.weight.grad.any()


def test_labels_are_those_nearest_to_the_centres():
    size, grid = (13, 22), (3, 5)
    one = with_mask(size, 1)
    # In a batch with a larger image: padding, which is not looked at.
    padded = SegDataSample(
        gt_sem_seg=PixelData(
            data=F.pad(one.gt_sem_seg.data, (0, 9, 0, 11), value=3)))
    valid = torch.zeros(1, 1, 6, 7, dtype=torch.bool)
    valid[..., :3, :5] = True
    found = labels_at(
        torch.zeros(1, 2, 6, 7), valid, [padded],
        [size])[0].gt_sem_seg.data[0]
    assert found.dtype == torch.int64
    for y in range(6):
        for x in range(7):
            expected = 255
            if y < 3 and x < 5:
                expected = one.gt_sem_seg.data[
                    0, int((y + .5) * size[0] / grid[0]),
                    int((x + .5) * size[1] / grid[1])]
            assert found[y, x] == expected
    whole = labels_at(torch.zeros(1, 2, 3, 5), None, [one], [size])
    assert torch.equal(whole[0].gt_sem_seg.data[0], found[:3, :5])


def test_an_auxiliary_head_trains_too(tmp_path):
    model = encoder_decoder(tmp_path)
    model.auxiliary_head = MODELS.build(
        dict(
            type='FCNHead', num_convs=0, kernel_size=1, concat_input=False,
            in_channels=6, channels=6, in_index=0, num_classes=4,
            norm_cfg=None))
    images, masks = images_and_masks()
    losses = model.loss(*prepare(model, images, masks))
    assert {'decode.loss_ce', 'aux.loss_ce'} <= set(losses)


# ------------------------------------------------------- classification
def classifier(tmp_path, head=None, network=None, **kwargs):
    torch.manual_seed(0)
    return set_statistics(
        MODELS.build(
            dict(
                type='mmwsss.CAMSegmentor',
                data_preprocessor=PROCESSOR,
                backbone=dict(
                    type='mmwsss.FrozenFeatures',
                    networks=[toy_network(tmp_path, **(network or {}))]),
                cls_head=dict(
                    dict(
                        type='mmwsss.CAMHead',
                        num_classes=NUM_CLASSES,
                        in_channels=6,
                        bias=True), **(head or {})),
                localizer=dict(type='mmwsss.CAM'),
                **kwargs)))


def images_and_labels():
    return ([pictures(3, *s, seed=i) for i, s in enumerate(SIZES)],
            [sample([i, i + 1], s) for i, s in enumerate(SIZES)])


POOLINGS = [
    dict(type='mmwsss.GlobalAveragePooling'),
    dict(type='mmwsss.GlobalWeightedRankPooling', decay=0.9),
    dict(
        type='mmwsss.GlobalWeightedRankPooling', decay=0.9, num_positions=20)
]


@pytest.mark.parametrize('pooling', POOLINGS)
@pytest.mark.parametrize('long_side', [None, 32])
def test_a_batch_of_several_sizes(tmp_path, pooling, long_side):
    model = classifier(
        tmp_path, dict(pooling=pooling), dict(long_side=long_side))
    images, samples = images_and_labels()
    losses = model.loss(*prepare(model, images, samples))
    alone = [
        model.loss(*prepare(model, [image], [one]))
        for image, one in zip(*images_and_labels())
    ]
    for name in ('loss_cls', 'acc_tags'):
        assert_close(losses[name],
                     torch.stack([loss[name] for loss in alone]).mean())
    weight = model.cls_head.conv.weight
    losses['loss_cls'].backward()
    gradient = weight.grad.clone()
    model.zero_grad()
    torch.stack([loss['loss_cls'] for loss in alone]).mean().backward()
    assert gradient.abs().sum() > 0
    assert_close(weight.grad, gradient)


@pytest.mark.parametrize('head, match', [
    (dict(pooling=dict(type='mmwsss.HybridPooling')), 'HybridPooling'),
    (dict(pooling=dict(type='mmwsss.ThresholdedAveragePooling')),
     'ThresholdedAveragePooling'),
    (dict(pool_at_image_size=True), 'pool_at_image_size')])
def test_poolings_that_would_pool_the_padding(tmp_path, head, match):
    model = classifier(tmp_path, head)
    images, samples = images_and_labels()
    with pytest.raises(ValueError, match=f'differ in size.*{match}'):
        model.loss(*prepare(model, images, samples))
    # One by one they work.
    model.loss(*prepare(model, images[:1], images_and_labels()[1][:1]))


def test_a_second_view_of_several_sizes(tmp_path):
    model = classifier(
        tmp_path, second_view=dict(type='mmwsss.HorizontalFlip'))
    images, samples = images_and_labels()
    with pytest.raises(ValueError, match='differ in size.*second view'):
        model.loss(*prepare(model, images, samples))
    losses = model.loss(*prepare(model, images[:1],
                                 images_and_labels()[1][:1]))
    assert losses['loss_cls_view2'].isfinite()


def test_padding_that_regularizers_would_read(tmp_path):
    """Positions of several grids cannot be compared with pixels."""
    model = classifier(tmp_path)

    class Reader(torch.nn.Module):

        def attention_request(self):
            return None

        def forward(self, pair):
            return dict(loss_more=pair.first.cams.mean())

    model.regularizers['reader'] = Reader()
    images, samples = images_and_labels()
    with pytest.raises(ValueError, match='differ in size.*Reader'):
        model.loss(*prepare(model, images, samples))
    losses = model.loss(*prepare(model, images[:1],
                                 images_and_labels()[1][:1]))
    assert 'reader.loss_more' in losses


def test_prediction(tmp_path):
    model = classifier(tmp_path).eval()
    image = pictures(1, 3, 16, 24)
    with torch.no_grad():
        found, = model.predict(image, [sample([1, 3], (16, 24))])
    assert found.cams.shape == (2, 16, 24)
    assert found.class_ids.tolist() == [1, 3]
    assert list(model.parameters()) == [
        model.cls_head.conv.weight, model.cls_head.conv.bias
    ]
