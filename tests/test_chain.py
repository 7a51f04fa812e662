"""From tags to a segmentation model with the shipped pipelines, in small."""
import json

import pytest

from .test_tools import ROOT, TOOLS, python
from .test_visualization.test_run_page import data_of

DATA = 'num_train=8, num_val=4, image_size=64, data_root="shapes"'
LOADER = 'batch_size=4, num_workers=0, persistent_workers=False'
CLASSIFIER = f'''
_base_ = {{config!r}}
train_dataloader = dict({LOADER}, dataset=dict({DATA}))
val_dataloader = dict({LOADER}, dataset=dict({DATA}))
test_dataloader = dict({LOADER}, dataset=dict({DATA}))
train_cfg = dict(max_epochs=1, val_interval=1)
'''
REFINE = f'''
_base_ = {{config!r}}
refine_dataset = dict({DATA})
'''
WALK = f'''
_base_ = {{config!r}}
train_dataloader = dict({LOADER}, dataset=dict({DATA}))
test_dataloader = dict({LOADER}, dataset=dict({DATA}))
train_cfg = dict(max_epochs=1)
'''
# IRNet has no Shapes config, since there its backbone would be random.
IRN = f'''
_base_ = [{str(ROOT / 'configs/_base_/models/irnet_r50.py')!r},
          {str(ROOT / 'configs/_base_/datasets/shapes_affinity.py')!r},
          {str(ROOT / 'configs/_base_/schedules/irn_3e.py')!r},
          {str(ROOT / 'configs/_base_/walk_runtime.py')!r}]
model = dict(backbone=dict(depth=18, num_stages=2, out_indices=(0, 1),
                           strides=(1, 2), dilations=(1, 1)),
             edge_head=dict(in_channels=(64, 64, 128), strides=(4, 4, 8)),
             radius=4, propagate=dict(crop_size=96, log_steps=3))
train_dataloader = dict({LOADER}, dataset=dict({DATA}, pipeline=[
    dict(type='mmwsss.LoadImage'),
    dict(type='mmwsss.LoadPseudoMask'),
    dict(type='mmwsss.RandomRescale', low=0.7, high=1.5),
    dict(type='mmwsss.PlaceCrop', size=96),
    dict(type='mmwsss.DownscaleLabel', factor=4),
    dict(type='mmwsss.PackWSSSInputs')]))
test_dataloader = dict({LOADER}, dataset=dict({DATA}))
train_cfg = dict(max_epochs=1)
'''
SEGMENT = f'''
_base_ = {str(ROOT / 'configs/segmentation/fcn_shapes.py')!r}
train_dataloader = dict({LOADER}, dataset=dict(dataset=dict({DATA})))
val_dataloader = dict({LOADER}, dataset=dict({DATA}))
test_dataloader = dict({LOADER}, dataset=dict({DATA}))
train_cfg = dict(max_epochs=1, val_interval=1)
'''
PIPELINE = f'''
_base_ = '{ROOT}/configs/_base_/pipelines/{{way}}.py'
variables = dict(
    classifier='{{classifier}}.py',
    scored_on='{{classifier}}.py --train-images',
    crf_config='crf.py', low='alpha1', high='alpha12',
    label_config='labels.py', affinity_net='walk.py', irnet='irn.py',
    segmentor='segment.py')
'''
SEEDS = f'''
_base_ = ['{ROOT}/configs/_base_/pipelines/crf.py',
          '{ROOT}/configs/_base_/pipelines/seeds.py']
variables = dict(
    seed_classifier='cam.py',
    seeds_scored_on='cam.py --train-images',
    seed_config='labels.py',
    classifier='amn.py',
    scored_on='amn.py --train-images',
    mask_config='masks.py',
    segmentor='segment.py')
stages = _base_.seed_stages
'''


@pytest.fixture
def chain(tmp_path):
    files = dict(
        acr=CLASSIFIER.format(
            config=str(ROOT / 'configs/acr/acr_vit_shapes.py')),
        seam=CLASSIFIER.format(
            config=str(ROOT / 'configs/seam/seam_r18_shapes.py')),
        cam=CLASSIFIER.format(
            config=str(ROOT / 'configs/cam/cam_r18_shapes.py')),
        amn=CLASSIFIER.format(
            config=str(ROOT / 'configs/fbr/fbr_r18-amn_shapes.py')),
        crf=REFINE.format(
            config=str(ROOT / 'configs/acr/refine_acr-crf_shapes.py')),
        masks=REFINE.format(
            config=str(ROOT / 'configs/fbr/refine_amn-crf_shapes.py')),
        labels=REFINE.format(
            config=str(ROOT / 'configs/refine/irn-labels_shapes.py')),
        walk=WALK.format(config=str(
            ROOT / 'configs/affinity/affinitynet_small_shapes.py')),
        irn=IRN,
        segment=SEGMENT,
        # One classifier each, so that both are run at the price of one.
        affinity_chain=PIPELINE.format(way='affinity', classifier='acr'),
        irn_chain=PIPELINE.format(way='irn', classifier='seam'),
        seeds_chain=SEEDS)
    for name, text in files.items():
        (tmp_path / f'{name}.py').write_text(text)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize('way,names', [
    ('affinity',
     ['classify', 'cams', 'crf', 'affinity', 'walk', 'segment', 'test',
      'test_crf']),
    ('irn',
     ['classify', 'cams', 'labels', 'boundaries', 'walk', 'segment', 'test',
      'test_crf']),
])
def test_chain(chain, way, names):
    command = (TOOLS / 'run_pipeline.py', f'{way}_chain.py', '--work-dir',
               'run', '--workers', '2')
    # No masks of training images at first: nothing may need them.
    first = python(*command, '--no-scores', '--until', 'walk', cwd=chain)
    assert 'mIoU' in first.stdout
    done = python(*command, cwd=chain)
    results = json.loads((chain / 'run' / 'results.json').read_text())
    stages = {stage['name']: stage for stage in results['stages']}
    assert list(stages) == names
    for name, stage in stages.items():
        assert stage['status'] == 'finished', name
        assert all(s > 0 for s in stage['seconds'])
    scored = [n for n in names if stages[n]['metrics']]
    assert len(scored) == 5 and 'walk' in scored and 'test' in scored
    for name in scored:
        assert 0 <= stages[name]['metrics']['mIoU'] <= 100
    for folder, number in (('cams/maps', 8), ('walk/masks', 8),
                           ('test/masks', 4), ('test_crf/masks', 4)):
        files = [
            p for p in (chain / 'run' / folder).iterdir()
            if p.suffix in ('.npz', '.png')
        ]
        assert len(files) == number, folder
    rows = data_of(chain / 'run' / 'gallery' / 'index.html')['rows']
    assert [row['group'] for row in rows] == ['train'] * 8 + ['val'] * 4
    assert '+ walk' in rows[0]['stages'] and rows[0]['gt']
    assert rows[0]['stages']['CAM']['maps']
    assert 'segmentation' in rows[-1]['stages']
    # Everything is done.
    again = python(*command, cwd=chain)
    assert again.stdout.count('done before') == 8
    assert done.stdout.split('Gallery')[0].splitlines()[-2] in again.stdout


@pytest.mark.slow
def test_chain_of_a_seed_network(chain):
    """One classifier before the other, and no network after them."""
    command = (TOOLS / 'run_pipeline.py', 'seeds_chain.py', '--work-dir',
               'run', '--workers', '2')
    # Seeds and maps need no masks of training images but to be scored.
    python(*command, '--no-scores', '--until', 'crf', cwd=chain)
    python(*command, cwd=chain)
    results = json.loads((chain / 'run' / 'results.json').read_text())
    stages = {stage['name']: stage for stage in results['stages']}
    assert list(stages) == [
        'start', 'start_cams', 'seeds', 'classify', 'cams', 'crf', 'segment',
        'test', 'test_crf'
    ]
    assert all(s['status'] == 'finished' for s in stages.values())
    scored = [n for n in stages if stages[n]['metrics']]
    assert scored == ['start_cams', 'seeds', 'cams', 'crf', 'test', 'test_crf']
    assert stages['classify']['inputs'] == ['run/seeds/masks']
    for folder, number in (('start_cams/maps', 8), ('seeds/masks', 8),
                           ('cams/maps', 8), ('crf/masks', 8),
                           ('test_crf/masks', 4)):
        files = [
            p for p in (chain / 'run' / folder).iterdir()
            if p.suffix in ('.npz', '.png')
        ]
        assert len(files) == number, folder
    again = python(*command, cwd=chain)
    assert again.stdout.count('done before') == 9
