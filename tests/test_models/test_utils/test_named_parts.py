"""Parts that a config names, adds, changes and takes out."""
import pytest
import torch
from mmengine.config import Config

from mmwsss.models.utils.named_parts import build_parts

from ..builders import build_segmentor

EXAMPLE = "acr=dict(type='mmwsss.AllPairsConsistency')"
BASE = '''
model = dict(regularizers=dict(
    acr=dict(type='mmwsss.AllPairsConsistency', loss_weight=7.),
    seam=dict(type='mmwsss.EquivariantRegularization')))
'''


def build(parts):
    return build_parts('regularizers', parts, EXAMPLE)


@pytest.mark.parametrize('change,weights,options', [
    ('dict(seam=dict(er_weight=3.))', dict(acr=7., seam=3.), {}),
    ("dict(more=dict(type='mmwsss.AllPairsConsistency', loss_weight=2.))",
     dict(acr=7., seam=1., more=2.), {}),
    ('dict(acr=dict(_delete_=True))', dict(seam=1.), {}),
    ('dict(acr=None)', dict(seam=1.), {}),
    ("dict(_delete_=True, x=dict(type='mmwsss.AllPairsConsistency'))",
     dict(x=125.), {}),
    ('dict()', dict(acr=9.), {
        'model.regularizers.seam': None,
        'model.regularizers.acr.loss_weight': 9.
    }),
])
def test_what_a_config_says_is_merged(change, weights, options, tmp_path):
    (tmp_path / 'base.py').write_text(BASE)
    path = tmp_path / 'mine.py'
    path.write_text(
        f"_base_ = 'base.py'\nmodel = dict(regularizers={change})\n")
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(options)
    parts = build(cfg.model.regularizers)
    assert {
        name: getattr(part, 'loss_weight', None) or part.er_weight
        for name, part in parts.items()
    } == weights
    assert list(parts) == list(weights)


def test_none_is_no_part():
    assert len(build(None)) == len(build({})) == 0


PART = dict(type='mmwsss.AllPairsConsistency')


@pytest.mark.parametrize('parts,error,message', [
    ([PART], TypeError, r'model.regularizers must be a dict, not a list. '
     r"Give each part a name of yours: regularizers=dict\(acr=dict\(type="),
    ([], TypeError, 'not a list'),
    (PART, TypeError, "regularizers.type must be a dict, not 'mmwsss.All"),
    # --cfg-options model.regularizers.0.loss_weight=2
    ({
        'acr': PART,
        '0': dict(loss_weight=2)
    }, ValueError, r"regularizers.0 has no type. Parts with one are \['acr'"),
    (dict(my_loss=PART), ValueError, "'my_loss'.*added to the total"),
    (dict(keys=PART), ValueError, "'keys'.*ModuleDict"),
    ({
        'a.b': PART
    }, ValueError, "'a.b'"),
])
def test_refusals(parts, error, message):
    with pytest.raises(error, match=message):
        build(parts)


def test_a_model_says_how_to_write_them():
    with pytest.raises(TypeError, match=r'regularizers=dict\(acr='):
        build_segmentor(regularizers=[PART])


def test_parts_are_initialised_as_they_say():
    """mmengine's ``init_weights`` of a model reaches its parts."""
    model = build_segmentor(
        regularizers=dict(
            fbr=dict(
                type='mmwsss.FineGrainedBackgroundContrast',
                in_channels=8,
                num_classes=3,
                scores='cams',
                init_cfg=dict(type='Constant', layer='Conv2d', val=0.25))))
    weights = [p for p in model.regularizers.parameters() if p.ndim == 4]
    assert weights
    model.init_weights()
    for weight in weights:
        assert torch.equal(weight, torch.full_like(weight, 0.25))
