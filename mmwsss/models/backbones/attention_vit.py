"""Vision transformer whose attention can be read and differentiated."""
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmpretrain.models.backbones import VisionTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import AttentionRequest


def project_qkv(attn: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of an mmpretrain ``MultiheadAttention``.

    Args:
        attn (nn.Module): The attention module.
        x (Tensor): Normalised tokens (N, T, D).

    Returns:
        tuple[Tensor, Tensor, Tensor]: Each (N, heads, T, D / heads).
    """
    n, t, _ = x.shape
    qkv = attn.qkv(x).reshape(n, t, 3, attn.num_heads, attn.head_dims)
    return qkv.permute(2, 0, 3, 1, 4).unbind(0)


def project_out(attn: nn.Module, heads: Tensor) -> Tensor:
    """Merge heads (N, heads, T, d) and apply the output projection.

    Args:
        attn (nn.Module): The attention module.
        heads (Tensor): Attended values (N, heads, T, d).

    Returns:
        Tensor: (N, T, D), before stochastic depth (``attn.out_drop``).
    """
    out = heads.transpose(1, 2).flatten(2)
    return attn.gamma1(attn.proj_drop(attn.proj(out)))


def attention_matrix(q: Tensor, k: Tensor) -> Tensor:
    """Softmax attention (N, heads, Tq, Tk) of queries and keys.

    At least float32, since losses and maps compare its small numbers.
    """
    return ((q * q.shape[-1]**-0.5) @ k.transpose(-2, -1)).softmax(
        dim=-1, dtype=torch.promote_types(q.dtype, torch.float32))


def resize_positions(pos_embed: Tensor,
                     stored: tuple[int, int],
                     grid: tuple[int, int],
                     num_extra_tokens: int,
                     mode: str = 'bilinear',
                     antialias: bool = False) -> Tensor:
    """Position embeddings for another grid of patches.

    Args:
        pos_embed (Tensor): (1, E + sh * sw, D), those of the E other tokens
            first; these are not changed.
        stored (tuple[int, int]): (sh, sw).
        grid (tuple[int, int]): (gh, gw).
        num_extra_tokens (int): E.
        mode (str): Of ``torch.nn.functional.interpolate``.
        antialias (bool): Whether shrinking averages over what it leaves out.

    Returns:
        Tensor: (1, E + gh * gw, D); ``pos_embed`` itself on its own grid.
    """
    if tuple(stored) == tuple(grid):
        return pos_embed
    extra, patches = pos_embed.split(
        (num_extra_tokens, pos_embed.shape[1] - num_extra_tokens), dim=1)
    patches = patches.transpose(1, 2).unflatten(2, tuple(stored))
    # Half precision has no cubic interpolation everywhere.
    patches = F.interpolate(
        patches.float(),
        size=tuple(grid),
        mode=mode,
        align_corners=False,
        antialias=antialias).to(patches)
    return torch.cat((extra, patches.flatten(2).transpose(1, 2)), dim=1)


@MODELS.register_module()
class AttentionViT(VisionTransformer):
    """ViT/DeiT with readable attention.

    It is mmpretrain's ``VisionTransformer`` (same parameters, same
    state-dict names, so its checkpoints load) with another forward pass:

    - position embeddings are resized to any input size, also non-square ones
      (bilinear, ACR/GETAM recipe);
    - features are read *before* the final LayerNorm, as ACR and GETAM do,
      unless ``final_norm=True``;
    - :meth:`forward_view` keeps exactly the attention an
      :class:`~mmwsss.structures.AttentionRequest` names; all other layers run
      the fused kernel;
    - the tokens of a mirrored view can be put into the first view's order
      before the first block. Self-attention is equivariant to a permutation
      of tokens, so all attention matrices and features come out aligned and
      nothing has to be permuted afterwards.

    DINOv2 (https://arxiv.org/abs/2304.07193), with or without registers
    (https://arxiv.org/abs/2309.16588), is

    .. code-block:: python

        dict(
            type='mmwsss.AttentionViT',
            arch='dinov2-small',  # or dinov2-base, dinov2-large
            img_size=518,
            patch_size=14,
            layer_scale_init_value=1e-5,
            num_registers=4,  # 0 for the model without
            final_norm=True,
            interpolate_mode='bicubic',
            interpolate_antialias=True)

    with a checkpoint that tools/model_converters/dinov2.py has converted.
    Features then are those of timm's models, at any input size that is a
    multiple of the patch. DINOv2's own code for the models without registers
    resizes position embeddings without antialias and stretches the grid by a
    tenth of a patch, so away from 518 x 518 pixels its features differ a
    little from both.

    MCTformer (https://arxiv.org/abs/2203.02891) has one class token per
    class: ``num_class_tokens=K``. They and their position embeddings begin as
    copies of those of the checkpoint's class token. Copies get equal
    attention and features until the labels move them apart, so
    ``frozen_stages`` leaves the tokens themselves trainable.

    Args:
        arch (str | dict): Architecture name of mmpretrain
            (``'deit-tiny'``, ``'deit-small'``, ``'base'``, ...), one of
            ``'dinov2-small'``, ``'dinov2-base'`` and ``'dinov2-large'``, or
            mmpretrain's dict.
        img_size (int | tuple): Size the stored position embedding belongs
            to. Defaults to 224.
        distilled (bool): Whether there is a distillation token after the
            class token. Defaults to False.
        num_class_tokens (int, optional): Class tokens, one per class; K, the
            number of classes without background. Views then carry
            ``class_tokens`` instead of ``cls_token`` and ``cls_tokens``, and
            attention rows of all K. None is the usual single class token.
            Defaults to None.
        num_registers (int): Register tokens after these, before the patches.
            They have no position embedding, and nothing reads them.
            Defaults to 0.
        final_norm (bool): Whether the output passes the final LayerNorm.
            Defaults to False.
        out_indices (int | Sequence[int]): Blocks whose patch tokens are
            returned as feature maps. Defaults to -1.
        interpolate_mode (str): Resizing of position embeddings.
            Defaults to 'bilinear'.
        interpolate_antialias (bool): Whether this resizing is antialiased.
            Defaults to False.
        with_cp (bool): Whether training keeps the input of each block only
            and computes the block anew in the backward pass: a fraction of
            the memory for a third more time. Blocks whose class row is
            differentiated (GETAM's maps) are kept whole. Defaults to False.
        **kwargs: Passed to mmpretrain's ``VisionTransformer``, e.g.
            ``patch_size`` or ``layer_scale_init_value``.

    Raises:
        ValueError: If ``num_registers`` is negative, ``num_class_tokens`` is
            not positive, or there is no block of an index in
            ``out_indices``.
    """
    arch_zoo = {
        **VisionTransformer.arch_zoo,
        'dinov2-base': VisionTransformer.arch_zoo['base'],
        'dinov2-large': VisionTransformer.arch_zoo['large'],
    }

    def __init__(self,
                 arch: str | dict = 'base',
                 img_size: int | tuple[int, int] = 224,
                 distilled: bool = False,
                 num_class_tokens: int | None = None,
                 num_registers: int = 0,
                 final_norm: bool = False,
                 out_indices: int | Sequence[int] = -1,
                 interpolate_mode: str = 'bilinear',
                 interpolate_antialias: bool = False,
                 with_cp: bool = False,
                 **kwargs: Any) -> None:
        if num_registers < 0:
            raise ValueError(f'{type(self).__name__} needs num_registers of '
                             f'0 or more, got {num_registers}.')
        if num_class_tokens is not None and num_class_tokens < 1:
            raise ValueError(
                f'{type(self).__name__} needs num_class_tokens of 1 or more, '
                'the number of classes, or None for a single class token; '
                f'got {num_class_tokens}.')
        #: Whether there is one class token per class.
        self.token_per_class = num_class_tokens is not None
        self.num_class_tokens = num_class_tokens or 1
        # Tokens before the patches that have a position embedding; read by
        # the parent's constructor for the length of pos_embed.
        self.num_extra_tokens = self.num_class_tokens + int(distilled)
        self.num_registers = num_registers
        self.interpolate_antialias = interpolate_antialias
        self.with_cp = with_cp
        if not isinstance(out_indices, int):
            out_indices = list(out_indices)
        super().__init__(
            arch=arch,
            img_size=img_size,
            final_norm=final_norm,
            out_indices=out_indices,
            out_type='raw',
            interpolate_mode=interpolate_mode,
            **kwargs)
        if max(self.out_indices, default=-1) >= self.num_layers:
            raise ValueError(
                f'out_indices={tuple(self.out_indices)} names a block that '
                'arch does not have; its blocks are 0 to '
                f'{self.num_layers - 1}.')
        if self.token_per_class:
            self.cls_token = nn.Parameter(
                torch.zeros(1, self.num_class_tokens, self.embed_dims))
        if distilled:
            self.dist_token = nn.Parameter(
                torch.zeros(1, 1, self.embed_dims))
        if num_registers:
            self.register_tokens = nn.Parameter(
                torch.zeros(1, num_registers, self.embed_dims))
        if self.frozen_stages > 0:
            self._freeze_stages()

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens before the first patch, registers included."""
        return self.num_extra_tokens + self.num_registers

    def _freeze_stages(self) -> None:
        """Freeze what is below and the first blocks, tokens included.

        But not one token per class: copies would stay equal for ever.
        """
        super()._freeze_stages()
        self.cls_token.requires_grad = self.token_per_class
        # The parent's constructor comes here before these exist.
        for name in ('dist_token', 'register_tokens'):
            if hasattr(self, name):
                getattr(self, name).requires_grad = False

    def _prepare_pos_embed(self, state_dict: dict[str, Tensor], prefix: str,
                           *args: Any, **kwargs: Any) -> None:
        """Adapt a checkpoint before it is loaded.

        Strips the ``backbone.`` of classifier checkpoints, leaves out a final
        LayerNorm this model does not have, copies the class token if there
        is to be one per class, and resizes the position embedding.

        Raises:
            ValueError: If the checkpoint holds no vision transformer or
                another one; mmengine would only warn and train what does not
                fit from random weights.
        """
        nested = f'{prefix}backbone.'
        if f'{prefix}pos_embed' not in state_dict and \
                f'{nested}pos_embed' in state_dict:
            for key in [k for k in state_dict if k.startswith(nested)]:
                state_dict[prefix + key[len(nested):]] = state_dict.pop(key)
        name = f'{prefix}pos_embed'
        converters = ('timm, DeiT and DINOv2 checkpoints must be converted '
                      'with tools/model_converters/timm_vit.py, deit.py or '
                      'dinov2.py first.')
        if name not in state_dict:
            raise ValueError(
                'The checkpoint holds no vision transformer: there is no '
                f'{name!r} among {sorted(state_dict)[:4]}... {converters}')
        if f'{prefix}blocks.0.attn.qkv.weight' in state_dict:
            raise ValueError('The checkpoint is a vision transformer under '
                             f'other names, such as blocks.0. {converters}')
        if not self.final_norm:
            state_dict.pop(f'{prefix}ln1.weight', None)
            state_dict.pop(f'{prefix}ln1.bias', None)
        token = state_dict.get(f'{prefix}cls_token')
        if token is not None and token.shape[1] == 1 < self.num_class_tokens:
            count, stored = self.num_class_tokens, state_dict[name]
            state_dict[f'{prefix}cls_token'] = token.repeat(1, count, 1)
            state_dict[name] = torch.cat(
                (stored[:, :1].repeat(1, count, 1), stored[:, 1:]), dim=1)
        # Blocks, stem and tokens must fit; the position embedding is resized.
        own = {prefix + k: v.shape for k, v in self.state_dict().items()}
        # Blocks are alike, so the first tells of layer scale.
        parts = tuple(f'{prefix}{part}'
                      for part in ('patch_embed.', 'layers.0.', 'dist_token',
                                   'register_tokens'))
        theirs = {
            k: v.shape
            for k, v in state_dict.items() if k in own or k.startswith(parts)
        }
        differing = sorted(
            k for k in (own.keys() | theirs.keys()) - {name}
            if own.get(k) != theirs.get(k))
        if differing or state_dict[name].shape[-1] != self.embed_dims:
            raise ValueError(
                f'The checkpoint does not fit {type(self).__name__}: '
                f'{len(differing)} of its parameters are missing, additional '
                f'or of another shape, e.g. {(differing or [name])[0]!r}. '
                'Checkpoints with a ResNet stem belong to mmwsss.HybridViT, '
                'those without to mmwsss.AttentionViT; arch, patch_size, '
                'distilled, num_registers, layer_scale_init_value (1e-5 for '
                'DINOv2, else 0) and stem in model.backbone must be those of '
                'the checkpoint, and num_class_tokens too unless the '
                'checkpoint has a single class token.')
        stored = state_dict[name]
        if stored.shape == self.pos_embed.shape:
            return
        count = stored.shape[1] - self.num_extra_tokens
        side = math.isqrt(max(count, 0))
        if side < 1 or side * side != count:
            raise ValueError(
                f'The checkpoint does not fit {type(self).__name__}: its '
                f'{stored.shape[1]} position embeddings are no square grid '
                f'and {self.num_extra_tokens} more. Are distilled and '
                'num_class_tokens in model.backbone those of the '
                'checkpoint?')
        print_log(
            f'Resizing position embeddings from {side} x {side} patches to '
            f'{self.patch_resolution[0]} x {self.patch_resolution[1]}.',
            logger='current')
        state_dict[name] = self._positions(stored, (side, side),
                                           self.patch_resolution)

    def _positions(self, pos_embed: Tensor, stored: tuple[int, int],
                   grid: tuple[int, int]) -> Tensor:
        """Position embeddings resized in the way configured."""
        return resize_positions(pos_embed, stored, grid,
                                self.num_extra_tokens, self.interpolate_mode,
                                self.interpolate_antialias)

    @property
    def size_divisor(self) -> int:
        """Input sizes that are multiples of this need no padding."""
        return self.patch_embed.projection.stride[0]

    def init_weights(self) -> None:
        """Initialise tokens and position embedding unless pretrained."""
        super().init_weights()
        pretrained = isinstance(
            self.init_cfg, dict) and self.init_cfg['type'] == 'Pretrained'
        if not pretrained:
            for name in ('cls_token', 'dist_token', 'register_tokens'):
                if hasattr(self, name):
                    nn.init.trunc_normal_(getattr(self, name), std=0.02)

    def patchify(
        self, image: Tensor
    ) -> tuple[Tensor, tuple[int, int], tuple[Tensor, ...]]:
        """Turn images into patch tokens, position embedding not yet added.

        Args:
            image (Tensor): (N, 3, H, W). Sizes that are not multiples of the
                patch are padded at the right and bottom.

        Returns:
            tuple: Tokens (N, gh * gw, D); (gh, gw); maps of a stem
            (N, C, h, w) that are returned before those of the blocks, of
            which a plain transformer has none.
        """
        patches, grid = self.patch_embed(image)
        return patches, tuple(grid), ()

    def embed(
            self,
            patches: Tensor,
            grid: tuple[int, int],
            align: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Turn patch tokens into the token sequence of the first block.

        Args:
            patches (Tensor): (N, gh * gw, D).
            grid (tuple[int, int]): (gh, gw).
            align (Callable, optional): Reorders the patch tokens, given as a
                grid (N, gh, gw, D), after the position embedding was added.

        Returns:
            Tensor: Tokens (N, T, D).
        """
        prefix = [self.cls_token]
        if hasattr(self, 'dist_token'):
            prefix.append(self.dist_token)
        n_extra = self.num_extra_tokens
        pos = self._positions(self.pos_embed, self.patch_resolution, grid)
        patches = patches + pos[:, n_extra:]
        if align is not None:
            patches = align(patches.unflatten(1, grid)).flatten(1, 2)
        prefix = torch.cat(prefix, dim=1) + pos[:, :n_extra]
        if self.num_registers:
            prefix = torch.cat((prefix, self.register_tokens), dim=1)
        prefix = prefix.to(patches)
        tokens = torch.cat(
            (prefix.expand(len(patches), -1, -1), patches), dim=1)
        return self.pre_norm(self.drop_after_pos(tokens))

    def forward_view(
        self,
        image: Tensor,
        request: AttentionRequest = AttentionRequest(),
        align: Callable[[Tensor], Tensor] | None = None
    ) -> dict[str, Any]:
        """Forward pass that keeps the requested attention.

        Args:
            image (Tensor): (N, 3, H, W).
            request (AttentionRequest): What to keep.
            align (Callable, optional): See :meth:`embed`.

        Returns:
            dict: Fields of a :class:`~mmwsss.structures.ViewOutput`:
            ``feats``, ``cls_tokens`` and ``cls_token`` or, with one token
            per class, ``class_tokens``; ``grid``, ``num_prefix_tokens``,
            ``num_class_tokens`` and, as requested, ``attentions``,
            ``class_rows``, ``affinity``, ``attention_outputs``.

        Raises:
            ValueError: If class rows are asked for together with matrices or
                outputs.
        """
        patches, grid, stem = self.patchify(image)
        if align is not None:
            stem = tuple(
                align(m.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
                for m in stem)
        x = self.embed(patches, grid, align)
        depth = len(self.layers)
        first_row = depth
        if request.class_rows_from is not None:
            if request.matrices is not None or request.outputs:
                raise ValueError('An AttentionRequest asks either for '
                                 'matrices and outputs or for class rows, '
                                 'not for both.')
            first_row = range(depth)[request.class_rows_from]
        # Below the first row that is differentiated, nothing influences it.
        below = torch.is_grad_enabled() and not request.differentiates
        above = torch.is_grad_enabled() or request.differentiates

        attentions: list[Tensor] = []
        rows: list[Tensor] = []
        attention_outputs: list[Tensor] = []
        feats: list[Tensor] = []
        cls_tokens: list[Tensor] = []
        class_tokens: list[Tensor] = []
        affinity = 0.
        n_prefix = self.num_prefix_tokens
        for i, layer in enumerate(self.layers):
            class_only = i == depth - 1 and not request.patch_tokens
            if i >= first_row:
                with torch.set_grad_enabled(above):
                    x, row, matrix = self._row_block(
                        layer,
                        x,
                        first=i == first_row and request.differentiates,
                        class_only=class_only,
                        affinity=request.affinity)
                rows.append(row)
            else:
                keep = request.matrices is not None or request.affinity
                with torch.set_grad_enabled(below):
                    x, matrix, attended = self._run_block(
                        layer, x, keep, class_only)
                if request.outputs:
                    attention_outputs.append(attended.detach())
            if request.matrices == 'mean':
                attentions.append(matrix.mean(dim=1))
            elif request.matrices == 'heads':
                attentions.append(matrix)
            if request.affinity:
                patch_block = matrix.detach()[..., n_prefix:, n_prefix:]
                affinity = affinity + patch_block.mean(dim=1)
            with torch.set_grad_enabled(bool(rows) and above
                                        or torch.is_grad_enabled()):
                tapped = i in self.out_indices and not class_only
                if tapped:
                    feats.append(self._to_map(x, i, grid))
                if self.token_per_class:
                    # A copy, which does not keep all other tokens alive.
                    class_tokens.append(
                        self._normed(x[:, :self.num_class_tokens],
                                     i).clone())
                    continue
                if tapped:
                    cls_tokens.append(self._normed(x[:, 0], i))
                if i == depth - 1:
                    cls_token = self._normed(x[:, 0], i)

        output = dict(
            grid=grid,
            num_prefix_tokens=n_prefix,
            num_class_tokens=self.num_class_tokens)
        if feats:
            output['feats'] = (*stem, *feats)
        if self.token_per_class:
            output['class_tokens'] = tuple(class_tokens)
        else:
            output['cls_token'] = cls_token
            if feats:
                output['cls_tokens'] = tuple(cls_tokens)
        if attentions:
            output['attentions'] = attentions
        if rows:
            output['class_rows'] = rows
        if request.affinity:
            output['affinity'] = affinity
        if attention_outputs:
            output['attention_outputs'] = attention_outputs
        return output

    def _normed(self, x: Tensor, index: int) -> Tensor:
        """Apply the final LayerNorm, if configured, after the last block."""
        last = index == len(self.layers) - 1
        return self.ln1(x) if self.final_norm and last else x

    def _to_map(self, x: Tensor, index: int,
                grid: tuple[int, int]) -> Tensor:
        """Patch tokens of (N, T, D) as a feature map (N, D, gh, gw)."""
        patches = self._normed(x, index)[:, self.num_prefix_tokens:]
        return patches.transpose(1, 2).unflatten(2, grid)

    def _run_block(self, layer: nn.Module, x: Tensor, keep: bool,
                   class_only: bool) -> tuple[Tensor, Tensor | None, Tensor]:
        """:meth:`_block`, with ``with_cp`` kept by its input alone."""
        if self.with_cp and torch.is_grad_enabled():
            # The reentrant form would drop gradients where x needs none.
            return checkpoint(
                self._block, layer, x, keep, class_only, use_reentrant=False)
        return self._block(layer, x, keep, class_only)

    def _block(self, layer: nn.Module, x: Tensor, keep: bool,
               class_only: bool) -> tuple[Tensor, Tensor | None, Tensor]:
        """A block; with ``keep`` also its attention (N, heads, T, T).

        Returns:
            tuple: Output tokens (N, T, D), or those of classes (N, K, D) if
            ``class_only``; the matrix or None; what the attention gave, of
            the same shape as the tokens.
        """
        q, k, v = project_qkv(layer.attn, layer.ln1(x))
        matrix = attention_matrix(q, k) if keep else None
        queries = self.num_class_tokens if class_only else None
        if keep:
            heads = matrix[:, :, :queries].to(v) @ v
        else:
            heads = F.scaled_dot_product_attention(q[:, :, :queries], k, v)
        attended = project_out(layer.attn, heads)
        x = x[:, :queries] + layer.attn.out_drop(attended)
        return layer.ffn(layer.ln2(x), identity=x), matrix, attended

    def _row_block(
        self, layer: nn.Module, x: Tensor, first: bool, class_only: bool,
        affinity: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """A block that shows the rows of its K class tokens.

        In the first one that is differentiated only the row itself is
        recorded, because nothing else in it depends on a row that is read;
        above it, whole blocks are.

        Returns:
            tuple: Output tokens (N, T, D), or (N, K, D) if ``class_only``;
            the rows (N, heads, K, T); the matrix (N, heads, T, T) or None.
        """
        matrix = rest = None
        n = self.num_class_tokens
        with torch.set_grad_enabled(torch.is_grad_enabled() and not first):
            q, k, v = project_qkv(layer.attn, layer.ln1(x))
            if affinity and not class_only:
                matrix = attention_matrix(q, k)
                row = matrix[:, :, :n]
                rest = matrix[:, :, n:].to(v) @ v
            else:
                row = attention_matrix(q[:, :, :n], k)
                if not class_only:
                    rest = F.scaled_dot_product_attention(q[:, :, n:], k, v)
        if affinity and class_only:
            with torch.no_grad():
                matrix = attention_matrix(q, k)
        if first:
            row = row.detach().requires_grad_()
        heads = row.to(v) @ v
        if class_only:
            x = x[:, :n]
        else:
            heads = torch.cat((heads, rest), dim=2)
        x = x + layer.attn.out_drop(project_out(layer.attn, heads))
        x = layer.ffn(layer.ln2(x), identity=x)
        return x, row, matrix

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Plain forward pass for any mmseg or mmpretrain head.

        Blocks after the last of ``out_indices`` do not run.

        Args:
            x (Tensor): (N, 3, H, W).

        Returns:
            tuple[Tensor]: Feature maps (N, D, gh, gw), one per
            ``out_indices``.
        """
        patches, grid, stem = self.patchify(x)
        x = self.embed(patches, grid)
        feats = []
        for i in range(max(self.out_indices, default=-1) + 1):
            x, *_ = self._run_block(self.layers[i], x, False, False)
            if i in self.out_indices:
                feats.append(self._to_map(x, i, grid))
        return (*stem, *feats)
