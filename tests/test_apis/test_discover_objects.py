"""Saliency maps and proposals on disk, written without labels."""
import os
import re
import runpy
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmwsss.apis.discover_objects import discover_objects
from mmwsss.models.discovery import ObjectDiscovery
from mmwsss.pseudo_labels.proposal_file import read_proposals
from mmwsss.registry import DATASETS
from mmwsss.utils.read_images import read_image, read_saliency

from ..test_datasets.builders import METAINFO, make_voc
from ..test_models.frozen_builders import vit_network
from ..test_tools import TOOLS, environment

LABELS = {'a': [0], 'b': [0, 1], 'c': [1], 'd': []}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A config, four images and the weights of a random ViT."""
    make_voc(tmp_path / 'data', LABELS, size=(41, 58))
    Config(
        dict(
            default_scope='mmseg',
            discovery=dict(
                network=vit_network(tmp_path, long_side=64),
                finder=dict(
                    type='mmwsss.NormalizedCut', threshold=.5,
                    num_objects=3)),
            train_dataloader=dict(
                dataset=dict(
                    type='mmwsss.ImageLevelDataset',
                    data_root=str(tmp_path / 'data'),
                    ann_file='ImageSets/Segmentation/train.txt',
                    labels_file='labels.json',
                    class_less='skip',
                    metainfo=METAINFO,
                    pipeline=[])))).dump(tmp_path / 'config.py')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments):
    parse = runpy.run_path(str(TOOLS / 'discover_objects.py'))['parse_args']
    return discover_objects(**vars(parse(['config.py', *arguments])))


def files(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob('*'))
        if p.suffix in ('.png', '.json')
    }


def test_files(home):
    result = run('--out', 'out', '--device', 'cpu')
    assert result[1:3] == (4, 4)
    discovery = Config.fromfile('config.py').discovery
    model = ObjectDiscovery(**discovery)
    import torch
    for img_id in LABELS:
        image = read_image(f'data/JPEGImages/{img_id}.jpg', img_id)
        rgb = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)
        masks = model(rgb[None].float())
        assert (img_id in result.empty) == (not len(masks))
        saliency = read_saliency(f'out/saliency/{img_id}.png', img_id)
        assert np.array_equal(saliency, masks.any(axis=0) * 255)
        pieces = read_proposals('out/proposals', img_id, (41, 58))
        assert np.array_equal(pieces.sum(axis=0), masks.sum(axis=0))
        # Pieces of one object are apart.
        for piece in pieces:
            assert cv2.connectedComponents(
                piece.astype(np.uint8), connectivity=4)[0] == 2
    assert len(pieces) and len(result.empty) < 4


def test_training_reads_them(home):
    run('--out', 'out')
    cfg = Config.fromfile('config.py').train_dataloader.dataset
    cfg.update(
        dict(
            saliency_dir='out/saliency',
            pipeline=[
                dict(type='mmwsss.LoadImage'),
                dict(type='mmwsss.LoadSaliency'),
                dict(type='mmwsss.PackWSSSInputs')
            ]))
    dataset = DATASETS.build(cfg)
    assert len(dataset) == 3
    saliency = dataset[0]['data_samples'].gt_saliency.data[0].numpy()
    assert np.array_equal(
        saliency, read_saliency('out/saliency/a.png', 'a') > 0)
    cfg.saliency_dir = 'nowhere'
    with pytest.raises(
            FileNotFoundError, match='nowhere.*discover_objects.*Sal'):
        len(DATASETS.build(cfg))


def test_continues(home):
    whole = home / 'whole'
    run('--out', str(whole))
    run('--out', 'out')
    # Either file is missing: the image is done again.
    (home / 'out/saliency/a.png').unlink()
    (home / 'out/proposals/c.json').unlink()
    assert run('--out', 'out').num_written == 2
    assert files(home / 'out') == files(whole)
    assert run('--out', 'out').num_written == 0
    for part in '132':
        assert run('--out', 'shares', '--shard', f'{part}/3').num_written > 0
    assert files(home / 'shares') == files(whole)
    with pytest.raises(ValueError, match='(?s)other settings.*threshold'):
        discover_objects(
            'config.py', 'out',
            cfg_options={'discovery.finder.threshold': .2})
    other = vit_network(home, seed=1)['backbone']['init_cfg']['checkpoint']
    options = {'discovery.network.backbone.init_cfg.checkpoint': other}
    with pytest.raises(ValueError, match='(?s)other settings.*weights'):
        discover_objects('config.py', 'out', cfg_options=options)
    assert discover_objects(
        'config.py', 'out', overwrite=True,
        cfg_options=options).num_written == 4
    assert files(home / 'out') != files(whole)


def test_a_folder_of_photographs(home):
    photos = home / 'photos'
    (photos / 'sub').mkdir(parents=True)
    rng = np.random.default_rng(0)
    cv2.imwrite(str(photos / 'odd.png'),
                rng.integers(0, 256, (7, 3, 3), np.uint8))
    cv2.imwrite(str(photos / 'sub/grey.jpg'), np.full((30, 40), 90, np.uint8))
    result = run('--out', 'out', '--images', 'photos')
    assert result.num_written == 2 and result.empty == ['sub/grey']
    assert not read_saliency('out/saliency/sub/grey.png', '').any()
    assert read_proposals('out/proposals', 'sub/grey', (30, 40)).shape[0] == 0
    assert read_saliency('out/saliency/odd.png', '').shape == (7, 3)


def test_errors(home):
    with pytest.raises(FileNotFoundError, match='no images'):
        os.mkdir('none')
        run('--images', 'none')
    cfg = Config.fromfile('config.py')
    with pytest.raises(ValueError, match='no train_dataloader.*--images'):
        cfg.train_dataloader = None
        discover_objects(cfg, 'out')
    cfg.discovery = None
    with pytest.raises(ValueError, match='has no discovery'):
        discover_objects(cfg, 'out')
    with pytest.raises(FileNotFoundError, match='lost.pth'):
        discover_objects(
            'config.py', 'out', cfg_options={
                'discovery.network.backbone.init_cfg.checkpoint': 'lost.pth'
            })
    (home / 'data/JPEGImages/b.jpg').write_bytes(b'broken')
    with pytest.raises(ValueError, match="'b'.*corrupt"):
        run('--out', 'out')
    assert sorted(p.stem for p in home.glob('out/saliency/*')) == ['a']
    strip = np.arange(540, dtype=np.uint8).reshape(2, 90, 3)
    cv2.imwrite('data/JPEGImages/b.jpg', strip)
    with pytest.raises(ValueError, match="Image 'b'.*times as long"):
        run('--out', 'out')


@pytest.mark.slow
def test_killed(home):
    """Killed at work, it goes on with the rest and leaves no half files."""
    rng = np.random.default_rng(0)
    os.mkdir('photos')
    for i in range(200):
        cv2.imwrite(f'photos/{i}.png', rng.integers(0, 256, (64, 64, 3),
                                                    np.uint8))
    command = [
        sys.executable, str(TOOLS / 'discover_objects.py'), 'config.py',
        '--images', 'photos', '--out'
    ]
    process = subprocess.Popen(
        [*command, 'out'], env=environment(), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)
    while len(list(home.glob('out/saliency/*'))) < 5:
        assert process.poll() is None
        time.sleep(.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = len(list(home.glob('out/saliency/*.png')))
    done = subprocess.run([*command, 'out'], env=environment(),
                          capture_output=True, text=True, check=True)
    written = int(re.search(r'which (\d+) written', done.stdout)[1])
    assert 200 - before - 1 <= written <= 200 - before and before < 200
    assert run('--images', 'photos', '--out', 'whole').num_written == 200
    assert files(home / 'out') == files(home / 'whole')
    assert not [p for p in home.glob('out/*/*') if '.tmp' in p.name]
