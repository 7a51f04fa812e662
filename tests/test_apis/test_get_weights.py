import hashlib
import io
import re
import runpy
import sys
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from mmwsss.apis import get_weights as module
from mmwsss.apis import run
from mmwsss.apis.get_weights import get_weights, needed_weights
from mmwsss.models.converters.timm_vit import convert_timm_vit
from mmwsss.registry import MODELS
from mmwsss.utils.checkpoint import load_checkpoint_file
from mmwsss.utils.weight_sources import SOURCES
from tests.server import FileServer
from tests.toy import ROOT


@pytest.fixture
def server(monkeypatch, tmp_path):
    server = FileServer()
    monkeypatch.chdir(tmp_path)
    yield server
    server.close()


def serve(server, name, content):
    """Put a file on the server, with its digest in its name."""
    data = content
    if not isinstance(content, bytes):
        buffer = io.BytesIO()
        torch.save(content, buffer)
        data = buffer.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    path = f'/{name}-{digest[:8]}.pth'
    server.files[path] = data
    return server.url + path


def config(path, *files):
    parts = {f'part{i}': dict(init_cfg=dict(
        type='Pretrained', checkpoint=f)) for i, f in enumerate(files)}
    path.write_text(f'model = {parts!r}')
    return str(path)


def test_what_configs_and_pipelines_need(monkeypatch):
    monkeypatch.chdir(ROOT)
    found = needed_weights(['configs/cam/pipeline_voc.py'])
    assert sorted(found) == ['checkpoints/resnet101.pth',
                             'checkpoints/resnet50.pth']
    assert any(c.endswith('cam_r50_voc.py')
               for c in found['checkpoints/resnet50.pth'])
    assert list(needed_weights(['configs/discovery/found_dino-small_voc.py'])
                ) == ['checkpoints/dino_vits8.pth']
    with pytest.raises(FileNotFoundError, match='no config nothing.py'):
        needed_weights(['nothing.py'])


def test_every_file_that_configs_name_has_a_source():
    named = set()
    for path in (ROOT / 'configs').rglob('*.py'):
        named.update(re.findall(r"'checkpoints/([^'/]+)'", path.read_text()))
    assert len(named) > 9 and named <= set(SOURCES)
    for source in SOURCES.values():
        assert source.library or 'tools/model_converters' in source.note


def test_libraries_know_these_names():
    """Addresses come from the libraries; nothing is fetched."""
    for source in SOURCES.values():
        if source.library in ('torchvision', 'mmpretrain', 'mmseg'):
            url, digest = module.address_of(source)
            assert url.startswith('https://') and digest[0] == 'sha256'
    timm = pytest.importorskip('timm.models')
    for source in SOURCES.values():
        if source.library == 'timm':
            assert timm.get_pretrained_cfg(source.name).hf_hub_id


def test_fetch_as_it_is(server, tmp_path, monkeypatch):
    url = serve(server, 'resnet50', dict(w=torch.ones(3)))
    monkeypatch.setattr(module, '_torchvision', lambda name: url)
    cfg = config(tmp_path / 'c.py', 'checkpoints/resnet50.pth')
    listed, = get_weights([cfg], fetch=False)
    assert listed.state == 'missing' and not server.requests
    fetched, = get_weights([cfg])
    assert fetched.state == 'fetched' and not fetched.bring
    state = load_checkpoint_file('checkpoints/resnet50.pth')
    assert torch.equal(state['w'], torch.ones(3))
    assert not list((tmp_path / 'checkpoints/downloads').iterdir())
    here, = get_weights([cfg])
    assert here.state == 'here' and len(server.requests) == 1


def test_a_network_is_cut_after_its_third_stage(server, monkeypatch,
                                                tmp_path):
    names = ('conv1.weight', 'layer3.0.x', 'layer4.0.x', 'fc.weight')
    url = serve(server, 'r18', {n: torch.ones(1) for n in names})
    monkeypatch.setattr(module, '_torchvision', lambda name: url)
    path = 'checkpoints/resnet18_stem_to_layer3.pth'
    get_weights([config(tmp_path / 'c.py', path)])
    content = load_checkpoint_file(path)
    assert list(content['state_dict']) == list(names[:2])
    assert len(content['meta']['source_sha256']) == 64


@pytest.mark.parametrize('hub', [False, True])
def test_timm_is_converted(server, monkeypatch, tmp_path, hub):
    timm = pytest.importorskip('timm')
    safetensors = pytest.importorskip('safetensors.torch')
    torch.manual_seed(0)
    state = timm.models.vision_transformer.VisionTransformer(
        img_size=32, embed_dim=16, depth=2, num_heads=2,
        num_classes=3).state_dict()
    cfg = SimpleNamespace(url='', hf_hub_id='timm/tiny.x')
    if hub:
        data = safetensors.save(state)
        server.files['/timm/tiny.x/resolve/main/model.safetensors'] = data
        digest = hashlib.sha256(data).hexdigest()
        server.headers = {'X-Repo-Commit': 'a' * 40, 'ETag': f'"{digest}"',
                          'X-Linked-Etag': f'"{digest}"'}
        monkeypatch.setenv('HF_ENDPOINT', server.url)
    else:
        cfg.url = serve(server, 'tiny', dict(model=state))
    monkeypatch.setattr(timm.models, 'get_pretrained_cfg', lambda name: cfg)
    path = 'checkpoints/deit_tiny_patch16_224.pth'
    if hub:
        assert module.address_of(SOURCES['vit_base_p16_384.pth'])[1] == (
            'sha256', digest)
    result, = get_weights([config(tmp_path / 'c.py', path)])
    assert result.state == 'fetched', result.bring
    content = load_checkpoint_file(path)
    expected = convert_timm_vit(state)
    assert content['state_dict'].keys() == expected.keys()
    assert content['meta']['architecture']['embed_dims'] == 16
    model = MODELS.build(dict(
        type='mmwsss.AttentionViT', img_size=32, patch_size=16,
        arch=dict(embed_dims=16, num_layers=2, num_heads=2,
                  feedforward_channels=64),
        init_cfg=dict(type='Pretrained', checkpoint=path)))
    model.init_weights()
    assert torch.equal(model.layers[1].ln1.weight, expected[
        'layers.1.ln1.weight'])


def test_without_a_network(server, monkeypatch, tmp_path, capsys):
    url = serve(server, 'resnet50', dict(w=torch.ones(3)))
    content = server.files.popitem()[1]
    server.close()
    monkeypatch.setattr(module, '_torchvision', lambda name: url)
    cfg = config(tmp_path / 'c.py', 'checkpoints/resnet50.pth',
                 'checkpoints/resnet38.pth', 'elsewhere/mine.pth')
    monkeypatch.setattr(sys, 'argv', ['get_weights.py', cfg])

    def tool():
        runpy.run_path(str(ROOT / 'tools/get_weights.py'),
                       run_name='__main__')

    with pytest.raises(SystemExit, match='Bring these files'):
        tool()
    out = capsys.readouterr().out
    place = f'checkpoints/downloads/{url.rpartition("/")[2]}'
    assert f'bring {url}\n' in out and f'as    {place}\n' in out
    assert 'sha256 begins with ' + url[-12:-4] in out
    assert 'tools/model_converters/resnet38.py IN OUT' in out
    assert 'elsewhere/mine.pth: nothing is known' in out
    # Brought by hand, it is taken; a wrong one is refused.
    (tmp_path / place).write_bytes(content + b'x')
    result = {w.path: w for w in get_weights([cfg])}
    assert 'not the file that is meant' in result[
        'checkpoints/resnet50.pth'].bring
    (tmp_path / place).write_bytes(content)
    result = {w.path: w for w in get_weights([cfg])}
    assert result['checkpoints/resnet50.pth'].state == 'fetched'


def test_library_that_is_not_installed(server, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'timm', None)
    monkeypatch.setitem(sys.modules, 'timm.models', None)
    result, = get_weights([config(
        tmp_path / 'c.py', 'checkpoints/vit_base_p16_384.pth')])
    assert 'pip install timm' in result.bring


def test_missing_checkpoint_names_the_command(tmp_path):
    path = config(tmp_path / 'c.py', 'checkpoints/resnet38.pth')
    with pytest.raises(FileNotFoundError, match='Get it with: python tools/'
                       f'get_weights.py {path}'):
        run.check_pretrained(Config.fromfile(path))
    path = config(tmp_path / 'd.py', 'own.pth')
    with pytest.raises(FileNotFoundError) as error:
        run.check_pretrained(Config.fromfile(path))
    assert 'get_weights' not in str(error.value)

