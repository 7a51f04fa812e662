"""Pictures of visual words, from positions to the page."""
import json
import runpy

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmwsss.apis.browse_words import (
    WordIndex,
    cut_patch,
    find_words,
    patch_box,
    read_usage,
    write_page,
)
from mmwsss.registry import MODELS
from tests.test_tools import ROOT, python
from tests.test_visualization.test_gallery import Page

TOOL = ROOT / 'tools/analysis_tools/browse_words.py'
META = dict(
    classes=('background', 'cat', 'dog'),
    palette=[[0, 0, 0], [128, 0, 0], [0, 128, 0]])


def plain_index(codebook, images):
    """Best place per image and word with loops: {word: [(cos, i, r, c)]}."""
    found, places = {}, {}
    for i, features in enumerate(images):
        _, h, w = features.shape
        best = {}
        for r in range(h):
            for c in range(w):
                x = features[:, r, c]
                cosines = [float(x @ word / x.norm() / word.norm())
                           for word in codebook]
                k = int(np.argmax(cosines))
                places[k] = places.get(k, 0) + 1
                if k not in best or cosines[k] > best[k][0]:
                    best[k] = (cosines[k], i, r, c)
        for k, entry in best.items():
            found.setdefault(k, []).append(entry)
    return found, places


def test_index_against_loops():
    generator = torch.Generator().manual_seed(1)
    codebook = torch.randn(7, 5, generator=generator)
    codebook[3] = -codebook.sum(0)
    images = [torch.randn(5, 3 + i, 4, generator=generator)
              for i in range(6)]
    tags = [[0], [], [0, 1], [1], [1], [0, 1]]
    index = WordIndex(codebook, num_classes=2, num_patches=3)
    for i, features in enumerate(images):
        index.add(f'im{i}', f'im{i}.jpg', tags[i], features)
    found, places = plain_index(codebook, images)
    assert index.places.sum() == sum(4 * (3 + i) for i in range(6))
    for word in range(7):
        entries = sorted(found.get(word, []), reverse=True)
        assert index.places[word] == places.get(word, 0)
        assert index.images[word] == len(entries)
        for c in range(2):
            assert index.tags[word, c] == sum(
                c in tags[i] for _, i, _, _ in entries)
        assert len(index.patches[word]) == min(len(entries), 3)
        for patch, (cosine, i, r, c) in zip(index.patches[word], entries):
            assert patch.img_id == f'im{i}'
            assert patch.similarity == pytest.approx(cosine, abs=1e-5)
            assert patch.box == patch_box(r, c, (3 + i, 4), (1., 1.))
    used = index.ranking()
    assert sorted(used) == sorted(places)
    assert [places[w] for w in used] == sorted(places.values())[::-1]


def test_padding_does_not_count():
    codebook = torch.eye(3)
    features = torch.zeros(3, 4, 4)
    features[0] = 1
    # The last row and the right half are padding.
    features[:, 3:] = torch.tensor([0., 5., 0.])[:, None, None]
    features[:, :, 2:] = torch.tensor([0., 0., 9.])[:, None, None]
    index = WordIndex(codebook, 1, 2)
    index.add('x', 'x.jpg', [0], features, covered=(0.75, 0.5))
    assert index.places.tolist() == [6, 0, 0] and index.ranking() == [0]
    # The box is one of the image, without padding.
    assert index.patches[0][0].box == pytest.approx((0, 2 / 3, 0, 1))


def test_zero_features_are_the_first_word():
    index = WordIndex(torch.randn(4, 3), 2, 2)
    index.add('x', 'x.jpg', [], torch.zeros(3, 2, 2))
    assert index.places.tolist() == [4, 0, 0, 0]
    assert index.patches[0][0].similarity == 0
    assert index.describe(0, ('cat', 'dog')) == (
        'word 0: 4 places (100.0%) in 1 images; no tags')


def test_box():
    # Cells of a tenth of the height and a fifth of the width, three of them.
    assert patch_box(4, 2, (10, 5), (1., 1.)) == pytest.approx(
        (0.3, 0.6, 0.2, 0.8))
    assert patch_box(0, 4, (10, 5), (1., 1.)) == pytest.approx(
        (0, 0.2, 0.6, 1))


@pytest.mark.parametrize('size', [(40, 60), (1, 1), (3, 200)])
@pytest.mark.parametrize('cell', [(0, 0), (2, 4), (3, 5)])
def test_patch(size, cell):
    index = WordIndex(torch.eye(2), 1, 1)
    features = torch.zeros(2, 4, 6)
    features[0], features[1][cell] = 1, 2
    index.add('x', 'x.jpg', [0], features)
    image = np.zeros((*size, 3), np.uint8)
    cell_size = size[0] / 4, size[1] / 6
    middle = [int((c + 0.5) * s) for c, s in zip(cell, cell_size)]
    image[middle[0], middle[1]] = 255
    patch = cut_patch(image, index.patches[1][0])
    assert max(patch.shape[:2]) == 120 and min(patch.shape[:2]) >= 1
    # What is in the cell is in the picture.
    assert patch.max() > 100


def test_page(tmp_path):
    for i in range(3):
        cv2.imwrite(str(tmp_path / f'im{i}.png'),
                    np.full((40, 60, 3), 80 * i, np.uint8))
    index = WordIndex(torch.eye(4), 2, 2)
    for i in range(3):
        features = torch.zeros(4, 4, 6)
        features[0], features[2, :2] = 1, 3
        index.add(f'im{i}', str(tmp_path / f'im{i}.png'), [i % 2], features)
    page = write_page(index, tmp_path / 'out', META, 'a title',
                      [(10, 3., 1.2), (20, 2., 0.9)])
    text = Page(page.read_text())
    lines = [t for t in text.texts if t.startswith('word ')]
    # Half of the places each; the tie is the codebook's order.
    assert lines == [
        'word 0: 36 places (50.0%) in 3 images; cat 67%, dog 33%',
        'word 2: 36 places (50.0%) in 3 images; cat 67%, dog 33%'
    ]
    assert len(text.sources) == 2 * 2 + 1
    for source in text.sources:
        assert (tmp_path / 'out' / source).is_file()
    assert 'im0, 1.00' in text.texts and 'im2, 1.00' not in text.texts
    assert '0.69' in text.texts  # log 2
    few = write_page(index, tmp_path / 'few', META, 'a title', num_words=1)
    text = Page(few.read_text())
    assert len(text.sources) == 2
    assert not (tmp_path / 'few/usage.png').exists()


def test_usage_of_a_resumed_run(tmp_path):
    assert read_usage(tmp_path, 'vwl') == []
    for name, lines in (('20240101_000000', [(10, 5., 1.), (20, 6., 1.1)]),
                        ('20240102_000000', [(20, 7., 1.2), (30, 8., 1.3)])):
        folder = tmp_path / name / 'vis_data'
        folder.mkdir(parents=True)
        rows = [
            json.dumps({
                'step': s,
                'vwl.words_alive': a,
                'vwl.words_entropy': e
            }) for s, a, e in lines
        ]
        rows.append(json.dumps(dict(step=3, mIoU=4.)))
        rows.append('{"step": 40, "words_al')  # Killed while it wrote.
        (folder / 'scalars.json').write_text('\n'.join(rows))
    assert read_usage(tmp_path, 'vwl') == [(10, 5., 1.), (20, 7., 1.2),
                                    (30, 8., 1.3)]


def test_model_without_words():
    path = ROOT / 'configs/vwl/hp_r18_shapes.py'
    model = MODELS.build(Config.fromfile(path).model)
    with pytest.raises(ValueError, match='has no visual words'):
        find_words(model, str(path))


def test_arguments(capsys):
    parse = runpy.run_path(str(TOOL))['parse_args']
    args = parse(['c.py', 'x.pth', '--words', '5', '--patches', '3'])
    assert (args.words, args.patches, args.out) == (5, 3, None)
    with pytest.raises(SystemExit):
        parse(['c.py'])
    assert 'checkpoint' in capsys.readouterr().err


@pytest.mark.slow
def test_tool_on_a_run(tmp_path):
    """Train a step, look at the words of what it left."""
    options = [
        'train_dataloader.dataset.num_train=8',
        'train_dataloader.dataset.num_val=4',
        'train_dataloader.dataset.data_root=shapes',
        'train_dataloader.batch_size=4', 'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
        'test_dataloader.num_workers=0',
        'test_dataloader.persistent_workers=False'
    ]
    config = ROOT / 'configs/vwl/vwl-m_r18_shapes.py'
    python(
        ROOT / 'tools/train.py',
        config,
        '--work-dir',
        'run',
        '--cfg-options',
        *options,
        'train_cfg.max_epochs=1',
        'val_cfg=None',
        'val_dataloader=None',
        'val_evaluator=None',
        'default_hooks.logger.interval=1',
        cwd=tmp_path)
    done = python(
        TOOL, config, 'run', '--patches', '2', '--cfg-options', *options,
        cwd=tmp_path)
    page = tmp_path / 'run/words/index.html'
    assert 'run/words/index.html' in done.stdout + done.stderr
    text = Page(page.read_text())
    lines = [t for t in text.texts if t.startswith('word ')]
    # 8 images of 12 x 12 places.
    assert sum(int(line.split()[2]) for line in lines) == 8 * 144
    assert 'images/usage.png' in text.sources
    wrong = python(
        TOOL, config, 'run', '--words', '0', cwd=tmp_path, check=False)
    assert wrong.returncode == 1
    assert '--words must be at least 1, is 0' in wrong.stderr
