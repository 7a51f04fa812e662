"""Vision transformer on the feature map of a small convolutional stem."""
from collections.abc import Sequence
from typing import Any

from mmengine.model import BaseModule
from mmengine.utils import to_2tuple
from torch import Tensor, nn

from mmwsss.registry import MODELS

from .attention_vit import AttentionViT
from .weight_std_resnet import WeightStdResNet


class HybridEmbed(BaseModule):
    """Tokens from the last feature map of a convolutional backbone.

    A drop-in for mmcv's ``PatchEmbed``: one token per feature-map position,
    made by a 1x1 convolution.

    Args:
        backbone (nn.Module): Maps an image to a tuple of feature maps and
            has the attributes ``channels`` (one entry per map) and
            ``out_stride``.
        embed_dims (int): Token width D.
        input_size (int | tuple): (H, W) in pixels that ``init_out_size``
            belongs to.
        bias (bool): Whether the 1x1 convolution has a bias.
            Defaults to True.
    """

    def __init__(self,
                 backbone: nn.Module,
                 embed_dims: int,
                 input_size: int | tuple[int, int],
                 bias: bool = True) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection = nn.Conv2d(
            backbone.channels[-1], embed_dims, 1, bias=bias)
        self.embed_dims = embed_dims
        self.out_stride = backbone.out_stride
        self.init_input_size = to_2tuple(input_size)
        # SAME padding rounds every stride up, hence also their product.
        self.init_out_size = tuple(
            -(-size // self.out_stride) for size in self.init_input_size)

    def stages(self, x: Tensor) -> list[Tensor]:
        """Feature maps of all stages, for decoders that need fine detail.

        Args:
            x (Tensor): Image (N, 3, H, W).

        Returns:
            list[Tensor]: (N, C_i, h_i, w_i), finest first.
        """
        return list(self.backbone(x))

    def project(self, feature: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Turn the last stage's feature map into tokens.

        Args:
            feature (Tensor): (N, C, gh, gw).

        Returns:
            tuple[Tensor, tuple[int, int]]: Tokens (N, gh * gw, D), rows of
            the grid one after the other, and (gh, gw).
        """
        tokens = self.projection(feature)
        return tokens.flatten(2).transpose(1, 2), tuple(tokens.shape[2:])

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Tokens (N, gh * gw, D) and grid (gh, gw) of (N, 3, H, W)."""
        return self.project(self.stages(x)[-1])


@MODELS.register_module()
class HybridViT(AttentionViT):
    """ViT on a ResNet stem (``vit_base_r50_s16``), attention readable.

    ACR's default network (https://arxiv.org/abs/2308.04321). Everything
    after the embedding is :class:`AttentionViT`. The stride of the stem takes
    the place of the patch size; images of any size work, the token grid is
    ``ceil(H / stride) x ceil(W / stride)``.

    Args:
        arch (str | dict): Transformer body, see :class:`AttentionViT`.
            Defaults to 'base'.
        stem (dict, optional): Arguments of :class:`WeightStdResNet`, e.g.
            ``dict(layers=(1, 1), channels=(32, 64), stem_channels=16)`` for
            small experiments. Defaults to its defaults (R50, stride 16).
        img_size (int | tuple): Size the stored position embedding belongs
            to. Defaults to 384.
        in_channels (int): Channels of the image. Defaults to 3.
        stem_out_indices (Sequence[int]): Stages of the stem whose maps come
            before those of the blocks, e.g. (0, 1) for a DPT decoder (GETAM's
            hybrid). Defaults to ().
        **kwargs: Passed to :class:`AttentionViT`.

    Raises:
        ValueError: If ``patch_size`` or ``patch_cfg`` is given, or the stem
            has no such stage.
    """

    def __init__(self,
                 arch: str | dict = 'base',
                 stem: dict | None = None,
                 img_size: int | tuple[int, int] = 384,
                 in_channels: int = 3,
                 stem_out_indices: Sequence[int] = (),
                 **kwargs: Any) -> None:
        for name in ('patch_size', 'patch_cfg'):
            if name in kwargs:
                raise ValueError(
                    f'HybridViT takes no {name}: its tokens are the '
                    'positions of the stem\'s last feature map. Change the '
                    'stride by stem=dict(strides=...).')
        backbone = WeightStdResNet(in_channels=in_channels, **(stem or {}))
        stages = range(len(backbone.channels))
        if any(i not in stages for i in stem_out_indices):
            raise ValueError(
                f'stem_out_indices={tuple(stem_out_indices)} names a stage '
                f'that the stem does not have; it has 0 to {stages[-1]}.')
        # With the stem's stride as patch size the parent makes the position
        # embedding for the right grid.
        super().__init__(
            arch=arch,
            img_size=img_size,
            in_channels=in_channels,
            patch_size=backbone.out_stride,
            **kwargs)
        self.patch_embed = HybridEmbed(
            backbone,
            self.embed_dims,
            img_size,
            bias=self.patch_embed.projection.bias is not None)
        self.stem_out_indices = tuple(stem_out_indices)
        if self.frozen_stages > 0:
            self._freeze_stages()

    def patchify(
        self, image: Tensor
    ) -> tuple[Tensor, tuple[int, int], tuple[Tensor, ...]]:
        """Patch tokens, their grid and the stages of the stem asked for."""
        stages = self.patch_embed.stages(image)
        patches, grid = self.patch_embed.project(stages[-1])
        return patches, grid, tuple(stages[i] for i in self.stem_out_indices)

    @property
    def size_divisor(self) -> int:
        """Input sizes that are multiples of this fill all tokens."""
        return self.patch_embed.out_stride
