"""CAMIoUMetric: numbers, refusals, several processes."""
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub, MMLogger
from mmengine.structures import LabelData, PixelData
from mmseg.structures import SegDataSample

from mmwsss.evaluation import CAMIoUMetric
from mmwsss.registry import METRICS

ROOT = Path(__file__).resolve().parents[3]
CLASSES = ('background', 'cat', 'dog', 'sofa')
META = dict(classes=CLASSES)


def make_sample(i: int, size=(8, 6), **kwargs) -> dict:
    """A sample as the evaluator hands it on; every fourth has no class."""
    generator = torch.Generator().manual_seed(i)
    ids = [[0], [0, 2], [1], []][i % 4]
    sample = SegDataSample(metainfo=dict(img_id=f'im{i}'))
    gt = torch.randint(0, 4, (1, *size), generator=generator)
    gt[0, 0, 0] = 255
    sample.set_data(
        dict(
            cams=torch.rand((len(ids), *size), generator=generator),
            class_ids=torch.tensor(ids, dtype=torch.int64),
            gt_label=LabelData(label=torch.tensor(ids, dtype=torch.int64)),
            gt_sem_seg=PixelData(data=gt)))
    return {**sample.to_dict(), **kwargs}


def evaluate(samples, **kwargs):
    metric = METRICS.build(dict(type='mmwsss.CAMIoUMetric', **kwargs))
    metric.dataset_meta = META
    for sample in samples:
        metric.process({}, [sample])
    return metric.evaluate(len(samples)), metric


def mask_miou(samples, threshold) -> float:
    """Mean IoU of thresholded maps, scored directly."""
    tp, union = np.zeros((2, 4))
    for sample in samples:
        gt = sample['gt_sem_seg']['data'][0].numpy()
        pred = np.zeros_like(gt)
        if len(sample['cams']):
            score, best = sample['cams'].max(0)
            label = sample['class_ids'][best] + 1
            pred = torch.where(score > np.float32(threshold), label,
                               0).numpy()
        counted = gt != 255
        for c in range(4):
            tp[c] += ((pred == c) & (gt == c) & counted).sum()
            union[c] += (((pred == c) | (gt == c)) & counted).sum()
    return 100 * np.mean(tp / union)


def test_against_masks():
    samples = [make_sample(i) for i in range(7)]
    result, metric = evaluate(samples, fixed_threshold=0.4)
    curve = [mask_miou(samples, t) for t in np.arange(0, 1, .01)]
    np.testing.assert_allclose(metric.curve['miou_curve'], curve)
    assert result['mIoU'] == pytest.approx(max(curve))
    assert result['threshold'] == pytest.approx(np.argmax(curve) / 100)
    assert result['mIoU_fixed'] == pytest.approx(curve[40])
    assert result['mFP'] > 0 and result['mFN'] > 0
    assert all(isinstance(v, float) for v in result.values())


def test_fixed_threshold_off_the_list():
    samples = [make_sample(i) for i in range(4)]
    result, metric = evaluate(
        samples, thresholds=[0.2, 0.6], fixed_threshold=0.437)
    assert result['mIoU_fixed'] == pytest.approx(mask_miou(samples, 0.437))
    # It takes no part in the search for the best one.
    assert metric.curve['thresholds'] == [0.2, 0.6]
    assert len(metric.curve['miou_curve']) == 2
    assert len(metric.curve['per_class_iou']) == 2
    assert result['threshold'] in (0.2, 0.6)


def test_baselines():
    samples = [make_sample(i) for i in range(8)]
    result, _ = evaluate(samples)
    empty = [{
        **s, 'cams': s['cams'][:0],
        'class_ids': s['class_ids'][:0]
    } for s in samples]
    assert result['mIoU_all_background'] == pytest.approx(
        mask_miou(empty, 0.5))
    filled = [{
        **s, 'cams': torch.ones_like(s['cams'][:1]),
        'class_ids': s['class_ids'][:1]
    } for s in samples]
    assert result['mIoU_tag_fill'] == pytest.approx(mask_miou(filled, 0.5))


def test_tag_fill_takes_true_tags():
    sample = make_sample(2)
    sample['gt_sem_seg']['data'][:] = 3
    sample['gt_label'] = dict(label=torch.tensor([2]))
    result, _ = evaluate([sample])
    assert result['mIoU_tag_fill'] == 100
    del sample['gt_label']
    result, _ = evaluate([sample])
    assert result['mIoU_tag_fill'] == 0


def test_absent():
    sample = make_sample(0)
    sample['gt_sem_seg']['data'][:] = 0
    sample['gt_sem_seg']['data'][:, :4] = 1
    sample['cams'][0] = sample['gt_sem_seg']['data'][0]
    assert evaluate([sample])[0]['mIoU'] == 100
    result, metric = evaluate([sample], absent='zero')
    assert result['mIoU'] == 50
    assert metric.curve['per_class_iou_best'] == [100, 100, 0, 0]


def test_subset():
    samples = [make_sample(i) for i in range(8)]
    result, metric = evaluate(
        samples, report_classes=['background', 2], fixed_threshold=0.5)
    best = metric.curve['per_class_iou_best']
    fixed = metric.curve['per_class_iou_fixed']
    assert result['mIoU_subset'] == pytest.approx((best[0] + best[3]) / 2)
    assert result['mIoU_subset_fixed'] == pytest.approx(
        (fixed[0] + fixed[3]) / 2)
    for wrong in (['horse'], [3], [-1]):
        with pytest.raises(ValueError, match='report_classes'):
            evaluate(samples, report_classes=wrong)


def test_order_of_classes_does_not_matter():
    sample = make_sample(1)
    sample['cams'][:, :4] = 0.7  # ties go to the lower class
    swapped = {
        **sample, 'cams': sample['cams'].flip(0),
        'class_ids': sample['class_ids'].flip(0)
    }
    assert evaluate([sample])[0] == evaluate([swapped])[0]


def test_every_image_once():
    samples = [make_sample(i) for i in range(5)]
    result, metric = evaluate(samples)
    again, padded = evaluate(samples + samples[:2])
    assert again == result
    assert padded.curve['num_images'] == 5
    assert metric.curve['num_images'] == 5


def test_numpy_and_half_precision():
    sample = make_sample(1)
    result, _ = evaluate([sample])
    arrays = {
        **sample, 'cams': sample['cams'].numpy(),
        'class_ids': sample['class_ids'].numpy(),
        'gt_sem_seg': dict(data=sample['gt_sem_seg']['data'].byte().numpy())
    }
    assert evaluate([arrays])[0] == result
    half = {**sample, 'cams': sample['cams'].half()}
    full = {**sample, 'cams': sample['cams'].half().float()}
    assert evaluate([half])[0] == evaluate([full])[0]


def test_published_and_logged(caplog):
    name = 'test_published_and_logged'
    MessageHub.get_instance(name)
    with caplog.at_level(logging.INFO, 'mmengine'):
        logger = MMLogger.get_instance('test_metric')
        logger.addHandler(caplog.handler)
        _, metric = evaluate([make_sample(i) for i in range(3)],
                             split='train_aug')
    hub = MessageHub.get_current_instance()
    assert hub.get_info('mmwsss/cam_curve') == metric.curve
    assert 'mmwsss/cam_curve' not in hub.state_dict()['runtime_info']
    assert 'tuned on the ground truth of the 3 images of train_aug' in \
        caplog.text
    assert 'dog' in caplog.text


def change(key, value):
    return {**make_sample(1), key: value}


@pytest.mark.parametrize('sample, error, match', [
    (change('cams', torch.rand(2, 8, 7)), ValueError,
     'CAMs are 8 x 7 .* mask is 1 x 8 x 6'),
    (change('cams', torch.rand(3, 8, 6)), ValueError, 'one class id each'),
    (change('class_ids', torch.tensor([0, 3])), ValueError, r'in 0\.\.2'),
    (change('class_ids', torch.tensor([1, 1])), ValueError, 'repeat'),
    (change('cams', torch.full((2, 8, 6), np.nan)), ValueError,
     'check the model for NaN'),
    (change('gt_sem_seg', dict(data=torch.full((1, 8, 6), 9))), ValueError,
     r'labels \[9\]'),
])
def test_bad_samples(sample, error, match):
    with pytest.raises(error, match=match) as info:
        evaluate([sample])
    assert 'Image im1: ' in str(info.value)


@pytest.mark.parametrize('key, match', [
    ('cams', 'no \'cams\''), ('class_ids', "no 'class_ids'"),
    ('gt_sem_seg', 'with_masks=True')])
def test_missing_fields(key, match):
    sample = make_sample(1)
    del sample[key]
    with pytest.raises(KeyError, match=match) as info:
        evaluate([sample])
    assert 'Image im1: ' in str(info.value)


def test_all_ignored():
    sample = make_sample(1)
    sample['gt_sem_seg']['data'][:] = 255
    with pytest.raises(ValueError, match='nothing can be scored'):
        evaluate([sample])


def test_bad_arguments():
    with pytest.raises(ValueError, match="'ignore' or 'zero'"):
        CAMIoUMetric(absent='nan')
    with pytest.raises(ValueError, match='fixed_threshold'):
        CAMIoUMetric(fixed_threshold=40)
    with pytest.raises(ValueError, match='must increase'):
        CAMIoUMetric(thresholds=[0.5, 0.4])
    metric = CAMIoUMetric()
    with pytest.raises(ValueError, match='does not know the classes'):
        metric.process({}, [make_sample(0)])
    metric = CAMIoUMetric(num_classes=20)
    metric.dataset_meta = META
    with pytest.raises(ValueError, match='num_classes is 20'):
        metric.process({}, [make_sample(0)])


WORKER = """
import json, sys
import torch
from mmengine.dist import get_rank
from torch.utils.data import DataLoader
from mmengine.dataset import DefaultSampler
from mmwsss.evaluation import CAMIoUMetric
from tests.test_evaluation.test_metrics.test_cam_iou_metric import (
    META, make_sample)

if len(sys.argv) > 2:
    torch.distributed.init_process_group('gloo')
indices = list(range(7))
loader = DataLoader(indices, batch_size=2, collate_fn=list,
                    sampler=DefaultSampler(indices, shuffle=False))
metric = CAMIoUMetric()
metric.dataset_meta = META
for batch in loader:
    metric.process({}, [make_sample(i) for i in batch])
result = metric.evaluate(len(indices))
if get_rank() == 0:
    with open(sys.argv[1], 'w') as file:
        json.dump([result, metric.curve['miou_curve'],
                   metric.curve['num_images']], file)
if len(sys.argv) > 2:
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
"""


def test_two_processes_equal_one(tmp_path):
    script = tmp_path / 'worker.py'
    script.write_text(WORKER)
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    outputs = []
    for launch in ([sys.executable], [
            sys.executable, '-m', 'torch.distributed.run',
            '--nproc_per_node=2', '--standalone']):
        outputs.append(tmp_path / f'{len(outputs)}.json')
        done = subprocess.run(
            [*launch, str(script), str(outputs[-1]),
             *(['dist'] if len(outputs) == 2 else [])],
            env=env, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    # 7 images on 2 processes: one is drawn twice and must count once.
    assert outputs[0].read_text() == outputs[1].read_text()
    assert outputs[0].read_text().endswith(' 7]')


def shown(values, tags):
    """An image whose mask has these values, a row each."""
    gt = torch.tensor(values)[:, None].repeat(1, 4)
    return dict(
        img_id=str((values, tags, np.random.default_rng().random())),
        cams=torch.zeros(len(tags), *gt.shape),
        class_ids=torch.tensor(tags, dtype=torch.int64),
        gt_label=dict(label=torch.tensor(tags, dtype=torch.int64)),
        gt_sem_seg=dict(data=gt[None]))


def test_masks_that_show_no_class():
    """Of 0 and 255 everything would be right, or no number."""
    with pytest.raises(ValueError, match=r"'cat' .*\[0\].*mask_values"):
        evaluate([shown([0, 255], [0]), shown([0, 0], [])])


def test_tagged_classes_that_no_mask_shows():
    samples = [shown([0, 1], [0]), shown([0, 255], [1]), shown([0, 255], [1])]
    # Twice may be chance: a tiny object.
    assert evaluate(samples)[0]['mIoU'] == pytest.approx(37.5)
    samples.append(shown([0, 255], [1]))
    with pytest.raises(ValueError, match=r"'dog' \(value 2, 3 tagged"):
        evaluate(samples)
