"""Features of pretrained networks that are never trained."""
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmwsss.registry import MODELS
from mmwsss.utils.checkpoint import (
    compare_state,
    load_checkpoint_file,
    state_dict_of,
)
from mmwsss.utils.feature_cache import FeatureCache, image_key

Size = tuple[int, int]
#: How many times the long side of an image may exceed its short one.
MAX_ASPECT = 20
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


def input_size(size: Sequence[int], long_side: int | None,
               divisor: int) -> Size:
    """The size at which a network sees an image.

    The long side becomes ``long_side``, the other keeps the proportions;
    both are then rounded to the nearest multiple of ``divisor``, at least
    one. The image is resized to it, never padded.

    Args:
        size (Sequence[int]): Height and width of the image, pixels.
        long_side (int, optional): Pixels; None keeps the image's size.
        divisor (int): The network's stride or patch, pixels.

    Returns:
        tuple[int, int]: Height and width, pixels.

    Raises:
        ValueError: If the image is more than 20 times as long as wide, or
            its own size is kept and smaller than one patch.
    """
    height, width = (int(s) for s in size)
    long, short = max(height, width), min(height, width)
    if long > MAX_ASPECT * short:
        raise ValueError(
            f'an image of {height} x {width} pixels (height x width) is more '
            f'than {MAX_ASPECT} times as long as wide; too little of it is '
            'left at the size that networks see. Cut it into pieces.')
    if long_side is None and short < divisor:
        raise ValueError(
            f'an image of {height} x {width} pixels (height x width) is '
            f'smaller than one patch of {divisor} pixels. Set long_side, '
            'which enlarges small images.')
    scale = 1. if long_side is None else long_side / long
    return tuple(
        max(int(side * scale / divisor + 0.5), 1) * divisor
        for side in (height, width))


@MODELS.register_module()
class FrozenBackbone(BaseModule):
    """One pretrained network that only looks at images.

    It runs in evaluation mode, in float32 and without gradient. The network
    is no submodule: no optimizer, no checkpoint, no ``train()`` and no
    synchronisation of processes ever sees it. It is built when it is first
    used, so a config can be built without its weights. A checkpoint holds a
    digest of weights and input rule instead (16 bytes), and a model whose
    network differs refuses it.

    Args:
        backbone (dict): Any backbone of mmpretrain, mmseg or this package
            that returns feature maps, with ``init_cfg=dict(type='Pretrained',
            checkpoint=...)``; networks of timm as ``mmwsss.TimmBackbone``.
        channels (int): Channels C of its map, or of its maps together.
        out_index (int | Sequence[int]): Which of the maps that the backbone
            returns to take; several are brought to the size of the first
            (bilinear) and stacked. Defaults to -1.
        long_side (int, optional): See :func:`input_size`. Defaults to None.
        divisor (int): See :func:`input_size`. Defaults to 16.
        mean (Sequence[float]): Of the network's input, RGB, grey levels.
            Defaults to ImageNet's.
        std (Sequence[float]): As ``mean``.
        cache_dir (str, optional): Folder in which features are kept, half
            precision, see :class:`~mmwsss.utils.feature_cache.FeatureCache`;
            one folder per network. Defaults to None.
        init_cfg (dict, optional): Unused. Defaults to None.
    """

    def __init__(self,
                 backbone: dict,
                 channels: int,
                 out_index: int | Sequence[int] = -1,
                 long_side: int | None = None,
                 divisor: int = 16,
                 mean: Sequence[float] = IMAGENET_MEAN,
                 std: Sequence[float] = IMAGENET_STD,
                 cache_dir: str | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.config = backbone
        self.channels = channels
        self.out_index = (out_index, ) if isinstance(
            out_index, int) else tuple(out_index)
        self.long_side = long_side
        self.divisor = divisor
        self.mean, self.std = tuple(mean), tuple(std)
        self.cache_dir = cache_dir
        self._cache: FeatureCache | None = None
        # Zeros: not known yet.
        self.register_buffer('digest', torch.zeros(16, dtype=torch.uint8))
        # In a tuple, where torch does not look for submodules.
        self._hidden: tuple[nn.Module, ...] = ()
        self._prepared = False

    # ----------------------------------------------------------- the network
    @property
    def name(self) -> str:
        """What a person calls the network."""
        kind = self.config.get('model_name') or self.config.get('arch')
        kind = kind if isinstance(kind, str) else ''
        return f'{str(self.config["type"]).split(".")[-1]} {kind}'.strip()

    def get_network(self) -> nn.Module:
        """The network with its weights, built at the first call.

        Returns:
            nn.Module: The network, in evaluation mode.

        Raises:
            FileNotFoundError: If its weights are missing.
            ValueError: If they do not fit.
        """
        if not self._hidden:
            # Of random draws, nothing may depend on when this happens.
            with torch.random.fork_rng(devices=[]):
                network = MODELS.build(self.config)
                load_all_weights(network, self.config)
            network.requires_grad_(False)
            network.eval()
            self._hidden = (network, )
        return self._hidden[0]

    def rule(self) -> dict[str, Any]:
        """What beside the weights decides over the maps."""
        shape = {
            k: v
            for k, v in dict(self.config).items() if k != 'init_cfg'
        }
        return dict(
            network=shape,
            long_side=self.long_side,
            divisor=self.divisor,
            mean=self.mean,
            std=self.std)

    def compute_digest(self) -> str:
        """SHA-256 of rule and weights, without the choice of maps.

        Returns:
            str: Hexadecimal.
        """
        digest = hashlib.sha256(
            json.dumps(self.rule(), sort_keys=True, default=str).encode())
        for name, value in sorted(self.get_network().state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(-1).view(
                torch.uint8).numpy().data)
        return digest.hexdigest()

    def prepare(self) -> None:
        """Build the network, note or check its digest, open the cache.

        Raises:
            FileNotFoundError: If its weights are missing.
            ValueError: If a checkpoint or the cache is of another network.
        """
        if self._prepared:
            return
        of_maps = self.compute_digest()
        digest = hashlib.sha256(f'{of_maps} {self.out_index}'.encode())
        digest = torch.frombuffer(
            bytearray(digest.digest()[:16]), dtype=torch.uint8)
        if self.digest.any() and not torch.equal(self.digest.cpu(), digest):
            raise ValueError(
                f'The checkpoint was trained on features of another network '
                f'than {self.name} as it is configured and loaded here '
                f'(digest {_hex(self.digest)}, here {_hex(digest)}): other '
                'weights, another layer or another input size. Use the '
                'config and the weights that it was trained with.')
        self.digest.copy_(digest)
        if self.cache_dir is not None:
            self._cache = FeatureCache(
                self.cache_dir, of_maps[:32],
                json.loads(json.dumps(self.rule(), default=str)))
        self._prepared = True

    @property
    def cache(self) -> FeatureCache | None:
        """Where its features are kept, once it is prepared."""
        return self._cache

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if self._prepared:  # Check it against what is there.
            self._prepared = False
            self.prepare()

    # ---------------------------------------------------------------- images
    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Features of images of one size.

        Args:
            image (Tensor): (N, 3, H, W), RGB, grey levels 0..255.

        Returns:
            Tensor: float32 (N, C, h, w).

        Raises:
            ValueError: If the images are too long, or the network gives
                other maps than configured.
        """
        self.prepare()
        if self._cache is None:
            return self._join(self._run(image))
        keys = [image_key(one) for one in image]
        found = [[self._cache.get(f'{key}-{i}') for i in self.out_index]
                 for key in keys]
        left = [n for n, maps in enumerate(found) if any(
            m is None for m in maps)]
        if left:
            new = self._run(image[left])
            for row, n in enumerate(left):
                found[n] = [
                    self._cache.put(f'{keys[n]}-{i}', maps[row])
                    for i, maps in zip(self.out_index, new)
                ]
        return self._join([
            torch.stack([m.to(image.device) for m in maps])
            for maps in zip(*found)
        ])

    @torch.no_grad()
    def fill_cache(self, image: Tensor) -> int:
        """Write the maps of an image that the cache lacks; reads none.

        Args:
            image (Tensor): (1, 3, H, W), see :meth:`forward`.

        Returns:
            int: Maps that were written.

        Raises:
            OSError: If the disk is full.
            ValueError: See :meth:`forward`; or if there is no cache.
        """
        self.prepare()
        if self._cache is None:
            raise ValueError(f'{self.name} has no cache_dir.')
        key = image_key(image[0])
        lacking = [i for i in self.out_index
                   if not self._cache.path(f'{key}-{i}').is_file()]
        if lacking:
            for i, maps in zip(self.out_index, self._run(image)):
                if i in lacking:
                    self._cache.put(f'{key}-{i}', maps[0])
            if self._cache.full:
                raise OSError(f'The disk of {self.cache_dir} is full.')
        return len(lacking)

    def normalized(self, image: Tensor) -> Tensor:
        """Images at the size and in the range that the network wants.

        Args:
            image (Tensor): (N, 3, H, W), RGB, grey levels.

        Returns:
            Tensor: float32 (N, 3, h, w).

        Raises:
            ValueError: See :func:`input_size`; or if the images were
                normalised before.
        """
        # Grey levels are not negative, or not by so little alone.
        if image.min() < 0 and image.abs().max() < 5:
            raise ValueError(
                f'{self.name} normalises images by itself but gets values of '
                f'{float(image.min()):.2f} to {float(image.max()):.2f}, not '
                'grey levels of 0 to 255. Set mean=[0, 0, 0] and '
                'std=[1, 1, 1] in the data preprocessor.')
        size = input_size(image.shape[-2:], self.long_side, self.divisor)
        image = image.float()
        if tuple(image.shape[-2:]) != size:
            image = F.interpolate(image, size, mode='bilinear', antialias=True)
        mean, std = (
            image.new_tensor(v).reshape(-1, 1, 1)
            for v in (self.mean, self.std))
        return (image - mean) / std

    def _run(self, image: Tensor) -> list[Tensor]:
        """The maps that are taken, each (N, c, h, w)."""
        network = self.get_network().to(image.device)
        with torch.autocast(image.device.type, enabled=False):
            maps = network(self.normalized(image))
        if isinstance(maps, Tensor):
            maps = (maps, )
        try:
            taken = [maps[i].float() for i in self.out_index]
        except IndexError:
            taken = []
        found = sum(m.shape[1] for m in taken if m.ndim == 4)
        if not taken or found != self.channels:
            raise ValueError(
                f'{self.name} gives {[tuple(m.shape) for m in maps]}, of '
                f'which out_index={self.out_index} shall be feature maps '
                f'(N, c, h, w) with {self.channels} channels together. Set '
                'channels and out_index (and the out_indices of its '
                'backbone).')
        return taken

    @staticmethod
    def _join(maps: Sequence[Tensor]) -> Tensor:
        """Maps side by side at the size of the first."""
        if len(maps) == 1:
            return maps[0]
        size = maps[0].shape[2:]
        return torch.cat([
            m if m.shape[2:] == size else F.interpolate(
                m, size, mode='bilinear') for m in maps
        ], dim=1)

    def extra_repr(self) -> str:
        """Shown when a model is printed."""
        return f'{self.name}, channels={self.channels}, frozen'


def _hex(digest: Tensor) -> str:
    return bytes(digest.cpu().tolist()).hex()


def load_all_weights(network: nn.Module, config: dict) -> None:
    """Load the initial weights of a network, or fail.

    mmengine loads what fits, warns, and leaves the rest as it was drawn;
    features of such a network mean nothing.

    Args:
        network (nn.Module): Gets the weights.
        config (dict): Its config, with ``init_cfg``.

    Raises:
        FileNotFoundError: If the file is missing.
        ValueError: If it does not give all weights.
    """
    init = config.get('init_cfg') or {}
    path = init.get('checkpoint', '') if isinstance(init, dict) else ''
    if not path:
        print_log(
            f'The frozen {config["type"]} has random weights: its init_cfg '
            "names none. Give it init_cfg=dict(type='Pretrained', "
            'checkpoint=FILE).',
            logger='current',
            level=logging.WARNING)
    if not path or '://' in path or hasattr(network, 'timm_model'):
        network.init_weights()
        return
    if not Path(path).expanduser().is_file():
        raise FileNotFoundError(
            f'There are no weights {path} for the frozen '
            f'{config["type"]}. docs/get_started.md says where weights come '
            'from; name another file in init_cfg of the network.')
    prefix = init.get('prefix', '')
    state = {
        k[len(prefix):]: v
        for k, v in state_dict_of(load_checkpoint_file(path)).items()
        if k.startswith(prefix)
    }
    found = compare_state(network, state)
    # The model resizes position embeddings by itself, and those of timm's
    # converters may stand behind "backbone.".
    nested = any(k.startswith('backbone.') for k in state)
    lacking = [
        name for name in (*found.missing, *(n for n, *_ in found.mismatched))
        if not name.endswith(('num_batches_tracked', 'pos_embed'))
    ]
    if lacking and not nested:
        raise ValueError(
            f'{path} does not fit the frozen {config["type"]}:\n'
            f'{found.describe()}\nA frozen network needs all of its weights.')
    result = network.load_state_dict(state, strict=False)
    left = [
        k for k in result.missing_keys if not k.endswith('num_batches_tracked')
    ]
    if left:
        raise ValueError(
            f'{path} gives no {left[:3]} (and {max(len(left) - 3, 0)} more) '
            f'to the frozen {config["type"]}, which needs all of its '
            'weights.')


@MODELS.register_module()
class FrozenFeatures(BaseModule):
    """Feature maps of several frozen networks side by side, standardised.

    A network that knows *what* is there and one that knows *what belongs
    together* see an image each in its own way; their maps are brought to the
    grid of the first one (bilinear) and stacked. Each channel is then
    shifted and scaled to mean 0 and deviation 1 over the training images.
    Mean and deviation are buffers, which
    :class:`~mmwsss.engine.hooks.FeatureStatisticsHook` estimates once before
    a training and checkpoints keep. A linear head on such features cannot
    memorise the noise of its labels (cards: WeCLIP, CVPR 2024, without CLIP).

    Images of a batch may differ in size: each is cut to its own size before
    a network sees it, so its features never depend on the others. Their maps
    then differ in size too; they are padded with zeros to the largest.

    The input is RGB in grey levels: set ``mean=[0, 0, 0], std=[1, 1, 1],
    bgr_to_rgb=True`` in the data preprocessor, each network normalises by
    itself.

    Args:
        networks (Sequence[dict]): Arguments of :class:`FrozenBackbone` each.
        standardize (bool): Whether channels are standardised.
            Defaults to True.
        unit_length (bool): Whether each position is scaled afterwards, to
            the length of the root of C. Channels then are of about the same
            size as before, but no position speaks louder than others.
            Defaults to False.
        init_cfg (dict, optional): Unused. Defaults to None.

    Raises:
        ValueError: If there is no network.
    """
    #: Whether :meth:`forward_sized` takes images of several sizes.
    takes_sizes = True

    def __init__(self,
                 networks: Sequence[dict],
                 standardize: bool = True,
                 unit_length: bool = False,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if not networks:
            raise ValueError('FrozenFeatures needs at least one network.')
        self.networks = nn.ModuleList(
            FrozenBackbone(**cfg) for cfg in networks)
        self.out_channels = sum(n.channels for n in self.networks)
        self.standardize = standardize
        self.unit_length = unit_length
        if standardize:
            self.register_buffer('mean', torch.zeros(self.out_channels))
            self.register_buffer('std', torch.ones(self.out_channels))
            # Positions they were estimated from; 0 is not yet.
            self.register_buffer('num_positions',
                                 torch.zeros((), dtype=torch.int64))

    def raw_features(self, image: Tensor) -> Tensor:
        """Stacked maps of images of one size, not standardised.

        Args:
            image (Tensor): (N, 3, H, W), RGB, grey levels.

        Returns:
            Tensor: float32 (N, C, h, w).
        """
        return FrozenBackbone._join(
            [network(image) for network in self.networks])

    @torch.no_grad()
    def forward_sized(
            self, images: Tensor, sizes: Sequence[Size] | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Features of a padded batch.

        Args:
            images (Tensor): (N, 3, H, W), padded at the right and bottom.
            sizes (Sequence[tuple[int, int]], optional): Height and width of
                each image without padding. None: no padding.

        Returns:
            tuple: Maps float32 (N, C, h, w), zero where an image has no
            position; bool (N, 1, h, w), where it has one, or None if it has
            everywhere.

        Raises:
            RuntimeError: If mean and deviation were not estimated.
            ValueError: If an image is too long.
        """
        if self.standardize and not self.num_positions:
            raise RuntimeError(
                'FrozenFeatures does not know mean and deviation of its '
                "channels yet. Add dict(type='mmwsss.FeatureStatisticsHook') "
                'to custom_hooks and train, load a checkpoint, or set '
                'standardize=False.')
        maps = self.each(images, sizes)
        if self.standardize:
            shift, scale = (
                v[:, None, None].to(images.device)
                for v in (self.mean, 1 / self.std))
            maps = [(m - shift) * scale for m in maps]
        if self.unit_length:
            maps = [
                F.normalize(m, dim=0) * self.out_channels**0.5 for m in maps
            ]
        height, width = (max(m.shape[d] for m in maps) for d in (1, 2))
        if all(m.shape[1:] == (height, width) for m in maps):
            return torch.stack(maps), None
        out = maps[0].new_zeros((len(maps), self.out_channels, height, width))
        valid = out.new_zeros((len(maps), 1, height, width), dtype=torch.bool)
        for one, where, m in zip(out, valid, maps):
            one[:, :m.shape[1], :m.shape[2]] = m
            where[:, :m.shape[1], :m.shape[2]] = True
        return out, valid

    @torch.no_grad()
    def each(self, images: Tensor,
             sizes: Sequence[Size] | None = None) -> list[Tensor]:
        """Raw maps of each image of a padded batch.

        Args:
            images (Tensor): See :meth:`forward_sized`.
            sizes (Sequence[tuple[int, int]], optional): As above.

        Returns:
            list[Tensor]: Per image (C, h, w).
        """
        if sizes is None:
            sizes = [tuple(images.shape[-2:])] * len(images)
        groups: dict[Size, list[int]] = {}
        for i, size in enumerate(sizes):
            groups.setdefault(tuple(size), []).append(i)
        maps: list[Tensor | None] = [None] * len(images)
        for (height, width), group in groups.items():
            found = self.raw_features(images[group, :, :height, :width])
            for i, one in zip(group, found):
                maps[i] = one
        return maps

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Features of images of one size, as mmseg calls a backbone.

        Args:
            images (Tensor): (N, 3, H, W), RGB, grey levels.

        Returns:
            tuple[Tensor]: (N, C, h, w).
        """
        return (self.forward_sized(images)[0], )

    def set_statistics(self, count: int, total: Tensor,
                       squares: Tensor) -> None:
        """Take over mean and deviation.

        Args:
            count (int): Positions.
            total (Tensor): float64 (C,), sums of the channels.
            squares (Tensor): float64 (C,), sums of their squares.

        Raises:
            ValueError: If there is no position, or a value is not finite.
        """
        if not count or not squares.isfinite().all():
            raise ValueError(
                'Mean and deviation of the features cannot be estimated: '
                'there are no training images, or a network gives infinite '
                'values.')
        mean = total / count
        variance = squares / count - mean**2
        # A channel that is constant says nothing here. It stays at 0 in other
        # images too: divided by next to nothing, it would drown the others.
        constant = variance <= 1e-9 * squares / count
        std = variance.clamp(min=0).sqrt().masked_fill(constant, torch.inf)
        self.mean.copy_(mean)
        self.std.copy_(std)
        self.num_positions.fill_(count)
