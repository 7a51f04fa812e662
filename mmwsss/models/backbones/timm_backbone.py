"""Any network of timm as a backbone, with its weights named one way."""
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmpretrain.models.backbones import TIMMBackbone
from torch import Tensor

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
        init_cfg (dict, optional): ``dict(type='Pretrained', checkpoint=..)``
            as above. None leaves random weights. Defaults to None.
        **kwargs: For ``timm.create_model``, e.g. ``output_stride=16``, or
            ``dynamic_img_size=True`` for transformers.

    Raises:
        ImportError: If timm is not installed.
    """

    def __init__(self,
                 model_name: str,
                 out_indices: Sequence[int] | None = None,
                 init_cfg: dict | None = None,
                 **kwargs: Any) -> None:
        if out_indices is not None:
            kwargs.update(features_only=True, out_indices=tuple(out_indices))
        self._arguments = dict(model_name=model_name, **kwargs)
        super().__init__(**self._arguments)
        self.init_cfg = init_cfg

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
        self.timm_model = loaded.timm_model
        self._is_init = True

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Feature maps.

        Args:
            x (Tensor): (N, 3, H, W).

        Returns:
            tuple[Tensor]: (N, C, h, w) each.
        """
        return tuple(self._as_map(f, x) for f in super().forward(x))

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


