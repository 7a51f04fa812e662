"""Wide ResNet-38 on procedural weights, and what of it is trained."""
import json
import zlib

import numpy as np
import torch

from mmwsss.models.backbones import ResNet38
from mmwsss.models.segmentors import AffinityNet

FAMILIES = ('resnet38d_forward', 'resnet38_psa_aff_param_groups')

# AffinityNet's head in its code's names
HEAD = {
    'decode_head.reduce.0': 'f8_3',
    'decode_head.reduce.1': 'f8_4',
    'decode_head.reduce.2': 'f8_5',
    'decode_head.mix': 'f9',
}


def procedural(key, shape):
    """The reference's weights: random, seeded by the parameter's name."""
    rng = np.random.RandomState(zlib.crc32(key.encode()) & 0x7fffffff)
    if len(shape) == 4:
        value = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    elif key.endswith('running_var'):
        value = rng.uniform(.5, 1.5, shape)
    elif key.endswith('.weight'):
        value = rng.uniform(.5, 1, shape)
    else:
        value = .1 * rng.standard_normal(shape)
    return torch.from_numpy(np.asarray(value, np.float32))


def test_resnet38(vector):
    if 'group0' in vector:
        check_groups(vector)
    else:
        check_forward(vector)


def check_forward(vector):
    net = ResNet38(out_indices=(0, 1, 2, 3)).eval()
    state = {
        k: procedural(k, v.shape)
        for k, v in net.state_dict().items() if v.dim()
    }
    net.load_state_dict(state, strict=False)
    with torch.no_grad():
        outs = net(torch.from_numpy(vector['x']))
    for name, step, out in zip(('conv3', 'conv4', 'conv5', 'conv6'),
                               (64, 64, 128, 256), outs, strict=True):
        expected = vector[f'{name}_sub']
        error = np.abs(out[:, ::step].numpy() - expected).max()
        assert error <= 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(
            [out.mean(), out.std(), out.abs().max()],
            vector[f'f64_{name}_mean_std_absmax'],
            rtol=1e-4)


def check_groups(vector):
    meta = json.loads(str(vector['meta']))
    net = AffinityNet(
        backbone=dict(type='mmwsss.ResNet38'),
        decode_head=dict(type='mmwsss.AffinityHead')).train()

    def name(key):
        for ours, theirs in HEAD.items():
            key = key.replace(ours, theirs)
        return key.removeprefix('backbone.')

    params = {name(k): v for k, v in net.named_parameters()}
    trained = [k for k, v in params.items() if v.requires_grad]
    # Weights of the backbone and, at ten times its rate, of the head; there
    # are no biases to treat differently.
    assert trained == [*vector['group0'], *vector['group2']]
    assert not len(vector['group1']) + len(vector['group3'])
    assert [k for k in params if k not in trained] == vector['frozen'].tolist()
    assert sum(v.numel() for v in params.values()) == meta['n_params']
    assert sum(params[k].numel() for k in trained) == meta['n_trained']
    state = {name(k): v for k, v in net.state_dict().items()}
    assert list(state) == vector['state_keys'].tolist()
    assert [json.dumps(list(v.shape)) for v in state.values()
            ] == vector['state_shapes'].tolist()
    assert meta['bn_eval_in_train_mode'] and not any(
        m.training for m in net.modules()
        if isinstance(m, torch.nn.BatchNorm2d))
