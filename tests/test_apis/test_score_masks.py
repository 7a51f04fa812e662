"""Scores of masks, against counts made pixel by pixel."""
import json
import runpy
import subprocess
import sys

import numpy as np
import pytest

from mmwsss.apis.score_masks import (
    evaluate_masks,
    mask_confusion,
    read_classes,
    score_masks,
    subset_iou,
    summarize,
)
from mmwsss.datasets.mask_values import parse_mask_values
from mmwsss.pseudo_labels import write_mask
from mmwsss.pseudo_labels.mask_file import write_mask_manifest

from ..test_datasets.builders import CLASSES, make_voc
from ..toy import ROOT

TOOL = ROOT / 'tools' / 'evaluate_masks.py'
NAMES = ('background', *CLASSES)
SIZE = (20, 30)
CONFIG = """
default_scope = 'mmseg'
data = dict(
    type='mmwsss.ImageLevelDataset', data_root={root!r},
    ann_file='ImageSets/Segmentation/train.txt', labels_file='labels.json',
    metainfo=dict(classes=('background', 'cat', 'dog')), pipeline=[])
{key}
"""


def masks(seed=0, ignore=True):
    rng = np.random.default_rng(seed)
    values = np.array([0, 1, 2, 255] if ignore else [0, 1, 2])
    return values[rng.integers(0, len(values), SIZE)].astype(np.uint8)


def plain(pairs, ignored_is=None):
    """IoU, mFP, mFN by counting."""
    tp, fp, fn = np.zeros((3, 3))
    for pred, gt in pairs:
        for p, g in zip(pred.ravel(), gt.ravel()):
            if p == 255:
                p = ignored_is
            if g == 255 or p is None:
                continue
            if p == g:
                tp[p] += 1
            else:
                fp[p] += 1
                fn[g] += 1
    union = tp + fp + fn
    return (100 * tp / union, np.mean(100 * (fp / union)[1:]),
            np.mean(100 * (fn / union)[1:]))


@pytest.fixture
def folder(tmp_path):
    for i in range(3):
        write_mask(tmp_path / 'gt', f'i{i}', masks(i))
        write_mask(tmp_path / 'pred', f'i{i}', masks(10 + i))
    return tmp_path


def truth(folder, num=3):
    return [(f'i{i}', str(folder / f'gt/i{i}.png')) for i in range(num)]


def test_numbers(folder):
    result = score_masks(str(folder / 'pred'), truth(folder), NAMES)
    pairs = [(masks(10 + i), masks(i)) for i in range(3)]
    iou, mfp, mfn = plain(pairs)
    np.testing.assert_allclose(list(result['IoU'].values()), iou)
    np.testing.assert_allclose(
        [result['mIoU'], result['mFP'], result['mFN']],
        [iou.mean(), mfp, mfn])
    np.testing.assert_allclose(result['mIoU_ignored_as_background'],
                               plain(pairs, 0)[0].mean())
    counted = np.concatenate([p[g != 255] for p, g in pairs])
    np.testing.assert_allclose(result['ignored'],
                               100 * (counted == 255).mean())
    assert result['num_images'] == 3 and list(result['IoU']) == list(NAMES)


def test_perfect_and_absent():
    gt = np.zeros((2, 2), np.uint8)
    result = summarize(mask_confusion(gt, gt, 2), NAMES)
    assert result['IoU'] == dict(background=100., cat=None, dog=None)
    assert result['mIoU'] == 100 and result['ignored'] == 0
    everything = np.full((2, 2), 255, np.uint8)
    assert not mask_confusion(gt, everything, 2).any()
    assert summarize(mask_confusion(everything, gt, 2),
                     NAMES)['ignored'] == 100


def test_missing(folder):
    (folder / 'pred/i1.png').unlink()
    with pytest.raises(FileNotFoundError, match='1 of 3 .* i1. .*refine_cams'):
        score_masks(str(folder / 'pred'), truth(folder), NAMES)


def test_other_size(folder):
    write_mask(folder / 'pred', 'i2', masks()[1:])
    with pytest.raises(ValueError, match=r'Image i2: .*\(19, 30\)'):
        score_masks(str(folder / 'pred'), truth(folder), NAMES)


@pytest.mark.parametrize('where', ['pred', 'gt'])
def test_foreign_values(folder, where):
    mask = masks()
    mask[3, 4] = 3
    write_mask(folder / where, 'i1', mask)
    with pytest.raises(ValueError, match='i1.*3'):
        score_masks(str(folder / 'pred'), truth(folder), NAMES)


def test_damaged(folder):
    path = folder / 'pred/i0.png'
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match="'i0'"):
        score_masks(str(folder / 'pred'), truth(folder), NAMES)


def run(*arguments):
    args = runpy.run_path(str(TOOL))['parse_args']
    return evaluate_masks(**vars(args([str(a) for a in arguments])))


def test_from_folder(folder):
    (folder / 'split.txt').write_text('i0\ni2\n\n')
    (folder / 'names.txt').write_text('cat\ndog\n')
    result = run(folder / 'pred', '--gt', folder / 'gt', '--split',
                 folder / 'split.txt', '--classes', folder / 'names.txt',
                 '--out', folder / 'result.json')
    assert result == score_masks(
        str(folder / 'pred'), truth(folder)[::2], NAMES)
    assert json.loads(
        (folder / 'result.json').read_text())['metrics'] == result


@pytest.mark.parametrize('key,options', [
    ('refine_dataset = data', ()),
    ('test_dataloader = dict(dataset=data)', ()),
    ('train_dataloader = dict(dataset=data)', ('--train-images', )),
    ('refine_dataset = dict(data, ann_file="none.txt")',
     ('--split', 'ImageSets/Segmentation/train.txt')),
])
def test_from_config(tmp_path, key, options):
    root = make_voc(tmp_path / 'data', {'a': [0], 'b': []})
    config = tmp_path / 'config.py'
    config.write_text(CONFIG.format(root=str(root), key=key))
    for img_id in 'ab':
        write_mask(tmp_path / 'pred', img_id, masks())
    result = run(tmp_path / 'pred', '--config', config, *options)
    expected = score_masks(
        str(tmp_path / 'pred'),
        [(i, root / f'SegmentationClass/{i}.png') for i in 'ab'], NAMES)
    assert result == expected


def test_bad_arguments(folder):
    with pytest.raises(ValueError, match='--config, or all of --gt'):
        run(folder / 'pred', '--gt', folder / 'gt')
    with pytest.raises(ValueError, match='leave --gt'):
        run(folder / 'pred', '--gt', folder / 'gt', '--config', 'c.py')
    with pytest.raises(FileNotFoundError, match='no split list'):
        run(folder / 'pred', '--gt', folder / 'gt', '--split',
            folder / 'none.txt', '--classes', 'voc')
    (folder / 'split.txt').write_text('\n')
    with pytest.raises(ValueError, match='is empty'):
        run(folder / 'pred', '--gt', folder / 'gt', '--split',
            folder / 'split.txt', '--classes', 'voc')
    config = folder / 'config.py'
    config.write_text('a = 1\n')
    with pytest.raises(ValueError, match='has no test_dataloader'):
        run(folder / 'pred', '--config', config)


def test_classes(tmp_path):
    assert len(read_classes('voc')) == 21
    path = tmp_path / 'names.txt'
    path.write_text('background\n')
    with pytest.raises(ValueError, match='names no class'):
        read_classes(str(path))
    with pytest.raises(FileNotFoundError, match="'voc'"):
        read_classes(str(tmp_path / 'none.txt'))


def test_command_line(folder):
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', TOOL, folder / 'pred', '--gt',
         folder / 'nowhere', '--split', folder / 'x', '--classes', 'voc'],
        env=dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1'),
        capture_output=True,
        text=True)
    assert done.returncode == 1 and 'error: There is no' in done.stderr
    assert 'Traceback' not in done.stderr


def test_some_classes(folder):
    (folder / 'split.txt').write_text('i0\ni1\ni2\n')
    (folder / 'names.txt').write_text('cat\ndog\n')
    common = (folder / 'pred', '--gt', folder / 'gt', '--split',
              folder / 'split.txt', '--classes', folder / 'names.txt')
    result = run(*common, '--report-classes', 'background', 'dog')
    assert result['mIoU_subset'] == pytest.approx(
        (result['IoU']['background'] + result['IoU']['dog']) / 2)
    assert np.isnan(subset_iou(dict(cat=None), ['cat']))
    with pytest.raises(ValueError, match="no class 'cow' among background"):
        run(*common, '--report-classes', 'cow')


def test_masks_of_0_and_255(tmp_path):
    """Empty predictions are not perfect where nothing can be measured."""
    for i in range(4):
        gt = np.zeros(SIZE, np.uint8)
        gt[:10] = 255 * (i % 2)
        write_mask(tmp_path / 'gt', f'i{i}', gt)
        write_mask(tmp_path / 'pred', f'i{i}', gt // 255)
        write_mask(tmp_path / 'empty', f'i{i}', np.zeros(SIZE, np.uint8))
    names = ('background', 'defect')
    for folder in ('pred', 'empty'):
        with pytest.raises(ValueError, match="shows 'defect'.*255=defect"):
            score_masks(str(tmp_path / folder), truth(tmp_path, 4), names)
    values = parse_mask_values(['255=defect'], names[1:])
    result = score_masks(
        str(tmp_path / 'pred'), truth(tmp_path, 4), names, values=values)
    assert result['mIoU'] == 100 and result['IoU']['defect'] == 100
    result = score_masks(
        str(tmp_path / 'empty'), truth(tmp_path, 4), names, values=values)
    assert result['IoU'] == dict(background=75., defect=0.)
    # A class that is tagged and never shown, beside one that is.
    tags = {f'i{i}': [0, 1] for i in range(4)}
    with pytest.raises(ValueError, match=r"shows 'crack' \(value 2, 4 tag"):
        score_masks(
            str(tmp_path / 'pred'), truth(tmp_path, 4), (*names, 'crack'),
            values=values, tags=tags)


def test_true_masks_of_other_classes(folder):
    """Those that import_masks.py or custom.py wrote know their classes."""
    (folder / 'split.txt').write_text('i0\ni1\n')
    (folder / 'names.txt').write_text('dog\ncat\n')
    write_mask_manifest(folder / 'gt', classes=['cat', 'dog'])
    common = (folder / 'pred', '--gt', folder / 'gt', '--split',
              folder / 'split.txt', '--classes', folder / 'names.txt')
    with pytest.raises(ValueError, match='(?s)made for other classes'):
        run(*common)
    (folder / 'names.txt').write_text('cat\ndog\n')
    assert run(*common)['num_images'] == 2


def test_masks_that_ignore_everything(tmp_path):
    write_mask(tmp_path / 'gt', 'i0', masks(0))
    write_mask(tmp_path / 'pred', 'i0', np.full(SIZE, 255, np.uint8))
    with pytest.raises(ValueError, match='ignore .255. every pixel'):
        score_masks(str(tmp_path / 'pred'), truth(tmp_path, 1), NAMES)


def test_mask_values_on_the_command_line(tmp_path):
    gt = np.zeros(SIZE, np.uint8)
    gt[:10] = 255
    write_mask(tmp_path / 'gt', 'i0', gt)
    write_mask(tmp_path / 'pred', 'i0', gt // 255)
    (tmp_path / 'split.txt').write_text('i0')
    (tmp_path / 'names.txt').write_text('defect')
    parse = runpy.run_path(str(TOOL))['parse_args']
    words = [str(tmp_path / 'pred'), '--gt', str(tmp_path / 'gt'), '--split',
             str(tmp_path / 'split.txt'), '--classes',
             str(tmp_path / 'names.txt')]
    with pytest.raises(ValueError, match='--mask-values'):
        evaluate_masks(**vars(parse(words)))
    result = evaluate_masks(
        **vars(parse([*words, '--mask-values', '255=defect'])))
    assert result['mIoU'] == 100
