"""Networks of timm: where weights come from, and what maps they give."""
import pytest
import torch
from torch.testing import assert_close

from mmwsss.models.backbones import timm_backbone
from mmwsss.models.backbones.frozen_features import FrozenBackbone
from mmwsss.models.backbones.timm_backbone import has_timm
from mmwsss.registry import MODELS
from tests.test_models.frozen_builders import pictures

timm = pytest.importorskip(
    'timm', reason='timm is not installed (pip install timm)')
#: 0.4 million weights.
CNN = 'test_efficientnet'
VIT = 'test_vit'


def build(**kwargs):
    kwargs.setdefault('model_name', CNN)
    return MODELS.build(dict(type='mmwsss.TimmBackbone', **kwargs))


def classifier(path, name=CNN, seed=0, **kwargs):
    """A whole classifier of timm, in a file, and itself."""
    torch.manual_seed(seed)
    model = timm.create_model(name, **kwargs).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=.1)
            module.running_var.uniform_(.5, 2)
    torch.save(model.state_dict(), path)
    return model


def pretrained(path):
    return dict(type='Pretrained', checkpoint=str(path))


def test_timm_is_here():
    assert has_timm()


def test_a_file_of_a_classifier(tmp_path):
    path = tmp_path / 'w.pth'
    reference = classifier(path)
    model = build(init_cfg=pretrained(path))
    model.init_weights()
    model.eval()
    x = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        maps = model(x)
        assert len(maps) == 1 and maps[0].shape[2:] == (2, 3)
        assert_close(maps[0], reference.forward_features(x))


def test_a_file_within_a_model(tmp_path):
    path = tmp_path / 'w.pth'
    reference = classifier(path)
    model = MODELS.build(
        dict(
            type='mmwsss.CAMSegmentor',
            backbone=dict(
                type='mmwsss.TimmBackbone',
                model_name=CNN,
                frozen_stages=1,
                init_cfg=pretrained(path)),
            cls_head=dict(
                type='mmwsss.CAMHead', num_classes=2, in_channels=256),
            localizer=dict(type='mmwsss.CAM')))
    model.init_weights()
    found = model.backbone.timm_model
    assert not found.conv_stem.weight.requires_grad
    for name, value in found.state_dict().items():
        assert_close(value, reference.state_dict()[name])


def test_stages_and_stride(tmp_path):
    path = tmp_path / 'w.pth'
    reference = classifier(path, output_stride=16)
    model = build(
        init_cfg=pretrained(path), output_stride=16, out_indices=(1, 4))
    model.init_weights()
    model.eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        maps = model(x)
        expected = timm.create_model(
            CNN, features_only=True, out_indices=(1, 4),
            output_stride=16).eval()
        own = {
            k: v
            for k, v in reference.state_dict().items()
            if k in expected.state_dict()
        }
        expected.load_state_dict(own)
        expected = expected(x)
    assert [m.shape[2:] for m in maps] == [(16, 16), (4, 4)]
    for one, other in zip(maps, expected):
        assert_close(one, other)


@pytest.mark.parametrize('size', [(32, 48), (160, 160)])
def test_tokens_become_a_map(tmp_path, size):
    path = tmp_path / 'w.pth'
    reference = classifier(path, VIT, dynamic_img_size=True)
    model = build(
        model_name=VIT, init_cfg=pretrained(path), dynamic_img_size=True)
    model.init_weights()
    model.eval()
    x = torch.randn(2, 3, *size)
    with torch.no_grad():
        found, = model(x)
        tokens = reference.forward_features(x)
    rows, columns = size[0] // 16, size[1] // 16
    assert found.shape == (2, tokens.shape[2], rows, columns)
    tokens = tokens[:, reference.num_prefix_tokens:]
    for y in range(rows):
        for column in range(columns):
            assert_close(found[:, :, y, column],
                         tokens[:, y * columns + column])


def test_blocks_of_a_transformer(tmp_path):
    path = tmp_path / 'w.pth'
    classifier(path, VIT)
    model = build(
        model_name=VIT, init_cfg=pretrained(path), out_indices=(1, 3),
        dynamic_img_size=True)
    model.init_weights()
    maps = model(torch.randn(1, 3, 48, 32))
    assert [m.shape[2:] for m in maps] == [(3, 2), (3, 2)]


@pytest.mark.parametrize('out_indices', [None, (4, )])
def test_files_that_do_not_fit(tmp_path, out_indices):
    missing = tmp_path / 'nowhere.pth'
    model = build(init_cfg=pretrained(missing), out_indices=out_indices)
    with pytest.raises(FileNotFoundError, match=f'{missing}.*timm://'):
        model.init_weights()
    other = tmp_path / 'other.pth'
    classifier(other, VIT)
    lacking = tmp_path / 'lacking.pth'
    classifier(lacking)
    state = torch.load(lacking, weights_only=True)
    state.pop('conv_stem.weight')
    state.pop(next(k for k in state if k.startswith('blocks.1')))
    torch.save(state, lacking)
    short = tmp_path / 'short.pth'
    short.write_bytes(other.read_bytes()[:-900])
    text = tmp_path / 'text.pth'
    text.write_text('no weights')
    for path in (other, lacking, short, text):
        model = build(init_cfg=pretrained(path), out_indices=out_indices)
        with pytest.raises(ValueError, match=f'{path}'):
            model.init_weights()


@pytest.mark.parametrize('name, kwargs', [(CNN, dict(output_stride=16)),
                                          (VIT, dict(dynamic_img_size=True))])
def test_middle_maps(tmp_path, name, kwargs):
    path = tmp_path / 'w.pth'
    classifier(path, name, **kwargs)
    x = torch.randn(2, 3, 64, 96)

    def maps(**indices):
        model = build(
            model_name=name, init_cfg=pretrained(path), **indices, **kwargs)
        model.init_weights()
        with torch.no_grad():
            return model.eval()(x)

    first, second, last = maps(middle_indices=(1, 2))
    only, = maps()
    assert_close(last, only)
    for found, expected in zip((first, second), maps(out_indices=(1, 2))):
        assert_close(found, expected)
    with pytest.raises(ValueError, match='middle_indices'):
        build(middle_indices=(1, ), out_indices=(2, ))
    with pytest.raises(ValueError, match='freeze stages'):
        build(frozen_stages=1, out_indices=(2, ))


@pytest.mark.parametrize('loaded', [True, False])
def test_frozen_stages(tmp_path, loaded):
    path = tmp_path / 'w.pth'
    classifier(path)
    init_cfg = pretrained(path) if loaded else None

    def built(**kwargs):
        model = build(init_cfg=init_cfg, **kwargs)
        model.init_weights()
        return model.train()

    def trained(model):
        return {
            '.'.join(name.split('.')[:2]) if 'blocks' in name else
            name.split('.')[0]
            for name, p in model.timm_model.named_parameters()
            if p.requires_grad
        }

    blocks = [f'blocks.{i}' for i in range(len(built().timm_model.blocks))]
    head = {'conv_head', 'bn2'}
    assert trained(built()) == {'conv_stem', 'bn1', *blocks, *head}
    assert trained(built(frozen_stages=0)) == {*blocks, *head}
    assert trained(built(frozen_stages=2)) == {*blocks[2:], *head}
    assert not trained(built(frozen_stages=99))
    for options, kept in ((dict(), ()), (dict(frozen_stages=1),
                                         ('bn1', 'blocks.0')),
                          (dict(norm_eval=True), ('', ))):
        model = built(**options)
        found = [(name, module.training)
                 for name, module in model.timm_model.named_modules()
                 if isinstance(module, torch.nn.BatchNorm2d)]
        assert len(found) > 5
        for name, training in found:
            assert training != any(
                name.startswith(k) for k in kept), (options, name)
        assert not any(m.training for m in model.eval().modules())


def test_frozen_blocks_of_a_transformer():
    model = build(
        model_name=VIT, frozen_stages=2, dynamic_img_size=True).timm_model
    for index, block in enumerate(model.blocks):
        assert all(
            p.requires_grad == (index >= 2) for p in block.parameters())
    assert not model.pos_embed.requires_grad
    assert model.norm.weight.requires_grad


def test_weights_of_timm_itself(monkeypatch):
    """'timm://' is timm's own pretrained=True; nothing is downloaded."""
    asked = []
    create = timm.create_model

    def noted(*args, pretrained=False, **kwargs):
        asked.append((pretrained, kwargs.get('pretrained_cfg_overlay')))
        return create(*args, pretrained=False, **kwargs)

    monkeypatch.setattr(timm, 'create_model', noted)
    model = build(init_cfg=pretrained('timm://'), output_stride=16)
    assert asked == [(False, None)]
    model.init_weights()
    assert asked == [(False, None), (True, None)]
    model.init_weights()  # Once.
    assert len(asked) == 2
    random = build()
    random.init_weights()
    assert asked[2:] == [(False, None)]


def test_frozen(tmp_path):
    path = tmp_path / 'w.pth'
    reference = classifier(path, output_stride=16)
    backbone = dict(
        type='mmwsss.TimmBackbone',
        model_name=CNN,
        output_stride=16,
        init_cfg=pretrained(path))
    channels = reference.num_features
    frozen = FrozenBackbone(
        backbone, channels, mean=(127.5, ) * 3, std=(127.5, ) * 3)
    image = pictures(1, 3, 32, 48)
    with torch.no_grad():
        expected = reference.forward_features((image - 127.5) / 127.5)
    found = frozen(image)
    assert found.shape[2:] == (2, 3)
    assert_close(found, expected)
    assert frozen.name == f'TimmBackbone {CNN}'
    path.unlink()
    with pytest.raises(FileNotFoundError, match=str(path)):
        FrozenBackbone(backbone, channels)(image)


def test_without_timm(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'timm', None)
    assert not timm_backbone.has_timm()
    with pytest.raises(ImportError, match='timm'):
        build()
