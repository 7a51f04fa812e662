"""PseudoLabelIoU: numbers, refusals, images drawn twice."""
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmwsss.registry import METRICS

CLASSES = ('background', 'cat', 'dog')
# Two of eight pixels have no true label, two others no pseudo label.
GT = [[0, 0, 1, 1], [2, 255, 255, 0]]
PSEUDO = [[0, 1, 1, 255], [255, 2, 255, 0]]


def make_sample(gt, pseudo, img_id='x', **kwargs) -> dict:
    sample = SegDataSample(metainfo=dict(img_id=img_id))
    for name, labels in (('gt_sem_seg', gt), ('pseudo_sem_seg', pseudo)):
        sample.set_data({name: PixelData(data=torch.as_tensor(labels)[None])})
    return {**sample.to_dict(), **kwargs}


def evaluate(samples, **kwargs):
    metric = METRICS.build(dict(type='mmwsss.PseudoLabelIoU', **kwargs))
    metric.dataset_meta = dict(classes=CLASSES)
    for sample in samples:
        metric.process({}, [sample])
    return metric.evaluate(len(samples))


def test_by_hand():
    result = evaluate([make_sample(GT, PSEUDO)])
    # Labelled: true 0 0 1 0, pseudo 0 1 1 0. Dog occurs nowhere there.
    assert result == dict(
        pseudo_mIoU=pytest.approx(100 * (2 / 3 + 1 / 2) / 2),
        pseudo_coverage=pytest.approx(100 * 4 / 6))


def test_all_images_count_together():
    torch.manual_seed(0)
    gts = [torch.randint(0, 3, (4, 5 + i)) for i in range(3)]
    pseudos = [torch.randint(0, 3, gt.shape) for gt in gts]
    for gt, pseudo in zip(gts, pseudos):
        gt[0, 0] = pseudo[1, 1:3] = 255
    result = evaluate([
        make_sample(gt, pseudo, f'im{i}')
        for i, (gt, pseudo) in enumerate(zip(gts, pseudos))
    ])
    gt, pseudo = (torch.cat([x.flatten() for x in maps]).numpy()
                  for maps in (gts, pseudos))
    seen = (gt != 255) & (pseudo != 255)
    ious = [
        (seen & (gt == c) & (pseudo == c)).sum() /
        (seen & ((gt == c) | (pseudo == c))).sum() for c in range(3)
    ]
    assert result['pseudo_mIoU'] == pytest.approx(100 * np.mean(ious))
    assert result['pseudo_coverage'] == pytest.approx(
        100 * seen.sum() / (gt != 255).sum())


def test_an_image_drawn_twice_counts_once():
    samples = [make_sample(GT, PSEUDO, 'a'), make_sample(GT, GT, 'b')]
    assert evaluate([*samples, samples[1]]) == evaluate(samples)
    # Without names all count.
    for sample in samples:
        del sample['img_id']
    assert evaluate([*samples, samples[1]]) != evaluate(samples)


def test_nothing_labelled():
    result = evaluate([make_sample(GT, np.full((2, 4), 255))])
    assert np.isnan(result['pseudo_mIoU'])
    assert result['pseudo_coverage'] == 0
    with pytest.raises(ValueError, match='All pixels of all 1 masks are 255'):
        evaluate([make_sample(np.full((2, 4), 255), GT)])


def test_masks_without_classes():
    """0 and 255 alone: everything would be right."""
    with pytest.raises(ValueError, match="shows 'cat'.*mask_values"):
        evaluate([make_sample([[0, 0, 255, 255]] * 2, np.zeros((2, 4), int))])


def test_prefix():
    assert set(evaluate([make_sample(GT, PSEUDO)], prefix='train')) == {
        'train/pseudo_mIoU', 'train/pseudo_coverage'}


def test_refusals():
    sample = make_sample(GT, PSEUDO, 'im7')
    for key, message in (('pseudo_sem_seg', 'no pseudo labels'),
                         ('gt_sem_seg', 'with_masks=True')):
        with pytest.raises(KeyError, match=f'im7.*{message}'):
            evaluate([{k: v for k, v in sample.items() if k != key}])
    with pytest.raises(ValueError, match=r'im7.*\(1, 4\), the mask \(2, 4\)'):
        evaluate([make_sample(GT, [[0, 0, 0, 0]], 'im7')])
    with pytest.raises(ValueError, match=r'pseudo labels hold.*0\.\.3'):
        evaluate([make_sample(GT, [[0, 0, 3, 0]] * 2, 'im7')])
    with pytest.raises(ValueError, match=r'mask hold.*0\.\.9'):
        evaluate([make_sample([[0, 9, 3, 0]] * 2, PSEUDO, 'im7')])
    metric = METRICS.build(dict(type='mmwsss.PseudoLabelIoU'))
    with pytest.raises(ValueError, match='does not know the classes'):
        metric.process({}, [sample])
