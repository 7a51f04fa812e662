"""AffinityNet and IRNet as segmentors."""
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.optim import OptimWrapper
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image

from mmwsss.datasets import ImageLevelDataset
from mmwsss.evaluation import CAMIoUMetric
from mmwsss.pseudo_labels import instances_irn
from mmwsss.pseudo_labels.cam_file import write_cam
from mmwsss.pseudo_labels.dense_crf import DenseCRF
from mmwsss.pseudo_labels.pixel_pairs import path_cells, path_offsets
from mmwsss.registry import MODELS
from tests.test_datasets.builders import METAINFO, make_voc

RESNET = dict(
    depth=18,
    out_indices=(0, 1, 2, 3),
    style='pytorch',
    dilations=(1, 1, 1, 1))
CHANNELS = (64, 64, 128, 256, 512)
EDGE = dict(
    type='mmwsss.EdgeHead', in_channels=CHANNELS, channels=4, num_groups=2)
FIELD = dict(
    type='mmwsss.DisplacementHead',
    in_channels=CHANNELS,
    channels=(4, ) * 5,
    num_groups=(2, ) * 5)


def build_affinity_net(**kwargs):
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='mmwsss.AffinityNet',
            backbone=dict(
                type='ResNet',
                depth=18,
                num_stages=2,
                strides=(1, 2),
                dilations=(1, 1),
                out_indices=(0, 1),
                norm_eval=True),
            decode_head={
                **dict(
                    type='mmwsss.AffinityHead',
                    in_channels=(64, 128),
                    channels=(8, 8),
                    radius=3),
                **kwargs.pop('decode_head', {})
            },
            stride=4,
            **kwargs)).eval()


def build_irnet(**kwargs):
    torch.manual_seed(0)
    kwargs.setdefault('propagate', dict(crop_size=64))
    return MODELS.build(
        dict(
            type='mmwsss.IRNet',
            backbone=dict(
                type='mmwsss.ResNetWithStem', strides=(1, 2, 2, 1), **RESNET),
            edge_head=EDGE,
            **kwargs)).eval()


def make_sample(ids, size, cam_size=None, seed=0, img_id='pic'):
    """A sample with smooth random CAMs."""
    rng = np.random.default_rng(seed)
    h, w = cam_size or size
    cams = torch.from_numpy(rng.random((len(ids), h, w), dtype=np.float32))
    sample = SegDataSample(metainfo=dict(img_id=img_id, ori_shape=size))
    sample.set_data(
        dict(cams=cams, class_ids=torch.tensor(ids, dtype=torch.int64)))
    return sample


def dense_walk(affinity, offsets, beta, steps, planes):
    """The published walk: a dense matrix, column-normalised, to a power."""
    count, h, w = affinity.shape
    matrix = torch.eye(h * w, dtype=torch.float64)
    for p, (dy, dx) in enumerate(offsets.tolist()):
        for y in range(h - dy):
            for x in range(max(-dx, 0), min(w, w - dx)):
                i, j = y * w + x, (y + dy) * w + x + dx
                matrix[i, j] = matrix[j, i] = affinity[p, y, x]
    matrix = matrix**beta
    matrix = torch.matrix_power(matrix / matrix.sum(0), steps)
    return (planes.double().flatten(1) @ matrix).view(-1, h, w)


def enlarged(planes, factor, size):
    planes = torch.nn.functional.interpolate(
        planes[None], scale_factor=factor, mode='bilinear')[0]
    return planes[:, :size[0], :size[1]]


def test_affinity_net_predicts_the_published_walk():
    model = build_affinity_net(walk=dict(alpha=6, beta=4, log_steps=3))
    size = (29, 34)
    image = torch.randn(1, 3, *size)
    sample = make_sample([1, 4], size)
    cams = sample.cams.clone()
    with torch.no_grad():
        result, = model.predict(image, [sample])
        padded = torch.nn.functional.pad(image, (0, 2, 0, 3))
        affinity, offsets = model.decode_head.dense_affinity(
            model.backbone(padded))
    # All 21 planes, the absent ones empty.
    planes = torch.zeros(21, 32, 36)
    planes[[2, 5], :29, :34] = cams
    planes[0, :29, :34] = (1 - cams.amax(0))**6
    planes = torch.nn.functional.avg_pool2d(planes, 4)
    scores = enlarged(
        dense_walk(affinity[0], offsets, 4, 8, planes), 4, size)
    assert result.pred_sem_seg.data.shape == (1, *size)
    agree = (result.pred_sem_seg.data[0] == scores.argmax(0)).float().mean()
    assert agree > 0.995
    assert len(scores.argmax(0).unique()) > 1
    expected = scores[[2, 5]] / scores.max()
    torch.testing.assert_close(
        result.cams.double(), expected, rtol=0, atol=1e-5)
    assert result.class_ids.tolist() == [1, 4]


def test_irnet_predicts_the_published_propagation():
    model = build_irnet(
        propagate=dict(
            radius=3, beta=2, log_steps=1, threshold=0.8, crop_size=64))
    size = (29, 34)
    image = torch.randn(1, 3, *size)
    sample = make_sample([0, 3], size, cam_size=(8, 9))
    cams = sample.cams.clone()
    with torch.no_grad():
        result, = model.predict(image, [sample])
        views = torch.zeros(2, 3, 64, 64)
        views[0, :, :29, :34] = image[0]
        views[1, :, :29, :34] = image[0].flip(-1)
        logit = model.edge_head(model.backbone(views))[:, 0, :8, :9]
    edge = torch.sigmoid((logit[0] + logit[1].flip(-1)) / 2)
    offsets = path_offsets(3)
    affinity = torch.zeros(len(offsets), 8, 9)
    for p, (dy, dx) in enumerate(offsets.tolist()):
        for y in range(8 - dy):
            for x in range(max(-dx, 0), min(9, 9 - dx)):
                affinity[p, y, x] = 1 - max(
                    edge[y + a, x + b] for a, b in path_cells(dy, dx))
    scores = enlarged(
        dense_walk(affinity, offsets, 2, 2, cams * (1 - edge)), 4, size)
    scores = scores / scores.max()
    torch.testing.assert_close(result.cams.double(), scores, rtol=0, atol=1e-5)
    best, index = scores.max(0)
    expected = torch.where(best > 0.8, torch.tensor([1, 4])[index], 0)
    assert (result.pred_sem_seg.data[0] == expected).float().mean() > 0.995
    assert len(expected.unique()) == 3


def test_irnet_takes_class_maps_to_a_power():
    size, power = (29, 34), 1.3
    sample, powered = make_sample([0, 3], size), make_sample([0, 3], size)
    for each in (sample, powered):
        # As many cells as pixels, so that nothing is resized before.
        each.cams = make_sample([0, 3], size, cam_size=(8, 9)).cams
    powered.cams = powered.cams**power
    image = torch.randn(1, 3, *size)
    options = dict(radius=3, beta=2, log_steps=1, crop_size=64)
    with torch.no_grad():
        plain, = build_irnet(propagate=options).predict(image, [powered])
        result, = build_irnet(
            propagate=dict(options, cam_power=power)).predict(image, [sample])
        other, = build_irnet(propagate=options).predict(
            image, [make_sample([0, 3], size, cam_size=(8, 9))])
    torch.testing.assert_close(result.cams, plain.cams)
    assert torch.equal(result.pred_sem_seg.data, plain.pred_sem_seg.data)
    assert (result.cams - other.cams).abs().max() > 0.01


@pytest.mark.parametrize('build', [build_affinity_net, build_irnet])
def test_image_without_class(build):
    model = build()
    with torch.no_grad():
        result, = model.predict(
            torch.randn(1, 3, 40, 48), [make_sample([], (40, 48))])
    assert torch.equal(result.pred_sem_seg.data,
                       torch.zeros(1, 40, 48, dtype=torch.int64))
    assert result.cams.shape == (0, 40, 48)
    assert result.class_ids.shape == (0, )


@pytest.mark.parametrize('build', [build_affinity_net, build_irnet])
def test_batch_does_not_matter(build):
    model = build()
    samples = [make_sample([2], (40, 48)), make_sample([0, 1], (37, 30))]
    images = [torch.randn(3, 40, 48), torch.randn(3, 37, 30)]
    # As mmseg pads a batch.
    batch = torch.zeros(2, 3, 40, 48)
    batch[0], batch[1, :, :37, :30] = images
    with torch.no_grad():
        together = model.predict(batch, [s.clone() for s in samples])
        for image, sample, other in zip(images, samples, together):
            alone, = model.predict(image[None], [sample])
            assert torch.equal(alone.cams, other.cams)
            assert torch.equal(alone.pred_sem_seg.data,
                               other.pred_sem_seg.data)


def test_results_can_be_scored():
    model = build_affinity_net()
    metric = CAMIoUMetric(num_classes=5)
    sample = make_sample([2, 3], (40, 48))
    sample.gt_sem_seg = PixelData(
        data=torch.randint(0, 5, (1, 40, 48)))
    with torch.no_grad():
        results = model.predict(torch.randn(1, 3, 40, 48), [sample])
    metric.process({}, [r.to_dict() for r in results])
    assert 0 < metric.evaluate(1)['mIoU'] < 100


def test_irnet_mirror_image_gives_mirrored_masks():
    model = build_irnet()
    sample = make_sample([0, 2], (36, 40))
    image = torch.randn(1, 3, 36, 40)
    other = make_sample([0, 2], (36, 40))
    other.cams = other.cams.flip(-1)
    with torch.no_grad():
        plain, = model.predict(image, [sample])
        mirrored, = model.predict(image.flip(-1), [other])
    torch.testing.assert_close(
        plain.cams, mirrored.cams.flip(-1), rtol=0, atol=1e-5)


def test_irnet_takes_images_above_the_crop_size():
    model = build_irnet()
    for size in ((70, 50), (50, 97), (130, 66)):
        with torch.no_grad():
            result, = model.predict(
                torch.randn(1, 3, *size), [make_sample([1], size)])
        assert result.cams.shape == (1, *size)
        assert result.pred_sem_seg.data.max() == 2


def labelled(sizes, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    samples = []
    for size in sizes:
        label = torch.full((1, *size), 255)
        label[:, :-2] = 0
        label[:, 2:5, 3:9] = int(rng.integers(1, classes))
        sample = SegDataSample(metainfo=dict(img_id='pic'))
        sample.gt_sem_seg = PixelData(data=label)
        samples.append(sample)
    return samples


def test_affinity_net_learns():
    model = build_affinity_net().train()
    torch.manual_seed(0)
    image, samples = torch.randn(2, 3, 48, 48), labelled([(12, 12)] * 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    history = []
    for _ in range(12):
        losses = model.loss(image, samples)
        assert set(losses) == {'loss_bg', 'loss_fg', 'loss_neg'}
        loss = sum(losses.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(float(loss))
    assert history[-1] < 0.8 * history[0]
    # The backbone takes part.
    assert model.backbone.conv1.weight.grad.abs().sum() > 0


def test_irnet_trains_its_heads_only():
    model = build_irnet(displacement_head=FIELD, radius=3).train()
    assert not any(m.training for m in model.backbone.modules())
    assert model.edge_head.training
    before = {k: v.clone() for k, v in model.state_dict().items()}
    image, samples = torch.randn(2, 3, 48, 48), labelled([(12, 12)] * 2)
    optimizer = torch.optim.Adam(
        [p for p in model.parameters() if p.requires_grad], lr=1e-3)
    history = []
    for _ in range(30):
        losses = model.loss(image, samples)
        assert set(losses) == {
            'loss_bg', 'loss_fg', 'loss_neg', 'loss_dp_fg', 'loss_dp_bg'
        }
        loss = sum(losses.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(float(loss))
    assert history[-1] < 0.9 * history[0]
    for name, value in model.state_dict().items():
        changed = not torch.equal(value, before[name])
        assert changed == (not name.startswith('backbone.')
                           and not name.endswith('running_mean')), name


def test_calibrated_displacement_has_mean_zero():
    model = build_irnet(displacement_head=FIELD).train()
    torch.manual_seed(0)
    batches = [
        dict(inputs=torch.randn(n, 3, 48, 48), data_samples=None)
        for n in (2, 1)
    ]
    mean = model.calibrate_displacement(batches)
    assert model.training and not model.backbone.training
    # As prediction sees the images: padded to 64, cut back to 48 pixels.
    with torch.no_grad():
        fields = torch.stack([
            model.eval().predict_field(x) for b in batches for x in b['inputs']
        ])
    assert fields.shape == (3, 2, 12, 12)
    assert mean.abs().min() > 1e-3
    torch.testing.assert_close(
        fields.mean((0, 2, 3)), torch.zeros(2), rtol=0, atol=1e-5)
    # Again gives the same; the old mean does not enter.
    torch.testing.assert_close(mean.clone(),
                               model.calibrate_displacement(batches))
    with pytest.raises(ValueError, match='no image'):
        model.calibrate_displacement([])
    with pytest.raises(ValueError, match='no displacement_head'):
        build_irnet().calibrate_displacement(batches)


def instance_net(**options):
    """An IRNet that predicts instances, its mean measured."""
    model = build_irnet(
        displacement_head=FIELD, instances=options,
        propagate=dict(radius=3, crop_size=64))
    with torch.no_grad():  # Else all cells hardly move.
        model.displacement_head.predict.weight *= 8
    torch.manual_seed(1)
    model.calibrate_displacement([dict(inputs=torch.randn(2, 3, 40, 48))])
    return model


def test_irnet_predicts_instances():
    size = (38, 45)
    image = torch.randn(1, 3, *size)
    model = instance_net(num_steps=40, threshold=1.5, min_area=0.02)
    with torch.no_grad():
        result, = model.predict(image, [make_sample([4, 1], size)])
        # Beside them everything is as without.
        model.instances = None
        plain, = model.predict(image, [make_sample([4, 1], size)])
        edge = model.predict_edge(image[0])
        # The displacements of the padded image, cut back.
        views = torch.nn.functional.pad(
            torch.cat((image, image.flip(-1))), (0, 64 - 45, 0, 64 - 38))
        field = model.displacement_head(
            [x[:1] for x in model.backbone(views)])[0, :, :10, :12]
        torch.testing.assert_close(
            field, model.predict_field(image[0]), rtol=0, atol=1e-4)
    assert torch.equal(result.cams, plain.cams)
    assert torch.equal(result.pred_sem_seg.data, plain.pred_sem_seg.data)
    assert 'pred_instances' not in plain
    found = result.pred_instances
    assert found.masks.dtype == torch.bool
    assert found.labels.dtype == torch.int64
    assert len(found) > 2 and found.masks.shape[1:] == size
    assert set(found.labels.tolist()) == {1, 4}
    assert found.masks.sum(0).max() == 1
    assert found.scores.max() == 1
    small = found.masks.sum((1, 2)) < 0.02 * 38 * 45
    assert torch.equal(found.scores == 0, small)
    # The same from the parts, of which each is tested for itself.
    cams = torch.nn.functional.interpolate(
        make_sample([4, 1], size).cams[None], size=(10, 12),
        mode='bilinear')[0]
    masks, index, scores = instances_irn(
        cams, edge, field, size, 40, 1.5, min_area=0.02, radius=3)
    assert torch.equal(masks, found.masks)
    assert torch.equal(torch.tensor([4, 1])[index], found.labels)
    torch.testing.assert_close(scores, found.scores)


def test_instances_of_image_without_class():
    model = instance_net()
    with torch.no_grad():
        result, = model.predict(
            torch.randn(1, 3, 40, 48), [make_sample([], (40, 48))])
    assert result.pred_instances.masks.shape == (0, 40, 48)
    assert not result.pred_sem_seg.data.any()


def test_instances_need_displacements_and_their_mean():
    with pytest.raises(ValueError, match='displacement_head=dict'):
        build_irnet(instances=dict())
    with pytest.raises(KeyError, match=r"instances does not know \['steps'\]"):
        build_irnet(displacement_head=FIELD, instances=dict(steps=3))
    model = build_irnet(displacement_head=FIELD, instances=dict())
    assert model.instances == dict(
        num_steps=300, threshold=2.5, background=0.25, min_area=0.01)
    image, sample = torch.randn(1, 3, 40, 48), make_sample([1], (40, 48))
    with torch.no_grad(), pytest.raises(
            ValueError, match='Image pic: .*DisplacementMeanHook'):
        model.predict(image, [sample])
    # Its loader gives images that are smaller than their batch too.
    other = torch.zeros(1, 3, 40, 48)
    other[..., :32, :40] = image[..., :32, :40]
    small = SegDataSample(metainfo=dict(ori_shape=(32, 40)))
    mean = model.calibrate_displacement(
        [dict(inputs=other, data_samples=[small])]).clone()
    torch.testing.assert_close(
        mean,
        model.calibrate_displacement([dict(inputs=image[..., :32, :40])]))


def test_stem_comes_first():
    cfg = dict(RESNET, strides=(1, 2, 2, 1))
    torch.manual_seed(0)
    ours = MODELS.build(dict(type='mmwsss.ResNetWithStem', **cfg))
    plain = MODELS.build(dict(type='ResNet', **cfg))
    ours.eval()
    plain.eval()
    plain.load_state_dict(ours.state_dict())
    image = torch.randn(1, 3, 70, 50)
    stem, *stages = ours(image)
    assert stem.shape == (1, 64, 18, 13)
    for a, b in zip(stages, plain(image)):
        assert torch.equal(a, b)
    assert torch.equal(plain.layer1(stem), stages[0])


@pytest.mark.parametrize('build', [build_affinity_net, build_irnet])
def test_errors_name_the_image(build):
    model = build()
    image = torch.randn(1, 3, 40, 48)
    bare = SegDataSample(metainfo=dict(img_id='2007_000032'))
    with pytest.raises(KeyError, match='2007_000032 .*LoadCAMs'):
        model.predict(image, [bare])
    for meta in (dict(ori_shape=(80, 96)),
                 dict(ori_shape=(20, 24), img_shape=(40, 48))):
        sample = make_sample([1], (40, 48), img_id='2007_000032')
        sample.set_metainfo(meta)
        with pytest.raises(ValueError, match='2007_000032 .*own size'):
            model.predict(image, [sample])
    with pytest.raises(KeyError, match='2007_000032 .*AffinityLabel'):
        model.loss(image, [bare])
    with pytest.raises(ValueError, match=r'\(3, 3\) cells'):
        model.loss(image, labelled([(3, 3)]))
    with pytest.raises(NotImplementedError, match='LoadCAMs'):
        model.encode_decode(image, [])


def test_affinity_net_errors():
    with pytest.raises(ValueError, match='pic: A map of 2x2 .* radius 3'):
        build_affinity_net().predict(
            torch.randn(1, 3, 7, 8), [make_sample([1], (7, 8))])
    shrinking = build_affinity_net(decode_head=dict(shrink_radius=True))
    with torch.no_grad():
        shrinking.predict(
            torch.randn(1, 3, 7, 8), [make_sample([1], (7, 8))])
    model = build_affinity_net()
    model.stride = 8
    with pytest.raises(ValueError, match='pic: .*stride=8 is not'):
        model.predict(torch.randn(1, 3, 40, 48), [make_sample([1], (40, 48))])
    with pytest.raises(KeyError, match=r"walk does not know \['gamma'\]"):
        build_affinity_net(walk=dict(gamma=1))
    with pytest.raises(KeyError, match=r"propagate does not know \['crop'\]"):
        build_irnet(propagate=dict(crop=1))


def image_files(tmp_path, size=(52, 61)):
    """A data set of two images with CAMs, scores and masks."""
    root = make_voc(tmp_path, {'a': [0], 'b': [0, 1]}, size=size)
    rng = np.random.default_rng(0)
    for img_id, ids in (('a', [0]), ('b', [0, 1])):
        cams = rng.random((len(ids), *size)) / 2
        for folder in ('cams', 'low', 'high'):
            write_cam(root / folder, img_id, ids, cams, size)
    return root


def dataset(root, *pipeline, **kwargs):
    return ImageLevelDataset(
        data_root=str(root),
        ann_file='ImageSets/Segmentation/train.txt',
        labels_file='labels.json',
        metainfo=METAINFO,
        cam_dir='cams',
        mask_dir='SegmentationClass',
        low_score_dir='low',
        high_score_dir='high',
        pipeline=[
            dict(type='mmwsss.LoadImage'), *pipeline,
            dict(type='mmwsss.PackWSSSInputs')
        ],
        **kwargs)


PREPROCESSOR = dict(
    type='SegDataPreProcessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    size_divisor=1)


@pytest.mark.parametrize('build,labels', [
    (build_affinity_net, [
        dict(type='mmwsss.LoadScores'),
        dict(type='mmwsss.ColorJitter'),
        dict(type='mmwsss.PlaceCrop', size=48, pad_val=(0, 0, 0)),
        dict(type='mmwsss.RandomFlip', prob=0.5),
        dict(type='mmwsss.AffinityLabel', stride=4)
    ]),
    (build_irnet, [
        dict(type='mmwsss.LoadPseudoMask'),
        dict(type='mmwsss.RandomRescale'),
        dict(type='mmwsss.RandomFlip', prob=0.5),
        dict(type='mmwsss.PlaceCrop', size=64),
        dict(type='mmwsss.DownscaleLabel', factor=4)
    ]),
])
def test_from_files_to_masks(tmp_path, monkeypatch, build, labels):
    monkeypatch.chdir(image_files(tmp_path))
    options = {} if build is build_affinity_net else dict(radius=5)
    model = build(data_preprocessor=PREPROCESSOR, **options)
    train = dataset('.', *labels)
    wrapper = OptimWrapper(
        torch.optim.SGD([p for p in model.parameters() if p.requires_grad],
                        lr=0.01))
    np.random.seed(0)
    batch = pseudo_collate([train[0], train[1]])
    losses = model.train().train_step(batch, wrapper)
    assert np.isfinite(float(losses['loss'])) and float(losses['loss']) > 0
    test = dataset(
        '.',
        dict(type='mmwsss.LoadMask'),
        dict(type='mmwsss.LoadCAMs'),
        with_masks=True,
        test_mode=True)
    model.eval()
    with torch.no_grad():
        result, = model.test_step(pseudo_collate([test[1]]))
    assert result.class_ids.tolist() == [0, 1]
    assert result.cams.shape == (2, 52, 61)
    assert result.pred_sem_seg.data.shape == (1, 52, 61)
    assert not torch.equal(result.cams, test[1]['data_samples'].cams)


def crf_case(tmp_path):
    """A picture of two halves and a sample with CAMs that miss its border."""
    image = np.full((24, 32, 3), 40, dtype=np.uint8)
    image[:, 16:] = 200
    Image.fromarray(image).save(tmp_path / 'pic.png')
    sample = make_sample([4], (24, 32))
    cam = torch.zeros(1, 24, 32)
    cam[..., 13:] = .7
    sample.set_data(dict(cams=cam))
    return image, sample


def test_crf_after_the_walk(tmp_path):
    """The scores of the walk are probabilities of a dense CRF."""
    crf = dict(num_iters=5, bilateral_sxy=20, bilateral_srgb=8)
    image, sample = crf_case(tmp_path)
    walked = build_affinity_net(walk=dict(alpha=2, log_steps=1))
    inputs = torch.zeros(1, 3, 24, 32)
    plain, = walked.predict(inputs, [sample.clone()])
    scores = walked.refine(inputs[0], sample.cams)
    expected = DenseCRF(**crf)(
        image, -np.log((scores / scores.sum(0)).clamp(1e-5, 1).numpy()))
    sample.set_metainfo(dict(img_path=str(tmp_path / 'pic.png')))
    with_crf = build_affinity_net(
        walk=dict(alpha=2, log_steps=1), test_cfg=dict(crf=crf))
    with_crf.load_state_dict(walked.state_dict())
    found, = with_crf.predict(inputs, [sample.clone()])
    expected = torch.from_numpy(expected)
    torch.testing.assert_close(
        found.pred_sem_seg.data[0], 5 * expected.argmax(0))
    torch.testing.assert_close(
        found.cams, expected[1:] / expected.max())
    # The CAM reaches three columns too far, the CRF ends at the edge.
    assert (plain.pred_sem_seg.data[0, :, 14] == 5).all()
    assert (found.pred_sem_seg.data[0, :, :16] == 0).all()
    assert (found.pred_sem_seg.data[0, :, 16:] == 5).all()


def test_crf_without_classes_or_picture(tmp_path):
    """Nothing to refine, and what to do where the image is not known."""
    model = build_affinity_net(test_cfg=dict(crf=dict()))
    found, = model.predict(torch.zeros(1, 3, 24, 32),
                           [make_sample([], (24, 32))])
    assert not found.pred_sem_seg.data.any()
    with pytest.raises(ValueError, match="pic.*Keep 'img_path'"):
        model.predict(torch.zeros(1, 3, 24, 32), [make_sample([1], (24, 32))])
    with pytest.raises(KeyError, match='AffinityNet.test_cfg.*crff'):
        build_affinity_net(test_cfg=dict(crff=dict()))
