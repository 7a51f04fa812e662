import pytest
import torch
import torch.nn.functional as F
from mmpretrain.models.backbones import (
    DistilledVisionTransformer,
    VisionTransformer,
)
from torch.testing import assert_close

from mmwsss.models.backbones.attention_vit import (
    attention_matrix,
    project_qkv,
)
from mmwsss.registry import MODELS
from mmwsss.structures import AttentionRequest
from tests.test_models.builders import ARCH, vit_cfg

#: Tokens before the patches, and layer scale.
KINDS = [
    dict(),
    dict(distilled=True),
    dict(num_registers=3, layer_scale_init_value=1e-5)
]


def build(**kwargs):
    torch.manual_seed(0)
    vit = MODELS.build(vit_cfg(**kwargs))
    vit.eval()
    for param in vit.parameters():
        torch.nn.init.normal_(param, std=0.2)
    return vit


@pytest.mark.parametrize('distilled', [False, True])
@pytest.mark.parametrize('size', [(64, 64), (48, 96), (32, 16)])
def test_equals_mmpretrain(distilled, size):
    """Same weights, same tokens as mmpretrain's plain implementation."""
    ours = build(distilled=distilled, final_norm=True)
    cls = DistilledVisionTransformer if distilled else VisionTransformer
    theirs = cls(
        arch=ARCH,
        img_size=64,
        patch_size=16,
        out_type='raw',
        interpolate_mode='bilinear')
    theirs.eval()
    theirs.load_state_dict(ours.state_dict())
    image = torch.randn(2, 3, *size)
    expected = theirs(image)[0]
    view = ours.forward_view(image)
    grid = (size[0] // 16, size[1] // 16)
    n_prefix = 2 if distilled else 1
    assert view['grid'] == grid
    assert view['num_prefix_tokens'] == n_prefix
    assert_close(view['cls_token'], expected[:, 0], rtol=1e-4, atol=1e-4)
    feats = view['feats'][0].flatten(2).transpose(1, 2)
    assert_close(feats, expected[:, n_prefix:], rtol=1e-4, atol=1e-4)
    assert_close(ours(image)[0], view['feats'][0])


def test_features_are_read_before_the_final_norm():
    vit = build()
    assert not hasattr(vit, 'ln1')
    normed = build(final_norm=True)
    # A checkpoint with a final norm loads without complaint.
    vit.load_state_dict(normed.state_dict(), strict=True)
    image = torch.randn(1, 3, 64, 64)
    assert_close(
        F.layer_norm(
            vit.forward_view(image)['cls_token'], (24, ), normed.ln1.weight,
            normed.ln1.bias, 1e-6),
        normed.forward_view(image)['cls_token'])


@pytest.mark.parametrize('size,grid', [((1, 1), (1, 1)), ((17, 33), (2, 3)),
                                       ((16, 640), (1, 40))])
def test_any_size(size, grid):
    view = build().forward_view(torch.randn(1, 3, *size))
    assert tuple(view['grid']) == grid
    assert view['feats'][0].shape == (1, 24, *grid)
    assert view['feats'][0].isfinite().all()


def test_intermediate_features():
    view = build(out_indices=(0, 3)).forward_view(torch.randn(1, 3, 32, 64))
    assert [f.shape for f in view['feats']] == [(1, 24, 2, 4)] * 2
    assert not torch.equal(*view['feats'])


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('rows_from', [None, 0, 2])
def test_class_tokens_of_tapped_blocks(kind, rows_from):
    """Whatever attention is kept, and never another token."""
    image = torch.randn(2, 3, 32, 64)
    full = build(out_indices=(0, 1, 3), **kind)
    with torch.no_grad():
        view = full.forward_view(
            image, AttentionRequest(class_rows_from=rows_from))
        plain = full(image)
    assert len(view['cls_tokens']) == len(view['feats']) == 3
    assert_close(plain, view['feats'], rtol=1e-4, atol=1e-4)
    tokens = full.embed(*full.patchify(image)[:2])
    for i, layer in enumerate(full.layers):
        tokens = layer(tokens)
        if i in (0, 1, 3):
            j = (0, 1, 3).index(i)
            assert_close(
                view['cls_tokens'][j], tokens[:, 0], rtol=1e-4, atol=1e-4)
            assert_close(
                view['feats'][j].flatten(2).mT,
                tokens[:, full.num_prefix_tokens:],
                rtol=1e-4,
                atol=1e-4)
    assert torch.equal(view['cls_tokens'][-1], view['cls_token'])


def test_no_class_token_without_its_map():
    view = build(out_indices=(0, 3)).forward_view(
        torch.randn(1, 3, 32, 32), AttentionRequest(patch_tokens=False))
    assert len(view['feats']) == len(view['cls_tokens']) == 1


def test_no_attention_without_request(monkeypatch):
    """Without a reader every block runs the fused kernel."""
    import mmwsss.models.backbones.attention_vit as module

    def forbidden(*args):
        raise AssertionError('an attention matrix was built')

    monkeypatch.setattr(module, 'attention_matrix', forbidden)
    view = build().forward_view(torch.randn(1, 3, 64, 64))
    assert 'attentions' not in view and 'affinity' not in view


def test_attention_is_stochastic_and_mean_of_heads():
    vit = build()
    image = torch.randn(2, 3, 64, 32)
    heads = vit.forward_view(image, AttentionRequest(matrices='heads'))
    mean = vit.forward_view(image, AttentionRequest(matrices='mean'))
    plain = vit.forward_view(image)
    assert len(heads['attentions']) == 4
    for full, averaged in zip(heads['attentions'], mean['attentions']):
        assert full.shape == (2, 3, 9, 9)
        assert_close(full.sum(-1), torch.ones(2, 3, 9))
        assert_close(full.mean(1), averaged)
    for output in (heads, mean):
        assert_close(
            output['cls_token'], plain['cls_token'], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('kind', KINDS)
def test_token_order_aligns_the_mirrored_view(kind):
    """Reordered tokens give what permuting all matrices would have given."""
    from tests.parity.acr_helpers import mirror_attention
    vit = build(**kind)
    image = torch.randn(2, 3, 48, 80)
    request = AttentionRequest(matrices='mean')
    mirrored = vit.forward_view(image.flip(-1), request)
    aligned = vit.forward_view(
        image.flip(-1), request, align=lambda tokens: tokens.flip(2))
    for a, b in zip(mirrored['attentions'], aligned['attentions']):
        b_ref = mirror_attention(a, (3, 5), vit.num_prefix_tokens)
        assert_close(b, b_ref, rtol=1e-4, atol=1e-5)
    assert_close(
        aligned['feats'][0],
        mirrored['feats'][0].flip(-1),
        rtol=1e-4,
        atol=1e-4)
    assert_close(
        aligned['cls_token'], mirrored['cls_token'], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('patch_tokens', [True, False])
@pytest.mark.parametrize('affinity', [True, False])
@pytest.mark.parametrize('start, kind', [(0, KINDS[0]), (2, KINDS[2]),
                                         (3, KINDS[1]), (-1, KINDS[2])])
def test_class_rows(start, kind, affinity, patch_tokens):
    """Rows, their gradients and the affinity equal the full computation."""
    vit = build(**kind)
    first = vit.num_prefix_tokens
    image = torch.randn(2, 3, 64, 64)
    full = vit.forward_view(image, AttentionRequest(matrices='heads'))
    weight = torch.randn(24)
    reference = torch.autograd.grad(
        (full['cls_token'] @ weight).sum(), full['attentions'][start:])
    with torch.no_grad():
        view = vit.forward_view(
            image,
            AttentionRequest(
                class_rows_from=start,
                affinity=affinity,
                patch_tokens=patch_tokens))
    with torch.enable_grad():
        grads = torch.autograd.grad((view['cls_token'] @ weight).sum(),
                                    view['class_rows'])
    assert len(grads) == len(reference)
    for row, attn, grad, ref in zip(view['class_rows'],
                                    full['attentions'][start:], grads,
                                    reference):
        assert row.shape == (2, 3, 1, first + 16)
        assert_close(row, attn[:, :, :1], rtol=1e-4, atol=1e-5)
        assert_close(grad, ref[:, :, :1], rtol=1e-3, atol=1e-5)
    assert ('feats' in view) == patch_tokens
    if affinity:
        total = sum(a[:, :, first:, first:].mean(1)
                    for a in full['attentions'])
        assert_close(view['affinity'], total, rtol=1e-4, atol=1e-5)
        assert not view['affinity'].requires_grad
    else:
        assert 'affinity' not in view


def test_nothing_is_recorded_below_the_first_row():
    vit = build()
    with torch.enable_grad():
        view = vit.forward_view(
            torch.randn(1, 3, 64, 64), AttentionRequest(class_rows_from=3))
        view['cls_token'].sum().backward()
    touched = {
        name.split('.')[1]
        for name, p in vit.named_parameters()
        if name.startswith('layers') and p.grad is not None
    }
    assert touched == {'3'}
    assert vit.pos_embed.grad is None


def test_frozen_parameters_do_not_hide_the_gradient():
    vit = build().requires_grad_(False)
    with torch.no_grad():
        view = vit.forward_view(
            torch.randn(1, 3, 64, 64), AttentionRequest(class_rows_from=2))
    grads = torch.autograd.grad(view['cls_token'].sum(), view['class_rows'])
    assert all(g.abs().sum() > 0 for g in grads)


def test_requests_are_checked():
    with pytest.raises(ValueError, match="'mean' or 'heads'"):
        AttentionRequest(matrices='all')
    with pytest.raises(ValueError, match='not for both'):
        build().forward_view(
            torch.randn(1, 3, 64, 64),
            AttentionRequest(matrices='mean', class_rows_from=1))


def test_foreign_checkpoints_are_refused(tmp_path):
    """mmengine only warns when not one weight fits."""
    path = tmp_path / 'resnet.pth'
    torch.save(dict(state_dict={'conv1.weight': torch.zeros(1)}), path)
    cfg = vit_cfg(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    with pytest.raises(ValueError, match='holds no vision transformer'):
        MODELS.build(cfg).init_weights()
    torch.save(dict(state_dict={'pos_embed': torch.zeros(1, 17, 8)}), path)
    with pytest.raises(ValueError, match='does not fit AttentionViT'):
        MODELS.build(cfg).init_weights()


def test_classifier_checkpoints_load_without_a_prefix(tmp_path):
    source = build()
    path = tmp_path / 'classifier.pth'
    state = {f'backbone.{k}': v for k, v in source.state_dict().items()}
    state['head.layers.head.weight'] = torch.zeros(10, 24)
    torch.save(dict(state_dict=state), path)
    model = MODELS.build(
        vit_cfg(init_cfg=dict(type='Pretrained', checkpoint=str(path))))
    model.init_weights()
    for ours, theirs in zip(model.parameters(), source.parameters()):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize('change', [
    dict(distilled=True),
    dict(patch_size=8),
    dict(arch=dict(ARCH, num_layers=5)),
    dict(arch=dict(ARCH, feedforward_channels=32)),
    dict(num_registers=4),
    dict(layer_scale_init_value=1e-5)
])
def test_checkpoint_of_another_vit_is_refused(tmp_path, change):
    path = tmp_path / 'vit.pth'
    torch.save(build().state_dict(), path)
    cfg = vit_cfg(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    MODELS.build(cfg).init_weights()
    with pytest.raises(ValueError, match='does not fit AttentionViT'):
        MODELS.build(dict(cfg, **change)).init_weights()
    # Nor does what this one lacks go unnoticed.
    if 'arch' not in change:
        torch.save(build(**change).state_dict(), path)
        with pytest.raises(ValueError, match='does not fit AttentionViT'):
            MODELS.build(cfg).init_weights()


def test_checkpoint_without_a_square_grid_is_refused(tmp_path):
    path = tmp_path / 'vit.pth'
    state = build().state_dict()
    state['pos_embed'] = state['pos_embed'][:, :-2]
    torch.save(state, path)
    cfg = vit_cfg(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    with pytest.raises(ValueError, match='15 position embeddings are no'):
        MODELS.build(cfg).init_weights()
    torch.save({'blocks.0.attn.qkv.weight': state['cls_token'], **state}, path)
    with pytest.raises(ValueError, match='such as blocks.0.*dinov2.py'):
        MODELS.build(cfg).init_weights()


@pytest.mark.parametrize('final_norm', [False, True])
def test_blocks_nobody_reads_do_not_run(final_norm, monkeypatch):
    image = torch.randn(2, 3, 32, 48)
    full = build(out_indices=(1, 2, 3), final_norm=final_norm)
    vit = build(out_indices=(1, 2), final_norm=final_norm)
    vit.load_state_dict(full.state_dict())
    ran = []
    block = vit._block
    monkeypatch.setattr(
        vit, '_block', lambda *args: (ran.append(args[0]), block(*args))[1])
    found = vit(image)
    assert ran == list(vit.layers[:3])
    assert_close(found, full.forward_view(image)['feats'][:2])
    one, = build(out_indices=(2, ))(image)
    assert one.shape == (2, 24, 2, 3)


def test_no_block_of_that_index():
    with pytest.raises(ValueError, match='its blocks are 0 to 3'):
        build(out_indices=(2, 4))
    with pytest.raises(ValueError, match='num_registers of 0 or more'):
        build(num_registers=-1)


@pytest.mark.parametrize('kind', KINDS)
def test_frozen_stages_freeze_all_tokens(kind):
    vit = build(frozen_stages=2, **kind)
    trained = {n for n, p in vit.named_parameters() if p.requires_grad}
    assert trained == {
        n for n, _ in vit.named_parameters()
        if n.startswith(('layers.2.', 'layers.3.'))
    }


@pytest.mark.parametrize('matrices', [None, 'mean'])
def test_blocks_computed_anew_have_the_same_gradients(matrices):
    """``with_cp``: all gradients, of less that is kept."""
    kept, grads = {}, {}
    for with_cp in (False, True):
        vit = build(with_cp=with_cp, drop_path_rate=0.3)
        vit.train()
        held = {}

        def keep(x):
            held[x.untyped_storage().data_ptr()] = x.numel()
            return x

        torch.manual_seed(1)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            view = vit.forward_view(
                torch.randn(2, 3, 64, 64), AttentionRequest(matrices=matrices))
            total = view['feats'][0].square().sum()
            for matrix in view.get('attentions', ()):
                total = total + matrix.square().sum()
        kept[with_cp] = sum(held.values())
        total.backward()
        grads[with_cp] = {n: p.grad for n, p in vit.named_parameters()}
    for name, grad in grads[False].items():
        assert_close(grads[True][name], grad, msg=name)
    assert kept[True] < 0.6 * kept[False]


# ------------------------------------------------- one class token per class
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('size', [(64, 64), (48, 96)])
def test_class_tokens_of_all_blocks(kind, size):
    """Block by block the same as without attention that is kept."""
    vit = build(num_class_tokens=5, final_norm=True, **kind)
    image = torch.randn(2, 3, *size)
    expected, x = [], vit.embed(*vit.patchify(image)[:2])
    assert x.shape[1] == vit.num_prefix_tokens + size[0] * size[1] // 256
    assert vit.num_prefix_tokens == (
        5 + kind.get('distilled', False) + kind.get('num_registers', 0))
    for layer in vit.layers:
        x = layer(x)
        expected.append(x[:, :5])
    x = vit.ln1(x)
    expected[-1] = x[:, :5]
    for request in (AttentionRequest(), AttentionRequest(matrices='mean'),
                    AttentionRequest(patch_tokens=False),
                    AttentionRequest(class_rows_from=1),
                    AttentionRequest(
                        class_rows_from=1, affinity=True, patch_tokens=False),
                    AttentionRequest(class_rows_from=0, row_gradients=False)):
        with torch.no_grad():
            view = vit.forward_view(image, request)
        assert view['num_class_tokens'] == 5
        assert not {'cls_token', 'cls_tokens'} & set(view)
        assert len(view['class_tokens']) == 4
        for found, token in zip(view['class_tokens'], expected):
            assert_close(found, token, rtol=1e-4, atol=1e-4)
        assert ('feats' in view) == request.patch_tokens
        if request.patch_tokens:
            assert_close(
                view['feats'][0].flatten(2).mT,
                x[:, vit.num_prefix_tokens:],
                rtol=1e-4,
                atol=1e-4)


@pytest.mark.parametrize('affinity', [True, False])
@pytest.mark.parametrize('start', [0, 2, -1])
def test_rows_of_all_class_tokens(start, affinity):
    """With and without their gradients, against the full matrices."""
    vit = build(num_class_tokens=3, distilled=True)
    image = torch.randn(2, 3, 48, 80)
    full = vit.forward_view(image, AttentionRequest(matrices='heads'))
    weight = torch.randn(3, 24)
    reference = torch.autograd.grad(
        (full['class_tokens'][-1] * weight).sum(), full['attentions'][start:])
    for gradients in (True, False):
        request = AttentionRequest(
            class_rows_from=start, row_gradients=gradients, affinity=affinity)
        with torch.no_grad():
            view = vit.forward_view(image, request)
        assert len(view['class_rows']) == len(reference)
        for row, attn in zip(view['class_rows'], full['attentions'][start:]):
            assert row.shape == (2, 3, 3, 4 + 15)
            assert row.requires_grad == gradients
            assert_close(row, attn[:, :, :3], rtol=1e-4, atol=1e-5)
        if affinity:
            total = sum(
                a[:, :, 4:, 4:].mean(1) for a in full['attentions'])
            assert_close(view['affinity'], total, rtol=1e-4, atol=1e-5)
        if gradients:
            grads = torch.autograd.grad(
                (view['class_tokens'][-1] * weight).sum(),
                view['class_rows'])
            for grad, ref in zip(grads, reference):
                assert_close(grad, ref[:, :, :3], rtol=1e-3, atol=1e-5)
        else:
            tensors = (*view['feats'], *view['class_tokens'])
            assert not any(t.requires_grad for t in tensors)


def test_rows_without_gradients_leave_the_training_graph_alone():
    vit = build(num_class_tokens=3)
    image = torch.randn(1, 3, 32, 32)
    found = []
    for request in (AttentionRequest(),
                    AttentionRequest(class_rows_from=1, row_gradients=False)):
        vit.zero_grad()
        view = vit.forward_view(image, request)
        (view['feats'][0].square().sum() +
         view['class_tokens'][1].sum()).backward()
        found.append([p.grad.clone() for p in vit.parameters()])
    for a, b in zip(*found):
        assert a.any()
        assert_close(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('distilled', [False, True])
@pytest.mark.parametrize('img_size', [64, (48, 96)])
def test_class_tokens_begin_as_copies_of_the_pretrained_one(
        distilled, img_size):
    source = build(distilled=distilled).state_dict()
    plain = build(distilled=distilled, img_size=img_size)
    vit = build(
        distilled=distilled, img_size=img_size, num_class_tokens=4)
    plain.load_state_dict(source)
    vit.load_state_dict(source)
    assert source['cls_token'].shape == (1, 1, 24), 'the file is not changed'
    for k in range(4):
        assert torch.equal(vit.cls_token[:, k], plain.cls_token[:, 0])
        assert torch.equal(vit.pos_embed[:, k], plain.pos_embed[:, 0])
    # The distillation token and the patches keep their own embeddings.
    assert torch.equal(vit.pos_embed[:, 4:], plain.pos_embed[:, 1:])
    # As no more than one token per class looks alike, K copies do.
    tokens = vit.forward_view(torch.randn(1, 3, 48, 96))['class_tokens'][-1]
    assert_close(tokens, tokens[:, :1].expand_as(tokens))


def test_class_tokens_are_loaded_as_they_were_saved():
    trained = build(num_class_tokens=4).state_dict()
    vit = build(num_class_tokens=4, img_size=96)
    vit.load_state_dict(trained)
    assert torch.equal(vit.cls_token, trained['cls_token'])
    assert torch.equal(vit.pos_embed[:, :4], trained['pos_embed'][:, :4])
    with pytest.raises(ValueError, match='num_class_tokens'):
        build(num_class_tokens=3).load_state_dict(trained)
    with pytest.raises(ValueError, match='num_class_tokens'):
        build().load_state_dict(trained)
    with pytest.raises(ValueError, match='num_class_tokens of 1 or more'):
        build(num_class_tokens=0)


def test_frozen_blocks_let_class_tokens_differ():
    """Copies that stay as they are would stay equal."""
    vit = MODELS.build(vit_cfg(num_class_tokens=3, frozen_stages=2))
    assert vit.cls_token.requires_grad
    frozen = (vit.pos_embed, *vit.patch_embed.parameters(),
              *vit.layers[1].parameters())
    assert not any(p.requires_grad for p in frozen)
    assert all(p.requires_grad for p in vit.layers[2].parameters())
    assert not MODELS.build(vit_cfg(frozen_stages=2)).cls_token.requires_grad
    vit.forward_view(torch.randn(1, 3, 32, 32))[
        'class_tokens'][-1][:, 1].square().sum().backward()
    assert vit.cls_token.grad[:, 1].any()


def test_merged_requests_differentiate_rows_if_one_reader_does():
    quiet = AttentionRequest(class_rows_from=3, row_gradients=False)
    loud = AttentionRequest(class_rows_from=5)
    assert not AttentionRequest.merge([quiet, None]).differentiates
    assert AttentionRequest.merge([quiet, loud]).differentiates
    # One that reads no rows has no say.
    assert not AttentionRequest.merge(
        [quiet, AttentionRequest(affinity=True)]).differentiates
    assert not AttentionRequest(affinity=True).differentiates


# ------------------------------------------------ what the attention gives
@pytest.mark.parametrize('kind', [*KINDS, dict(num_class_tokens=3)])
def test_attention_outputs_of_all_blocks(kind):
    """Those of mmpretrain's own attention, which shows no matrix."""
    vit = build(**kind)
    image = torch.randn(2, 3, 48, 80)
    x = vit.embed(*vit.patchify(image)[:2])
    expected = []
    for layer in vit.layers:
        expected.append(layer.attn(layer.ln1(x)))
        x = layer(x)
    for matrices in (None, 'mean', 'heads'):
        view = vit.forward_view(
            image, AttentionRequest(matrices=matrices, outputs=True))
        assert len(view['attention_outputs']) == 4
        for found, output in zip(view['attention_outputs'], expected):
            assert not found.requires_grad
            assert_close(found, output, rtol=1e-4, atol=1e-4)
    assert 'attention_outputs' not in vit.forward_view(image)


class Dropped(torch.nn.Module):
    """Stochastic depth that always drops."""

    def forward(self, x):
        return 0 * x


@pytest.mark.parametrize('with_cp', [False, True])
def test_attention_outputs_know_no_stochastic_depth(with_cp):
    """In training, what is added is dropped; what was computed is not."""
    vit = build(with_cp=with_cp)
    for layer in vit.layers[1:]:
        layer.attn.out_drop = layer.ffn.dropout_layer = Dropped()
    image = torch.randn(2, 3, 32, 32)
    view = vit.forward_view(image, AttentionRequest(outputs=True))
    # Every block but the first gives back what it gets.
    x = vit.layers[0](vit.embed(*vit.patchify(image)[:2]))
    for layer, found in zip(vit.layers[1:], view['attention_outputs'][1:]):
        q, k, v = project_qkv(layer.attn, layer.ln1(x))
        heads = attention_matrix(q, k) @ v
        assert_close(
            found,
            layer.attn.proj(heads.transpose(1, 2).flatten(2)),
            rtol=1e-4,
            atol=1e-4)
    view['feats'][0].sum().backward()


def test_requests_for_outputs():
    with pytest.raises(ValueError, match='patch_tokens=True'):
        AttentionRequest(outputs=True, patch_tokens=False)
    with pytest.raises(ValueError, match='not for both'):
        build().forward_view(
            torch.randn(1, 3, 64, 64),
            AttentionRequest(outputs=True, class_rows_from=1))
    short = AttentionRequest(patch_tokens=False)
    merged = AttentionRequest.merge([short, AttentionRequest(outputs=True)])
    assert merged.outputs and merged.patch_tokens
    assert not AttentionRequest.merge([short]).outputs
