"""The convolutional stem of the hybrid ViT."""
import torch
from torch.testing import assert_close

from mmwsss.models.backbones.hybrid_vit import HybridEmbed
from mmwsss.models.backbones.weight_std_resnet import WeightStdResNet
from mmwsss.models.converters.timm_vit import timm_to_mmwsss_key

from .acr_helpers import tensor

FAMILIES = ('acr_hybrid_stem', )


def test_acr_hybrid_stem(vector):
    state = {}
    for name in (k[2:] for k in vector if k.startswith('w:')):
        inner = '' if name.startswith('proj.') else 'backbone.'
        key = timm_to_mmwsss_key(f'patch_embed.{inner}{name}')
        state[key.removeprefix('patch_embed.')] = tensor(vector[f'w:{name}'])
    image = tensor(vector['image'])
    stem_channels, *_ = state['backbone.stem.conv.weight'].shape
    layers = [int(n) for n in vector['layers']]
    # The vectors may list the widths of more stages than they use.
    widths = [
        state[f'backbone.stages.{i}.blocks.0.conv3.weight'].shape[0]
        for i in range(len(layers))
    ]
    assert widths == vector['channels'][:len(layers)].tolist()
    embed = HybridEmbed(
        WeightStdResNet(layers, widths, stem_channels=stem_channels),
        embed_dims=len(state['projection.weight']),
        input_size=tuple(image.shape[2:]))
    embed.load_state_dict(state, strict=True)

    tolerance = dict(rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        assert_close(
            embed.backbone.forward_stem(image), tensor(vector['stem_out']),
            **tolerance)
        for i, out in enumerate(embed.stages(image)):
            assert_close(out, tensor(vector[f'stage{i}_out']), **tolerance)
        assert i + 1 == len(layers)
        tokens, grid = embed(image)
    assert grid == embed.init_out_size
    assert_close(tokens, tensor(vector['tokens']), **tolerance)
