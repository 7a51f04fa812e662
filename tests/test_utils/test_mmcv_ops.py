"""mmdet without compiled operations of mmcv."""
import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch.autograd import gradcheck

from mmwsss.utils import mmcv_ops
from mmwsss.utils.mmcv_ops import NAME, TorchOps, has_compiled_ops

from ..test_tools import environment


def test_only_beside_mmdet_and_without_operations(monkeypatch, tmp_path):
    installed = dict(mmdet=None, mmcv=SimpleNamespace(
        submodule_search_locations=[str(tmp_path)]))
    monkeypatch.setattr(
        mmcv_ops.importlib.util, 'find_spec', lambda name: installed[name])
    monkeypatch.delitem(sys.modules, NAME, raising=False)

    def there():
        mmcv_ops.support_mmdet()
        found = sys.modules.pop(NAME, None)
        assert found is None or isinstance(found, TorchOps)
        return found is not None

    assert not has_compiled_ops() and not there()
    installed['mmdet'] = SimpleNamespace()
    assert there()
    (tmp_path / '_ext.py').write_text('')
    assert there()
    (tmp_path / '_ext.cpython-311-x86_64-linux-gnu.so').write_text('')
    assert has_compiled_ops() and not there()
    installed['mmcv'] = None
    assert has_compiled_ops() and not there()
    installed['mmcv'] = SimpleNamespace(
        submodule_search_locations=[str(tmp_path / 'other')])
    monkeypatch.setitem(sys.modules, NAME, 'real')
    mmcv_ops.support_mmdet()
    assert sys.modules[NAME] == 'real'


def plain_attention(value, shapes, locations, weights):
    """Bilinear samples between pixel centres, one by one."""
    n, _, heads, dims = value.shape
    _, queries, _, levels, points, _ = locations.shape
    out = value.new_zeros(n, queries, heads, dims)
    starts = [0]
    for h, w in shapes:
        starts.append(starts[-1] + h * w)
    for i in range(n):
        for q in range(queries):
            for m in range(heads):
                for level, (h, w) in enumerate(shapes):
                    for p in range(points):
                        x, y = locations[i, q, m, level, p].tolist()
                        x, y = x * w - .5, y * h - .5
                        x0, y0 = int(x // 1), int(y // 1)
                        for yy in (y0, y0 + 1):
                            for xx in (x0, x0 + 1):
                                if 0 <= yy < h and 0 <= xx < w:
                                    share = (1 - abs(x - xx)) * (
                                        1 - abs(y - yy))
                                    out[i, q, m] += share * weights[
                                        i, q, m, level, p] * value[
                                            i, starts[level] + yy * w + xx, m]
    return out.flatten(2)


def inputs():
    torch.manual_seed(0)
    shapes = torch.tensor([[3, 4], [2, 2]])
    return (torch.rand(2, 16, 2, 3, dtype=torch.float64), shapes,
            torch.rand(2, 3, 2, 2, 2, 2, dtype=torch.float64) * 1.2 - .1,
            torch.rand(2, 3, 2, 2, 2, dtype=torch.float64))


@pytest.fixture
def ops(monkeypatch):
    """mmcv's attention on operations in torch."""
    if has_compiled_ops():
        pytest.skip('mmcv has compiled operations')
    for name in [n for n in sys.modules if n.startswith('mmcv.ops')]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, NAME, TorchOps(NAME))
    # Importing all of mmcv.ops registers its modules, which can only be done
    # once in a program.
    spec = importlib.util.find_spec('mmcv').submodule_search_locations[0]
    package = type(sys)('mmcv.ops')
    package.__path__ = [f'{spec}/ops']
    monkeypatch.setitem(sys.modules, 'mmcv.ops', package)
    from mmengine.registry import MODELS
    taken = MODELS.module_dict.get('MultiScaleDeformableAttention')
    MODELS.module_dict.pop('MultiScaleDeformableAttention', None)
    import importlib as lib
    yield lib.import_module('mmcv.ops.multi_scale_deform_attn')
    MODELS.module_dict.pop('MultiScaleDeformableAttention', None)
    if taken is not None:
        MODELS.module_dict['MultiScaleDeformableAttention'] = taken


def test_attention(ops):
    value, shapes, locations, weights = inputs()
    expected = plain_attention(value, shapes.tolist(), locations, weights)
    found = TorchOps.ms_deform_attn_forward(value, shapes, None, locations,
                                            weights)
    torch.testing.assert_close(found, expected)

    # What mmcv calls where tensors are on a GPU.
    def function(value, locations, weights):
        return ops.MultiScaleDeformableAttnFunction.apply(
            value, shapes, torch.tensor([0, 12]), locations, weights,
            torch.tensor(64))

    grad = [x.requires_grad_() for x in (value, locations, weights)]
    torch.testing.assert_close(function(*grad), expected)
    assert gradcheck(function, grad)


def test_others_are_refused():
    ops = TorchOps(NAME)
    with pytest.raises(NotImplementedError, match='nms of mmcv.*MMCV_WITH'):
        ops.nms(1, iou=2)
    assert not hasattr(ops, '__path__')
    assert ops.get_compiler_version() == 'n/a'


def test_mmengine_can_ask(monkeypatch):
    """It looks for compiled operations before it builds an optimizer."""
    from mmengine.utils.dl_utils import mmcv_full_available
    monkeypatch.setitem(sys.modules, NAME, TorchOps(NAME))
    assert mmcv_full_available() in (True, False)


def test_import_loads_nothing():
    """Neither torch nor mmcv, with which a program would begin slowly."""
    code = ('import sys, mmwsss; print([n for n in ("torch", "mmcv", "mmdet")'
            ' if n in sys.modules])')
    done = subprocess.run([sys.executable, '-c', code], env=environment(),
                          capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'
