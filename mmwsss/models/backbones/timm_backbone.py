"""Any network of timm as a backbone, with its weights named one way."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmpretrain.models.backbones import TIMMBackbone
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from mmwsss.registry import MODELS

#: Instead of a file: weights that timm fetches by the model's name.
TIMM_WEIGHTS = 'timm://'


@MODELS.register_module()
class TimmBackbone(TIMMBackbone):
    """mmpretrain's ``TIMMBackbone`` that returns feature maps only.

    timm (``pip install timm``) knows some thousand networks by name. Weights
    are named as for every other backbone::

        dict(type='mmwsss.TimmBackbone', model_name='tf_efficientnet_lite2',
             output_stride=16,
             init_cfg=dict(type='Pretrained', checkpoint='lite2.pth'))

    where ``checkpoint`` is a file with timm's names, or ``'timm://'``, which
    lets timm download the weights that belong to ``model_name``. (timm
    itself fails on a file of a whole classifier when ``features_only`` is
    set; here the same spelling works for both.)

    Args:
        model_name (str): Of timm, e.g. ``'tf_efficientnet_lite2'`` or
            ``'vit_small_patch14_dinov2.lvd142m'``.
        out_indices (Sequence[int], optional): Stages (of transformers:
            blocks) whose maps are returned. None returns the last map before
            the pooling, for EfficientNets that of the 1x1 convolution with
            1280 channels. Defaults to None.
        middle_indices (Sequence[int]): Stages whose maps are returned before
            the last map, which ``out_indices`` alone can't do. Defaults to ().
        frozen_stages (int): Parts that are not trained: -1 none, 0 the stem,
            n the stem and the first n stages (of transformers: blocks). A
            number above that of the stages freezes the whole network.
            Defaults to -1.
        norm_eval (bool): Whether batch normalization keeps its statistics
            while training, as in small batches it should. Those of frozen
            parts always do. Defaults to False.
        init_cfg (dict, optional): ``dict(type='Pretrained', checkpoint=..)``
            as above. None leaves random weights. Defaults to None.
        **kwargs: For ``timm.create_model``, e.g. ``output_stride=16``, or
            ``dynamic_img_size=True`` for transformers.

    Raises:
        ImportError: If timm is not installed.
        ValueError: If ``out_indices`` is given together with
            ``middle_indices`` or ``frozen_stages``.
    """

    def __init__(self,
                 model_name: str,
                 out_indices: Sequence[int] | None = None,
                 middle_indices: Sequence[int] = (),
                 frozen_stages: int = -1,
                 norm_eval: bool = False,
                 init_cfg: dict | None = None,
                 **kwargs: Any) -> None:
        if out_indices is not None and middle_indices:
            raise ValueError(
                'Give either out_indices (stages only) or middle_indices '
                '(stages, and then the last map) of TimmBackbone, not both.')
        if out_indices is not None and frozen_stages >= 0:
            raise ValueError(
                'With out_indices timm does not say which layers are lower: '
                'freeze stages of TimmBackbone with middle_indices instead.')
        if out_indices is not None:
            kwargs.update(features_only=True, out_indices=tuple(out_indices))
        self._arguments = dict(model_name=model_name, **kwargs)
        super().__init__(**self._arguments)
        self.init_cfg = init_cfg
        self.middle_indices = list(middle_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self._freeze()

    def _frozen_names(self) -> set[str]:
        """Names of the frozen parameters, by timm's own order of layers."""
        if self.frozen_stages < 0:
            return set()
        from timm.models import group_parameters
        groups = group_parameters(
            self.timm_model, self.timm_model.group_matcher(coarse=True))
        return {
            name
            for layer, names in groups.items() for name in names
            if layer <= self.frozen_stages
        }

    def _freeze(self) -> None:
        frozen = self._frozen_names()
        for name, parameter in self.timm_model.named_parameters():
            if name in frozen:
                parameter.requires_grad = False

    def train(self, mode: bool = True) -> 'TimmBackbone':
        """Training mode, in which frozen batch normalization stays as is."""
        super().train(mode)
        if mode and (self.norm_eval or self.frozen_stages >= 0):
            frozen = self._frozen_names()
            for name, module in self.timm_model.named_modules():
                if isinstance(module, _BatchNorm) and (
                        self.norm_eval or f'{name}.weight' in frozen):
                    module.eval()
        return self

    def init_weights(self) -> None:
        """Load what ``init_cfg`` names.

        Raises:
            FileNotFoundError: If the file is missing.
            ValueError: If it does not fit the network.
        """
        path = (self.init_cfg or {}).get('checkpoint')
        if path is None or self._is_init:
            return
        overlay = {}
        if path != TIMM_WEIGHTS:
            if not Path(path).is_file():
                raise FileNotFoundError(
                    f'There are no weights {path} for '
                    f'{self._arguments["model_name"]}. Name a file with '
                    "timm's names, or 'timm://' to let timm download them.")
            overlay = dict(pretrained_cfg_overlay=dict(file=str(path)))
        # timm itself adapts names, classifiers and position embeddings.
        try:
            if overlay and 'out_indices' in self._arguments:
                # Where it returns stages, timm takes any file without a
                # word; where it does not, a file has to fit.
                whole = {
                    k: v
                    for k, v in self._arguments.items()
                    if k not in ('features_only', 'out_indices')
                }
                TIMMBackbone(**whole, pretrained=True, **overlay)
            loaded = TIMMBackbone(
                **self._arguments, pretrained=True, **overlay)
        except RuntimeError as error:
            raise ValueError(
                f'{path} does not fit {self._arguments["model_name"]} of '
                f'timm: {str(error)[:300]}') from error
        # Into the parameters that are here: mmengine's init_weights of a
        # whole model does not let them be replaced.
        self.timm_model.load_state_dict(loaded.timm_model.state_dict())
        self._is_init = True

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Feature maps.

        Args:
            x (Tensor): (N, 3, H, W).

        Returns:
            tuple[Tensor]: (N, C, h, w) each.
        """
        if self.middle_indices:
            last, middle = self.timm_model.forward_intermediates(
                x, indices=self.middle_indices)
            features = (*middle, last)
        else:
            features = super().forward(x)
        return tuple(self._as_map(f, x) for f in features)

    def _as_map(self, features: Tensor, x: Tensor) -> Tensor:
        """Tokens (N, T, D) of a transformer as a map (N, D, h, w)."""
        if features.ndim == 4:
            return features
        model = self.timm_model
        size = model.patch_embed.dynamic_feat_size(x.shape[-2:])
        patches = features[:, -size[0] * size[1]:]
        return patches.transpose(1, 2).unflatten(2, tuple(size)).contiguous()


def has_timm() -> bool:
    """Whether timm is installed."""
    try:
        import timm  # noqa: F401
    except ImportError:
        return False
    return True


