import hashlib
import io
import runpy
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mmwsss.apis import get_data as module
from mmwsss.apis.get_data import get_voc2012, voc_archives
from mmwsss.datasets import VOCImageLevelDataset
from mmwsss.utils.download import DownloadError
from mmwsss.utils.read_images import read_mask
from tests.server import FileServer
from tests.toy import ROOT

XML = ('<annotation><object><name>{}</name><difficult>0</difficult></object>'
       '</annotation>')
LISTS = dict(train=['a'], val=['b'], trainval=['a', 'b'])


def png(array, **kwargs):
    buffer = io.BytesIO()
    picture = Image.fromarray(np.asarray(array, np.uint8))
    if 'format' not in kwargs:
        picture.putpalette(list(range(256)) * 3)
    picture.save(buffer, kwargs.get('format', 'png'))
    return buffer.getvalue()


def archive(files, mode):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as file:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def mat(mask):
    buffer = io.BytesIO()
    cell = np.zeros((1, 1), [('Segmentation', object)])
    cell[0, 0]['Segmentation'] = np.array(mask, np.uint8)
    savemat(buffer, dict(GTcls=cell))
    return buffer.getvalue()


@pytest.fixture
def server(monkeypatch):
    """VOC with three images, of which VOC has masks of two, SBD of all."""
    root = 'VOCdevkit/VOC2012'
    voc = {f'{root}/JPEGImages/{i}.jpg': png(
        np.zeros((3, 4, 3)), format='jpeg') for i in 'abc'}
    voc.update({f'{root}/Annotations/{i}.xml': XML.format(name).encode()
                for i, name in zip('abc', ('cat', 'dog', 'cow'))})
    voc.update({f'{root}/ImageSets/Segmentation/{name}.txt':
                '\n'.join(ids).encode() for name, ids in LISTS.items()})
    for i, value in (('a', 8), ('b', 12)):
        voc[f'{root}/SegmentationClass/{i}.png'] = png(
            np.full((3, 4), value))
    voc['../outside.txt'] = b'x'
    sbd = {f'benchmark_RELEASE/dataset/cls/{i}.mat': mat(
        np.full((3, 4), value)) for i, value in zip('abc', (1, 2, 10))}
    sbd['benchmark_RELEASE/dataset/img/c.jpg'] = b'x'
    server = FileServer()
    archives = []
    for name, data in (('voc.tar', archive(voc, 'w')),
                       ('sbd.tgz', archive(sbd, 'w:gz'))):
        server.files[f'/{name}'] = data
        archives.append((f'{server.url}/{name}', name,
                         hashlib.md5(data).hexdigest()))
    monkeypatch.setattr(module, 'voc_archives', lambda: archives)
    yield server
    server.close()


def test_torchvision_knows_the_addresses():
    (voc, name, md5), (sbd, *_) = voc_archives()
    assert voc.endswith('VOCtrainval_11-May-2012.tar') and len(md5) == 32
    assert sbd.endswith('benchmark.tgz') and name in voc


def test_voc_with_sbd(server, tmp_path):
    out, counts = get_voc2012(tmp_path / 'data')
    voc = tmp_path / 'data/VOCdevkit/VOC2012'
    assert out == voc / 'image_labels.json'
    assert counts['train_aug'] == (2, 0) and counts['train'] == (1, 0)
    aug = voc / 'ImageSets/Segmentation/train_aug.txt'
    assert aug.read_text() == 'a\nc\n'
    # VOC's own masks win; SBD fills up.
    for img_id, value in (('a', 8), ('b', 12), ('c', 10)):
        mask = read_mask(voc / f'SegmentationClassAug/{img_id}.png', img_id)
        assert (mask == value).all()
    assert not list(tmp_path.rglob('outside.txt'))
    dataset = VOCImageLevelDataset(
        data_root=str(voc), ann_file='ImageSets/Segmentation/train_aug.txt',
        labels_file='image_labels.json')
    assert dataset.get_data_info(1)['gt_label'].tolist() == [9]
    # A second run fetches nothing.
    asked = len(server.requests)
    get_voc2012(tmp_path / 'data')
    assert len(server.requests) == asked == 2


def test_broken_runs_go_on(server, tmp_path, monkeypatch):
    server.cut = 2000
    with pytest.raises(DownloadError, match=r'bring http.*/voc\.tar\n *as '):
        get_voc2012(tmp_path)
    # Killed while it wrote masks.
    with monkeypatch.context() as patch:
        patch.setattr(module, 'write_mask', lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            get_voc2012(tmp_path)
    assert (tmp_path / 'VOCdevkit/VOC2012/JPEGImages/a.jpg').exists()
    counts = get_voc2012(tmp_path)[1]
    assert counts['train_aug'] == (2, 0)
    assert [r[2] for r in server.requests if r[1] == '/voc.tar'] == [
        None, 'bytes=2000-']


def test_without_sbd(server, tmp_path):
    counts = get_voc2012(tmp_path, sbd=False)[1]
    assert set(counts) == {'train', 'val', 'trainval'}
    assert [r[1] for r in server.requests] == ['/voc.tar']


def test_without_a_network(server, tmp_path, monkeypatch):
    server.close()
    monkeypatch.setattr(sys, 'argv', ['get_data.py', 'voc2012', '--root',
                                      str(tmp_path / 'data')])
    with pytest.raises(SystemExit) as error:
        runpy.run_path(str(ROOT / 'tools/get_data.py'), run_name='__main__')
    text = str(error.value)
    assert 'error: These files could not be fetched' in text
    for name in ('voc.tar', 'sbd.tgz'):
        assert f'as    {tmp_path}/data/downloads/{name}' in text
    assert text.count('md5') == 2


def test_other_archives(server, tmp_path):
    folder = tmp_path / 'downloads'
    folder.mkdir()
    (folder / 'voc.tar').write_bytes(b'x')
    with pytest.raises(ValueError, match='voc.tar is not the file that is'):
        get_voc2012(tmp_path)
