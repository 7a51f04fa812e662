import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmwsss.datasets import ShapesDataset, generate_shapes, read_image_labels
from mmwsss.datasets import shapes as module
from mmwsss.datasets.shapes import (
    BODIES,
    CLASSES,
    COMPANIONS,
    add_saliency,
    draw_saliency,
    draw_shapes_image,
)

SMALL = dict(num_train=6, num_val=3, image_size=48)


def read(path):
    with Image.open(path) as image:
        return np.array(image)


def draw(bodies):
    return [
        draw_shapes_image(np.random.default_rng((0, i)), bodies=bodies)
        for i in range(600)
    ]


@pytest.fixture(scope='module')
def tinted():
    return draw('tinted')


@pytest.fixture(scope='module')
def plain():
    return draw('plain')


@pytest.fixture(params=['tinted', 'plain'])
def kind(request):
    return request.param


@pytest.fixture
def drawn(kind, request):
    return request.getfixturevalue(kind)


def test_images_hold_what_they_claim(drawn, kind):
    told = []
    for one in drawn:
        assert one.image.shape == (96, 96, 3)
        assert one.image.dtype == np.uint8
        objects = one.instances > 0
        assert np.array_equal(one.mask > 0, objects)
        assert np.array_equal(one.parts > 0, objects)
        for i in range(1, one.instances.max() + 1):
            own = one.instances == i
            # Each object shows one class and most a discriminative part.
            assert len(np.unique(one.mask[own])) == 1
            told.append((one.parts[own] == 2).any())
    assert abs(1 - np.mean(told) - BODIES[kind].hidden) < 0.05
    assert {1, 2, 3} <= {one.instances.max() for one in drawn}
    bare = np.mean([one.mask.max() == 0 for one in drawn])
    assert 0.01 < bare < 0.09
    many = np.mean([len(np.unique(one.mask)) > 2 for one in drawn])
    assert 0.25 < many < 0.6
    telling = np.concatenate([one.parts[one.parts > 0] for one in drawn]) == 2
    assert 0.15 < telling.mean() < 0.45


def test_backgrounds_follow_classes(drawn, kind):
    for name, place in COMPANIONS.items():
        index = CLASSES.index(name) + 1
        rival = [
            CLASSES.index(n) + 1 for n in COMPANIONS if n != name
        ]
        alone = [
            one for one in drawn if (one.mask == index).any()
            and not np.isin(one.mask, rival).any()
        ]
        share = np.mean([one.background == place for one in alone])
        assert abs(share - BODIES[kind].correlation) < 0.1
        others = [
            one for one in drawn
            if not np.isin(one.mask, [index, *rival]).any()
        ]
        # Each of the two stands for half of the strays.
        stray = np.mean([one.background == place for one in others])
        assert abs(stray - BODIES[kind].stray / 2) < 0.04


def body_colours(drawn):
    """Per class the mean colour of all plain parts, without their grey."""
    sums, counts = np.zeros((len(CLASSES), 3)), np.zeros((len(CLASSES), 1))
    for one in drawn:
        for c in range(len(CLASSES)):
            pixels = one.image[(one.mask == c + 1) & (one.parts == 1)]
            sums[c] += pixels.sum(0)
            counts[c] += len(pixels)
    means = sums / counts
    return means - means.mean(1, keepdims=True)


def test_only_the_telling_part_has_colour(plain):
    saturation = {0: [], 1: [], 2: []}
    for one in plain[:100]:
        s = cv2.cvtColor(one.image, cv2.COLOR_BGR2HSV)[..., 1]
        for part, values in saturation.items():
            values.append(s[one.parts == part])
    means = {k: np.concatenate(v).mean() for k, v in saturation.items()}
    assert means[2] > 2 * max(means[0], means[1])
    assert np.abs(body_colours(plain)).max() < 5


def test_tinted_bodies_tell_their_class_weakly(tinted):
    found = body_colours(tinted)
    for c, name in enumerate(CLASSES):
        hue = module._hue(np.random.default_rng(0), c)
        hue -= hue.mean()
        cosines = found @ hue / np.linalg.norm(found, axis=1)
        # Its own colour, paler than the discriminative part's.
        assert cosines.argmax() == c, name
        assert 5 < np.abs(found[c]).max() < np.abs(hue).max() / 2, name


def test_the_tint_fades_towards_the_tail(tinted, plain):
    def front_and_tail(drawn):
        """Mean saturation of bodies near and far from the telling part."""
        values = [], []
        for one in drawn:
            s = cv2.cvtColor(one.image, cv2.COLOR_BGR2HSV)[..., 1]
            for number in range(1, one.instances.max() + 1):
                own = one.instances == number
                telling, body = (own & (one.parts == k) for k in (2, 1))
                if telling.sum() < 30 or body.sum() < 100:
                    continue
                far = cv2.distanceTransform(
                    (~telling).astype(np.uint8), cv2.DIST_L2, 5)[body]
                values[0].append(s[body][far < .3 * far.max()].mean())
                values[1].append(s[body][far > .7 * far.max()].mean())
        return np.mean(values, axis=1)

    front, tail = front_and_tail(tinted)
    assert tail < .6 * front
    front, tail = front_and_tail(plain)
    assert tail == pytest.approx(front, rel=.15)


def test_some_parts_wear_the_colour_of_another_class(tinted, plain):
    def share(drawn):
        """Parts of 'cross', a green one, that are not mainly green."""
        parts = [
            one.image[(one.mask == 3) & (one.parts == 2)] for one in drawn
        ]
        return np.mean([p.mean(0).argmax() != 1 for p in parts if len(p)])

    assert share(plain) == 0
    assert 0.02 < share(tinted) < 0.2


def test_only_known_bodies(tmp_path):
    with pytest.raises(ValueError, match="'tinted', 'plain'.*not 'grey'"):
        generate_shapes(tmp_path / 'x', bodies='grey')
    assert not list(tmp_path.iterdir())


def test_saliency_fails_as_documented(drawn):
    both = either = found = true = 0
    missed, bare = [], []
    for i, one in enumerate(drawn):
        salient = draw_saliency(
            np.random.default_rng((0, 0, i, 1)), one.instances, one.parts,
            one.background)
        objects = one.instances > 0
        both += (salient & objects).sum()
        either += (salient | objects).sum()
        found, true = found + salient.sum(), true + objects.sum()
        for number in range(1, one.instances.max() + 1):
            own = one.instances == number
            missed.append((own.mean() < .08, salient[own].mean() < .1))
        if not objects.any():
            bare.append(salient.any())
    assert 0.6 < both / either < 0.75
    assert 0.8 < both / found < 0.95 and 0.65 < both / true < 0.8
    small, lost = np.array(missed).T
    assert 0.3 < lost[small].mean() < 0.55 and lost[~small].mean() < 0.15
    # Without any object it still finds something now and then.
    assert 0.2 < np.mean(bare) < 1


def test_drawing_is_reproducible():
    a, b, c = (
        draw_shapes_image(np.random.default_rng(s), 64) for s in (1, 1, 2))
    assert all(np.array_equal(x, y) for x, y in zip(a, b))
    assert not np.array_equal(a.image, c.image)


def test_folder(tmp_path):
    root = generate_shapes(tmp_path / 'shapes', **SMALL)
    ids = (root / 'ImageSets/Segmentation/train.txt').read_text().split()
    assert ids == [f'train_{i:05d}' for i in range(6)]
    labels = read_image_labels(root / 'labels.json', CLASSES)
    assert len(labels) == 9
    for img_id, tags in labels.items():
        mask = read(root / f'SegmentationClass/{img_id}.png')
        assert mask.shape == (48, 48)
        shown = set(np.unique(mask)) - {0, 255}
        assert shown == {t + 1 for t in tags}
        objects = read(root / f'SegmentationObject/{img_id}.png')
        parts = read(root / f'SegmentationPart/{img_id}.png')
        assert np.array_equal(objects > 0, parts > 0)
        image = cv2.imread(str(root / f'JPEGImages/{img_id}.jpg'))
        assert image.shape == (48, 48, 3)
    assert json.loads((root / 'shapes.json').read_text())['num_train'] == 6
    # Nothing else lies around, except the lock.
    assert {p.name for p in tmp_path.iterdir()} <= {'shapes', '.shapes.lock'}


def contents(root):
    return {
        str(p.relative_to(root)): p.read_bytes()
        for p in sorted(root.rglob('*')) if p.is_file()
    }


def test_saliency_is_added_to_older_folders(tmp_path, monkeypatch):
    new = generate_shapes(tmp_path / 'new', **SMALL)
    monkeypatch.setattr(module, '_build_saliency', lambda root: None)
    old = generate_shapes(tmp_path / 'old', **SMALL)
    monkeypatch.undo()
    before = contents(old)
    assert not [name for name in before if 'Saliency' in name]
    # Who does not ask for them finds the folder as it was.
    ShapesDataset(data_root=str(old), **SMALL)
    assert contents(old) == before
    dataset = ShapesDataset(
        data_root=str(old),
        data_prefix=dict(saliency_path='Saliency'),
        pipeline=[
            dict(type='mmwsss.LoadImage'),
            dict(type='mmwsss.LoadSaliency'),
            dict(type='mmwsss.PackWSSSInputs')
        ],
        **SMALL)
    after = contents(old)
    assert before.items() <= after.items()
    assert len(after) == len(before) + 9
    # As if it had been made with them.
    assert after == contents(new)
    for i, sample in enumerate(dataset):
        written = read(old / f'Saliency/train_{i:05d}.png')
        assert set(np.unique(written)) <= {0, 255}
        assert np.array_equal(sample['data_samples'].gt_saliency.data[0],
                              written > 0)
    monkeypatch.setattr(module, '_build_saliency', None)
    add_saliency(old)


def test_saliency_is_whole_or_absent(tmp_path, monkeypatch):
    root = generate_shapes(tmp_path / 'shapes', **SMALL)
    whole = contents(root)
    shutil.rmtree(root / 'Saliency')
    before = contents(root)
    draw, left = module.draw_saliency, [True] * 4

    def fail(*args):
        if not left:
            raise OSError('disk full')
        left.pop()
        return draw(*args)

    monkeypatch.setattr(module, 'draw_saliency', fail)
    with pytest.raises(OSError, match='disk full'):
        add_saliency(root)
    assert contents(root) == before
    monkeypatch.undo()
    (root / '.Saliency.tmp-killed').mkdir()
    add_saliency(root)
    assert contents(root) == whole


def test_border(tmp_path):
    a = generate_shapes(tmp_path / 'a', **SMALL)
    b = generate_shapes(tmp_path / 'b', border=False, **SMALL)
    bordered = plain = 0
    for path in (a / 'SegmentationClass').iterdir():
        bordered += (read(path) == 255).sum()
        plain += (read(b / f'SegmentationClass/{path.name}') == 255).sum()
    assert bordered > 0 and plain == 0


def test_more_images_keep_the_first(tmp_path):
    a = generate_shapes(tmp_path / 'a', 2, 1, 48)
    b = generate_shapes(tmp_path / 'b', 4, 1, 48)
    for name in ('train_00001.jpg', 'val_00000.jpg'):
        assert (a / 'JPEGImages' / name).read_bytes() == (
            b / 'JPEGImages' / name).read_bytes()


def test_made_once(tmp_path, monkeypatch):
    root = generate_shapes(tmp_path / 'shapes', **SMALL)
    monkeypatch.setattr(module, '_build', None)
    assert generate_shapes(root, **SMALL) == root


def test_other_request(tmp_path):
    root = generate_shapes(tmp_path / 'shapes', **SMALL)
    with pytest.raises(
            ValueError, match='seed is 0 there, 7 asked for.*data_root'):
        generate_shapes(root, seed=7, **SMALL)
    with pytest.raises(ValueError, match='num_train is 6 there, 1500 asked'):
        ShapesDataset(data_root=str(root))


def test_foreign_folder(tmp_path):
    (tmp_path / 'empty').mkdir()
    generate_shapes(tmp_path / 'empty', **SMALL)
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full/thesis.txt').write_text('mine')
    with pytest.raises(ValueError, match='no generated Shapes data set'):
        generate_shapes(tmp_path / 'full', **SMALL)
    assert (tmp_path / 'full/thesis.txt').read_text() == 'mine'


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match='image_size >= 32'):
        generate_shapes(tmp_path / 'x', image_size=8)
    assert not list(tmp_path.iterdir())


def test_failure_leaves_nothing(tmp_path, monkeypatch):
    def fail(root, request):
        (root / 'JPEGImages').mkdir()
        raise OSError('disk full')

    monkeypatch.setattr(module, '_build', fail)
    with pytest.raises(OSError, match='disk full'):
        generate_shapes(tmp_path / 'shapes', **SMALL)
    assert not [p for p in tmp_path.iterdir() if p.suffix != '.lock']


def test_dataset(tmp_path):
    settings = dict(data_root=str(tmp_path / 'shapes'), **SMALL)
    pipeline = [
        dict(type='mmwsss.LoadImage'),
        dict(type='mmwsss.LoadMask'),
        dict(type='mmwsss.PackWSSSInputs')
    ]
    train = ShapesDataset(pipeline=pipeline[::2], **settings)
    val = ShapesDataset(
        ann_file='ImageSets/Segmentation/val.txt',
        with_masks=True,
        test_mode=True,
        pipeline=pipeline,
        **settings)
    assert (len(train), len(val)) == (6, 3)
    assert 'gt_sem_seg' not in train[0]['data_samples']
    assert len(train[0]['data_samples'].gt_label.score) == len(CLASSES)
    assert val[0]['data_samples'].gt_sem_seg.shape == (48, 48)
    # Nothing is made before the data is needed.
    ShapesDataset(data_root=str(tmp_path / 'later'), lazy_init=True)
    assert not (tmp_path / 'later').exists()


COMMAND = ('import sys; from mmwsss.datasets import generate_shapes; '
           'generate_shapes(sys.argv[1], int(sys.argv[2]), 2, 48)')


def start(root, number):
    path = os.pathsep.join(
        [str(Path(__file__).parents[2]),
         os.environ.get('PYTHONPATH', '')])
    return subprocess.Popen(
        [sys.executable, '-c', COMMAND,
         str(root), str(number)],
        env={
            **os.environ, 'PYTHONPATH': path
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True)


def test_two_processes_make_it_once(tmp_path):
    processes = [start(tmp_path / 'shapes', 150) for _ in range(2)]
    outputs = [p.communicate(timeout=120)[0] for p in processes]
    assert [p.returncode for p in processes] == [0, 0], outputs
    assert sum('Generating' in text for text in outputs) <= 1
    assert len(list((tmp_path / 'shapes/JPEGImages').iterdir())) == 152


@pytest.mark.skipif(os.name == 'nt', reason='POSIX signals')
def test_kill_leaves_nothing_half_made(tmp_path):
    process = start(tmp_path / 'shapes', 100000)
    deadline = time.time() + 60
    while not list(tmp_path.glob('.shapes.tmp-*/JPEGImages/*')):
        assert process.poll() is None and time.time() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / 'shapes').exists()
    # The next run is not locked out and cleans up.
    generate_shapes(tmp_path / 'shapes', **SMALL)
    assert not list(tmp_path.glob('.shapes.tmp-*'))
