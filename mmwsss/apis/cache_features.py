"""Features of frozen networks, computed before anything asks for them."""
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import print_log
from mmengine.registry import init_default_scope

from mmwsss.models.backbones.frozen_features import FrozenBackbone
from mmwsss.registry import DATASETS, MODELS
from mmwsss.utils.checkpoint import use_safe_loading
from mmwsss.utils.shards import Shard, parse_shard

from .config_edits import use_train_images
from .run import check_pretrained, load_config


class CachedFeatures(NamedTuple):
    """What :func:`cache_features` did.

    Attributes:
        num_images (int): Images of this share.
        num_written (int): Maps that were not there before.
        folders (list[str]): The caches.
    """
    num_images: int
    num_written: int
    folders: list[str]


def cache_features(config: str | Path | Config,
                   shard: str | None = None,
                   device: str | None = None,
                   cfg_options: Mapping[str, Any] | None = None
                   ) -> CachedFeatures:
    """Compute features of the training images that the caches lack.

    Several machines may work on one cache, each on a share of the images:
    entries are found by content and appear whole or not at all. Images are
    seen as a test sees them; what a training makes of them by chance (crops,
    scales) is computed there.

    Args:
        config (str | Path | Config): One with frozen networks.
        shard (str, optional): See :func:`~mmwsss.utils.shards.parse_shard`.
        device (str, optional): None takes a GPU where there is one.
        cfg_options (Mapping[str, Any], optional): Dotted key -> value.

    Returns:
        CachedFeatures: What was done.

    Raises:
        FileNotFoundError: If the config or weights are missing.
        ValueError: If no frozen network of the config has a cache, an image
            cannot be read, or the cache is of another network.
        OSError: If the disk is full.
    """
    use_safe_loading()
    cfg = load_config(config, cfg_options)
    share = parse_shard(shard)
    if cfg.get('model') is None or cfg.get('test_dataloader') is None:
        raise ValueError(f'{config} has no model or no test_dataloader, so '
                         'it says nothing about features of images.')
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    check_pretrained(cfg, frozen_only=True)
    use_train_images(cfg)
    model = MODELS.build(cfg.model).eval()
    networks = [
        m for m in model.modules()
        if isinstance(m, FrozenBackbone) and m.cache_dir is not None
    ]
    if not networks:
        raise ValueError(f'No frozen network of {config} has a '
                         'cache_dir, so there is nothing to fill.')
    model.to(_device(device, share))
    return _fill(cfg, model, networks, share)


def _device(name: str | None, shard: Shard) -> str:
    """Where to run; processes of one machine take turns with its GPUs."""
    if name is not None:
        return name
    count = torch.cuda.device_count()
    return f'cuda:{(shard.index - 1) % count}' if count else 'cpu'


@torch.no_grad()
def _fill(cfg: Config, model: torch.nn.Module,
          networks: list[FrozenBackbone], shard: Shard) -> CachedFeatures:
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    share = shard.of(range(len(dataset)))
    written = 0
    for done, index in enumerate(share):
        if done % max(len(share) // 10, 1) == 0:
            print_log(
                f'Features of the training images, share {shard}: image '
                f'{done + 1} of {len(share)}.',
                logger='current')
        batch = model.data_preprocessor(
            pseudo_collate([dataset[index]]), False)
        height, width = batch['data_samples'][0].img_shape
        image = batch['inputs'][..., :height, :width]
        for network in networks:
            written += network.fill_cache(image)
    return CachedFeatures(
        len(share), written,
        list(dict.fromkeys(n.cache_dir for n in networks)))
