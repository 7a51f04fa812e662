"""Image to logits to gradients to fused CAMs."""
import pytest
import torch
from mmengine.structures import LabelData
from mmpretrain.models.utils import resize_pos_embed
from mmseg.structures import SegDataSample
from torch.testing import assert_close

from mmwsss.models.localizers.getam import COUPLINGS
from mmwsss.structures import AttentionRequest

from .acr_helpers import build_tiny, tensor

FAMILIES = ('acr_tiny_vit', )
NET = dict(rtol=1e-4, atol=1e-5)


def test_forward(vector):
    model = build_tiny(vector).eval()
    image = tensor(vector['image'])
    view = model.forward_view(
        image, request=AttentionRequest(matrices='heads'))
    assert view.grid == tuple(vector['grid'])
    assert_close(view.logits, tensor(vector['logits']), **NET)
    assert_close(
        torch.stack(view.attentions), tensor(vector['attn_all']), **NET)
    assert_close(
        torch.stack(view.attentions, 1).mean(2),
        tensor(vector['attn_head_mean']), **NET)

    backbone = model.backbone
    pos = resize_pos_embed(
        backbone.pos_embed,
        backbone.patch_resolution,
        view.grid,
        mode=backbone.interpolate_mode,
        num_extra_tokens=backbone.num_extra_tokens)
    assert_close(pos, tensor(vector['pos_embed_resized']), **NET)

    # The published array starts right after the class token.
    patch_cam = tensor(vector['patch_cam_relu'])
    patch_cam = patch_cam[:, int(vector['n_prefix']) - 1:]
    ours = view.cams.relu().flatten(2).transpose(1, 2)
    assert_close(ours, patch_cam, **NET)
    if vector['n_prefix'] == 1:
        assert_close(
            view.cams.mean((2, 3)), tensor(vector['patch_gap_logits']), **NET)


def test_attention_gradients(vector):
    model = build_tiny(vector).eval()
    view = model.forward_view(
        tensor(vector['image']), request=AttentionRequest(matrices='heads'))
    for c, logit in enumerate(view.logits[0]):
        grads = torch.autograd.grad(logit, view.attentions, retain_graph=True)
        assert_close(
            torch.stack(grads), tensor(vector['attn_grad_all'][c]), **NET)


def test_cams(vector):
    num_classes = vector['logits'].shape[1]
    class_ids = torch.arange(num_classes)[None]
    compared = 0
    for func in COUPLINGS:
        if not any(k.startswith(f'getam_{func}_start') for k in vector):
            continue
        for start in vector['start_layers']:
            model = build_tiny(
                vector,
                dict(
                    type='mmwsss.GETAM',
                    func=func,
                    start_layer=int(start),
                    affinity=False),
                test_cfg=dict(flip=False)).eval()
            with torch.no_grad():
                views, _, _ = model.compute_cams(
                    tensor(vector['image']), class_ids)
            for c in range(num_classes):
                ref = tensor(vector[f'getam_{func}_start{start}_class{c}'])
                assert_close(views[0][0][0, c].flatten(), ref, **NET)
                # The values are small; compare their pattern as well.
                assert_close(
                    views[0][0][0, c].flatten() / (ref.max() + 1e-12),
                    ref / (ref.max() + 1e-12),
                    rtol=1e-3,
                    atol=1e-3)
                compared += 1
    assert 0 < compared == sum(k.startswith('getam_') for k in vector)


def test_fused_maps(vector):
    finals = [k for k in vector if k.startswith('final_cam_')]
    if not finals:
        pytest.skip('no fused maps in this file')
    labels = tensor(vector['labels'])
    for name in finals + ['final_patch_cam'] * ('final_patch_cam' in vector):
        if name == 'final_patch_cam':
            localizer, eps = dict(type='mmwsss.CAM'), 1e-5
        else:
            func, affinity = name[len('final_cam_'):].rsplit('_aff', 1)
            eps = 1e-6
            localizer = dict(
                type='mmwsss.GETAM',
                func=func,
                start_layer=int(vector['start_layers'][-1]),
                affinity=affinity == '1')
        model = build_tiny(vector, localizer, test_cfg=dict(eps=eps)).eval()
        sample = SegDataSample(
            metainfo=dict(ori_shape=tuple(vector['out_hw']), img_id='x'))
        sample.gt_label = LabelData(
            label=labels.nonzero()[:, 0], score=labels)
        with torch.no_grad():
            model.predict(tensor(vector['image']), [sample])
        assert sample.class_ids.tolist() == vector['final_keys'].tolist()
        assert_close(sample.cams, tensor(vector[name]), rtol=0, atol=1e-3)
