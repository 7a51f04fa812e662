"""mmseg's own inferencer on our configs."""
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from mmengine.dataset import Compose

from mmwsss.registry import TRANSFORMS

from .dataset_configs import MASK_LOADERS, first_pipeline, without_steps

#: Steps that read what images from anywhere do not have.
_LEFT_OUT = (*MASK_LOADERS, 'LoadSaliency')


class _FromAnywhere:
    """A loader of files that also takes pictures in memory.

    Args:
        load (Callable): Our transform that loads an image.
    """

    def __init__(self, load: Callable[[dict], dict]) -> None:
        self.load = load

    def __call__(self, single_input: str | np.ndarray | dict) -> dict:
        """Load an image.

        Args:
            single_input (str | ndarray | dict): A file, a picture BGR uint8
                (h, w, 3), or a sample with ``img_path`` or ``img``.

        Returns:
            dict: A sample as our transform gives it.
        """
        if isinstance(single_input, str):
            return self.load(dict(img_path=single_input))
        if isinstance(single_input, np.ndarray):
            single_input = dict(img=single_input)
        image = single_input.get('img')
        if image is None:
            return self.load(dict(single_input))
        if getattr(self.load, 'to_float32', False):
            image = image.astype(np.float32)
        shape = image.shape[:2]
        return dict(single_input, img=image, img_shape=shape, ori_shape=shape)


def support_inferencer() -> None:
    """Let ``mmseg.apis.MMSegInferencer`` take our loader of images.

    It looks for a step called ``LoadImageFromFile`` and knows no other. For
    test pipelines that begin with ``mmwsss.LoadImage`` our loader is used;
    all others stay with mmseg.
    """
    from mmseg.apis import MMSegInferencer
    original = MMSegInferencer._init_pipeline
    if getattr(original, 'takes_our_loader', False):
        return

    @functools.wraps(original)
    def _init_pipeline(self: Any, cfg: Any) -> Compose:
        steps = without_steps(
            first_pipeline(cfg.test_dataloader.dataset), _LEFT_OUT)
        if not steps or steps[0]['type'] != 'mmwsss.LoadImage':
            return original(self, cfg)
        return Compose([
            _FromAnywhere(TRANSFORMS.build(steps[0])),
            *(TRANSFORMS.build(step) for step in steps[1:])
        ])

    _init_pipeline.takes_our_loader = True
    MMSegInferencer._init_pipeline = _init_pipeline
