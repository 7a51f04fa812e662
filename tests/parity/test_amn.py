"""AMN: forward pass, loss on seeds, and inference."""
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from mmwsss.models.heads import LabelConditionedHead
from mmwsss.models.localizers.fusion import resize_maps
from mmwsss.models.losses import BalancedCrossEntropy
from mmwsss.models.segmentors.amn import resize_nearest, scores_in_seeds
from mmwsss.models.segmentors.cam_segmentor import cams_to_mask
from mmwsss.structures import ViewOutput

from .acr_helpers import tensor
from .base_helpers import check, meta

FAMILIES = ('amn_forward', 'amn_infer', 'amn_loss', 'amn_resize')


def check_forward(vector):
    labels, feats = tensor(vector['label']), tensor(vector['feature'])
    head = LabelConditionedHead(
        labels.shape[1], feats.shape[1], dilations=meta(vector)['rates'])
    names = {
        'label_enc.weight': 'label_encoder.weight',
        'label_enc.bias': 'label_encoder.bias'
    }
    for i in range(len(head.branches)):
        for kind in ('weight', 'bias'):
            names[f'classifier.1.c{i}.{kind}'] = f'branches.{i}.{kind}'
    head.load_state_dict(
        {ours: tensor(vector['p:' + name])
         for name, ours in names.items()})
    head.eval()

    def logits(feats, labels):
        view = ViewOutput(
            feats, labels, dict(feats=(head.condition(feats, labels), )),
            providers=dict(pixel_logits=head.pixel_logits, cams=head.cams))
        assert torch.equal(view.cams, view.pixel_logits[:, 1:])
        return view.pixel_logits

    feats.requires_grad_()
    found = logits(feats, labels)
    check(found, vector['logits'])
    (found * tensor(vector['R'])).sum().backward()
    check(feats.grad, vector['grad_feature'])
    params = dict(head.named_parameters())
    for name, ours in names.items():
        check(params[ours].grad, vector['grad:' + name])
    pair = tensor(vector['feature_pair'])
    plain, mirrored = logits(pair, labels[-1:].expand(2, -1)).detach()
    check((plain + mirrored.flip(-1)) / 2, vector['cam_flip_mean'])


def check_inference(vector):
    seeds = torch.from_numpy(vector['seed_label'])
    ids = tensor(vector['label']).nonzero()[:, 0]
    assert [0, *(ids + 1).tolist()] == vector['keys'].tolist()
    outputs = [
        tensor(vector[f'net_out_{i}'])
        for i in range(sum(k.startswith('net_out_') for k in vector))
    ]
    for name in ('strided_cam', 'high_res'):
        size = vector[name].shape[-2:]
        small = resize_nearest(seeds, size)
        if name == 'strided_cam':
            assert small.tolist() == vector['seed_down'].tolist()
        logits = torch.stack([resize_maps(x, size, False)
                              for x in outputs]).mean(dim=0)
        found = scores_in_seeds(logits, ids, small)
        assert_close(found, tensor(vector[name]), rtol=0, atol=1e-5)
    # Named after the background's score, .25.
    masks = [name for name in vector if name.startswith('pred_bg0')]
    assert masks
    for name in masks:
        mask = cams_to_mask(found[1:], ids, float(f'0.{name[8:]}'))
        assert (mask.numpy() == vector[name]).mean() >= 0.995


def check_loss(vector):
    logits = tensor(vector['logits']).requires_grad_()
    labels = torch.from_numpy(vector['label']).long()
    loss = BalancedCrossEntropy(
        loss_weight=0.5, label_smoothing=meta(vector)['eps'])
    value = loss(logits, labels)
    check(value, vector['ref_loss'])
    value.backward()
    check(logits.grad, vector['grad_logits'])
    each = -(tensor(vector['target']) * F.log_softmax(logits, 1)).sum(1)
    known = labels != 255
    check(each[known], vector['per_pixel'][known.numpy()])


def test_amn(vector):
    if 'feature' in vector:
        check_forward(vector)
    elif 'seed_label' in vector:
        check_inference(vector)
    elif 'logits' in vector:
        check_loss(vector)
    else:
        found = resize_nearest(
            torch.from_numpy(vector['label']),
            meta(vector)['size'])
        assert found.tolist() == vector['out'].tolist()
