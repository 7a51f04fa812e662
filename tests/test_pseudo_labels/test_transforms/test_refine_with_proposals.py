"""The refining step with proposals, alone and after CAMs of Shapes."""
import json

import numpy as np
import pytest
from mmengine.dataset import Compose

from mmwsss.apis.score_masks import mask_confusion, summarize
from mmwsss.datasets import ShapesDataset
from mmwsss.pseudo_labels import refine_labels, refine_maps, write_cam
from mmwsss.pseudo_labels.proposal_file import write_proposals
from mmwsss.pseudo_labels.transforms import RefineWithProposals, ThresholdMask
from mmwsss.registry import TRANSFORMS
from mmwsss.utils.read_images import read_mask

SIZE = (9, 12)


def sample(**facts):
    rng = np.random.default_rng(3)
    cams = rng.random((2, *SIZE)).astype(np.float32)
    cams[1, 2:6, 2:8] = .9
    return dict(
        img_id='a', ori_shape=SIZE, cams=cams,
        class_ids=np.array([0, 2])) | facts


def masks():
    found = np.zeros((3, *SIZE), bool)
    found[0, 1:7, 1:9] = found[1, :4] = found[2, 2:6, 2:8] = True
    return found


@pytest.fixture
def folder(tmp_path):
    write_proposals(tmp_path, 'a', masks())
    return str(tmp_path)


def test_maps(folder):
    step = TRANSFORMS.build(
        dict(type='mmwsss.RefineWithProposals', threshold=.75))
    out = step(sample(proposal_dir=folder))
    expected = refine_maps(sample()['cams'], masks(), .75)
    assert np.array_equal(out['cams'], expected)
    assert not np.array_equal(expected, sample()['cams'])
    # A threshold of the same height keeps what the proposals said.
    labels = ThresholdMask(.75)(out)['pseudo_mask']
    assert (labels[2:6, 2:8] == 3).all() and not labels[0].any()


def test_labels(folder):
    step = RefineWithProposals(
        key='pseudo_mask', threshold=.5, unassigned='keep',
        min_area=25)
    before = ThresholdMask(.5)(sample())['pseudo_mask']
    out = step(
        sample(proposal_dir=folder, pseudo_mask=before))['pseudo_mask']
    assert np.array_equal(
        out, refine_labels(before, masks(), .5, 'keep', 25))
    assert not np.array_equal(out, before)


def test_class_less(folder):
    out = RefineWithProposals()(
        sample(proposal_dir=folder, cams=np.zeros((0, *SIZE), np.float32)))
    assert out['cams'].shape == (0, *SIZE)


def test_errors(folder, tmp_path):
    step = RefineWithProposals()
    with pytest.raises(FileNotFoundError, match='image b: neither'):
        step(sample(proposal_dir=folder, img_id='b'))
    with pytest.raises(ValueError, match=r'Image a .*\(18, 24\).*\(9, 12\)'):
        step(sample(proposal_dir=folder, ori_shape=(18, 24)))
    with pytest.raises(KeyError, match='Image a: .*LoadCAMs'):
        step(dict(img_id='a'))
    with pytest.raises(KeyError, match='Image a: .*ThresholdMask'):
        RefineWithProposals(key='pseudo_mask')(sample())
    with pytest.raises(ValueError, match='Image a: .*Set its proposal_dir'):
        RefineWithProposals()(sample())
    for settings in (dict(key='mask'), dict(threshold=1), dict(min_area=-1),
                     dict(threshold=-.1), dict(unassigned='drop')):
        with pytest.raises(ValueError, match=next(iter(settings))):
            RefineWithProposals(**settings)
    assert "key='cams', threshold=0.4" in repr(step)


def test_good_outlines_complete_partial_maps(tmp_path):
    """Maps of the discriminative parts and the outlines of the objects,
    overlapped by proposals of nothing: most of the objects, where the parts
    alone are little."""
    data = ShapesDataset(
        data_root=str(tmp_path), num_train=12, num_val=1, image_size=64,
        pipeline=[], cam_dir=str(tmp_path / 'cams'),
        proposal_dir=str(tmp_path / 'proposals'))
    rng = np.random.default_rng(0)
    truth = []
    for i in range(len(data)):
        info = data.get_data_info(i)
        img_id = info['img_id']
        mask, numbers, parts = (
            read_mask(tmp_path / name / f'{img_id}.png', img_id)
            for name in ('SegmentationClass', 'SegmentationObject',
                         'SegmentationPart'))
        tags = info['gt_label']
        cams = [(mask == c + 1) * np.where(parts == 2, 1, .25) for c in tags]
        cams = np.array(cams).reshape(-1, *mask.shape)
        write_cam(tmp_path / 'cams', img_id, tags, cams, mask.shape)
        outlines = [numbers == n for n in np.unique(numbers) if 0 < n < 255]
        noise = rng.random((4, 8, 8)) < .3
        noise = noise.repeat(8, axis=1).repeat(8, axis=2)
        write_proposals(tmp_path / 'proposals', img_id,
                        np.array([*noise, *outlines]))
        truth.append((info, mask))
    steps = [
        dict(type='mmwsss.LoadImage'),
        dict(type='mmwsss.LoadCAMs'),
        dict(type='mmwsss.RefineWithProposals', threshold=.3),
        dict(type='mmwsss.ThresholdMask', threshold=.3)
    ]
    scores = []
    for pipeline in (steps[:2] + steps[3:], steps):
        run = Compose(pipeline)
        confusion = sum(
            mask_confusion(run(dict(info))['pseudo_mask'], mask, 6)
            for info, mask in truth)
        scores.append(
            summarize(confusion, data.metainfo['classes'])['mIoU'])
    plain, refined = scores
    assert plain < 60 and refined > plain + 15


def test_files_may_be_written_by_hand(tmp_path):
    content = [dict(segmentation=dict(size=list(SIZE), counts=[0, 108]))]
    (tmp_path / 'a.json').write_text(json.dumps(content))
    out = RefineWithProposals(threshold=0.)(
        sample(proposal_dir=tmp_path))
    means = sample()['cams'].mean(axis=(1, 2), dtype=float)
    assert not out['cams'][means.argmin()].any()
    np.testing.assert_allclose(out['cams'][means.argmax()], means.max(),
                               rtol=1e-6)
