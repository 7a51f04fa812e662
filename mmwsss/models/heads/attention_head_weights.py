"""How much each attention head of a transformer is worth (WeakTr)."""
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmwsss.registry import MODELS


def pool_tokens(outputs: Sequence[Tensor], num_heads: int,
                pooling: str) -> Tensor:
    """One feature vector per attention head (WeakTr's released code).

    The output projection mixes the heads of a block, so none of its channels
    belongs to one head. As in the released code, head ``j`` of ``num_heads``
    gets the channels j, j + num_heads, j + 2 num_heads, ...

    Args:
        outputs (Sequence[Tensor]): Per block, what its attention gave
            (N, T, D).
        num_heads (int): Heads of a block; divides D.
        pooling (str): ``'max'`` or ``'mean'`` over the T tokens.

    Returns:
        Tensor: (N, G, D / num_heads), block after block, G heads in all.
    """
    pooled = [
        x.amax(dim=1) if pooling == 'max' else x.mean(dim=1) for x in outputs
    ]
    heads = [x.unflatten(1, (-1, num_heads)).transpose(1, 2) for x in pooled]
    return torch.cat(heads, dim=1)


@MODELS.register_module()
class AttentionHeadWeights(nn.Module):
    """A weight for every attention head of every block (WeakTr).

    (Zhu et al., https://arxiv.org/abs/2304.01184, adaptive attention fusion;
    as in the released code.) Two linear layers turn the pooled features of a
    head into a number, the same layers for all heads. A squeeze of all these
    numbers, as in squeeze-and-excitation, lets the weights of heads depend on
    each other. They depend on the image.

    Args:
        in_channels (int): Token width D of the backbone.
        num_layers (int): Its blocks.
        num_heads (int): Heads of a block; divides D.
        feature_reduction (int): Features of a head are squeezed to
            ``D / num_heads / feature_reduction`` numbers. Defaults to 8.
        reduction (int): Numbers of the heads are squeezed to
            ``num_layers * num_heads / reduction``. Take a smaller one for few
            heads: a single rectified number may never be active.
            Defaults to 8.
        pooling (str): Over tokens, ``'max'`` or ``'mean'``. Defaults to
            'max'.

    Raises:
        ValueError: If ``pooling`` is unknown or ``num_heads`` does not divide
            ``in_channels``.
    """

    def __init__(self,
                 in_channels: int,
                 num_layers: int,
                 num_heads: int,
                 feature_reduction: int = 8,
                 reduction: int = 8,
                 pooling: str = 'max') -> None:
        super().__init__()
        if pooling not in ('max', 'mean'):
            raise ValueError("AttentionHeadWeights.pooling must be 'max' or "
                             f"'mean', got {pooling!r}.")
        if in_channels % num_heads:
            raise ValueError(
                f'AttentionHeadWeights: {num_heads} heads do not divide '
                f'{in_channels} channels. in_channels, num_layers and '
                'num_heads must be those of model.backbone.')
        self.in_channels = in_channels
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.pooling = pooling
        features, total = in_channels // num_heads, num_layers * num_heads
        hidden = max(features // feature_reduction, 1)
        # No activation between these two, as in the released code.
        self.score = nn.Sequential(
            nn.Linear(features, hidden), nn.Linear(hidden, 1))
        hidden = max(total // reduction, 1)
        self.excite = nn.Sequential(
            nn.Linear(total, hidden, bias=False), nn.ReLU(),
            nn.Linear(hidden, total, bias=False), nn.Sigmoid())

    def forward(self, outputs: Sequence[Tensor]) -> Tensor:
        """Weigh all heads for each image.

        Args:
            outputs (Sequence[Tensor]): Per block, what its attention gave
                (N, T, D).

        Returns:
            Tensor: (N, G) between 0 and 1, block after block.

        Raises:
            ValueError: If they are not of the backbone that the settings
                describe.
        """
        found = len(outputs), outputs[0].shape[-1]
        if found != (self.num_layers, self.in_channels):
            raise ValueError(
                f'AttentionHeadWeights is set to {self.num_layers} blocks of '
                f'{self.in_channels} channels, the backbone has {found[0]} '
                f'of {found[1]}. Set num_layers, num_heads and in_channels in '
                'model.cls_head.head_weights to those of model.backbone.')
        features = pool_tokens(outputs, self.num_heads, self.pooling)
        return self.excite(self.score(features).squeeze(-1))

    def extra_repr(self) -> str:
        """Shown when a model is printed."""
        return f'num_heads={self.num_heads}, pooling={self.pooling!r}'
