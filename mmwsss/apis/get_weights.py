"""Initial weights that configs need: which, from where, fetched on demand.

Addresses and digests are those that torchvision, timm and mmpretrain know.
"""
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import (
    Any,
)

import torch
from mmengine.config import Config

from mmwsss.models.converters.checkpoint_file import convert_file
from mmwsss.models.converters.dinov2 import convert_dinov2_file
from mmwsss.models.converters.timm_vit import (
    convert_timm_vit,
    describe_vit,
)
from mmwsss.utils.download import DownloadError, digest_in_name, download
from mmwsss.utils.io import atomic_write, find_file
from mmwsss.utils.weight_sources import SOURCES, Source

from .run import pretrained_paths

#: What is fetched before it is converted, and where a person may put it.
DOWNLOADS = 'downloads'


Address = tuple[str, tuple[str, str] | None]


def address_of(source: Source) -> Address:
    """Address and digest of a checkpoint, as its library knows them.

    Args:
        source (Source): With a library.

    Returns:
        tuple: URL; and method and digits, or None.

    Raises:
        DownloadError: If a library asks its server and gets no answer.
        ValueError: If the library is not installed or does not know the
            name.
    """
    try:
        find = dict(torchvision=_torchvision, timm=_timm,
                    mmpretrain=_mmpretrain, mmseg=_mmseg)[source.library]
        url = find(source.name)
    except ImportError as error:
        raise ValueError(f'it comes from {source.library}, which is not '
                         f'installed: pip install {source.library}') \
            from error
    if isinstance(url, str):
        return url, digest_in_name(url)
    return url


def _torchvision(name: str) -> str:
    from torchvision import models
    return getattr(models, name).IMAGENET1K_V1.url


def _mmpretrain(name: str) -> str:
    from mmpretrain.apis.model import ModelHub
    return ModelHub.get(name).weights


def _mmseg(name: str) -> str:
    import mmseg
    home = Path(mmseg.__file__).parent
    # In a wheel, and beside a package that is installed editable.
    for folder in (home / '.mim' / 'configs', home.parent / 'configs'):
        path = folder / f'{name}.py'
        if path.is_file():
            return Config.fromfile(path).model.backbone.init_cfg.checkpoint
    raise ValueError(f'mmseg was installed without its config {name}')


def _timm(name: str) -> Any:
    from timm.models import get_pretrained_cfg
    cfg = get_pretrained_cfg(name)
    if cfg is None:
        raise ValueError(f'timm knows no weights of {name!r}')
    if cfg.url and digest_in_name(cfg.url):
        return cfg.url
    import huggingface_hub as hub
    url = hub.hf_hub_url(cfg.hf_hub_id, 'model.safetensors',
                         endpoint=os.environ.get('HF_ENDPOINT'))
    try:
        etag = hub.get_hf_file_metadata(url, timeout=30).etag or ''
    except Exception as error:  # The hub has many, of several libraries.
        raise DownloadError(f'{url} cannot be fetched '
                            f'({type(error).__name__}).') from error
    whole = re.fullmatch(r'[0-9a-f]{64}', etag)
    return url, ('sha256', etag) if whole else None


def needed_weights(configs: Iterable[str]) -> dict[str, list[str]]:
    """Initial weights of configs and of all stages of pipelines.

    Args:
        configs (Iterable[str]): Configs of models or pipelines.

    Returns:
        dict[str, list[str]]: Local path -> configs that want it.

    Raises:
        FileNotFoundError: If there is no such config.
    """
    found: dict[str, list[str]] = {}
    seen: set[str] = set()
    todo = list(configs)
    for name in todo:
        path = find_file(name)
        if str(path) in seen:
            continue
        seen.add(str(path))
        if not path.is_file():
            raise FileNotFoundError(f'There is no config {name}.')
        cfg = Config.fromfile(path)
        for value in (cfg.get('variables') or {}).values():
            words = value.split() if isinstance(value, str) else []
            todo += [w for w in words if w.endswith('.py')]
        for _, file in pretrained_paths(
                cfg.get('model') or cfg.get('discovery') or {}):
            # What has an address is fetched when a training begins.
            if file and not re.match(r'[\w+.-]{2,}:', file):
                found.setdefault(file, []).append(str(path))
    return found


@dataclass
class Weights:
    """What is known about one checkpoint.

    Attributes:
        path (str): Where configs look for it.
        state (str): 'here', 'missing' or 'fetched'.
        origin (str): Where it comes from.
        bring (str): What a person has to bring, if it cannot be fetched.
    """
    path: str
    state: str
    origin: str = ''
    bring: str = ''


def get_weights(configs: Sequence[str],
                fetch: bool = True,
                say: Callable[[str], None] = print) -> list[Weights]:
    """Fetch and convert the initial weights that configs need.

    Args:
        configs (Sequence[str]): Configs of models or pipelines.
        fetch (bool): Whether to fetch what is missing. Defaults to True.
        say (Callable): Told what happens.

    Returns:
        list[Weights]: One per checkpoint. With ``bring`` where it is still
        missing.

    Raises:
        FileNotFoundError: If there is no such config.
    """
    result = []
    for path in sorted(needed_weights(configs)):
        weights = Weights(path, 'missing')
        result.append(weights)
        source = SOURCES.get(Path(path).name)
        if Path(path).expanduser().exists():
            weights.state = 'here'
        elif source is None:
            weights.bring = ('nothing is known about a file of this name; it '
                             'may be the result of another training')
        elif not source.library:
            weights.bring = source.note
        else:
            weights.origin = f'{source.library}, {source.name}' + (
                f' ({source.note})' if source.note else '')
            if fetch:
                say(f'fetching {path} from {weights.origin}')
                try:
                    _fetch(source, Path(path))
                    weights.state = 'fetched'
                except (DownloadError, ValueError) as error:
                    weights.bring = _what_to_bring(source, path, error)
    return result


def _file_name(url: str) -> str:
    """What a download is called; the hub's files all have one name."""
    parts = url.split('?')[0].split('/')
    if parts[-1].startswith('model.'):
        return f'{parts[-4]}.{parts[-1].rpartition(".")[2]}'
    return parts[-1]


def _fetch(source: Source, path: Path) -> None:
    url, digest = address_of(source)
    src = path.parent / DOWNLOADS / _file_name(url)
    download(url, src, digest)
    read = _read_safetensors if src.suffix == '.safetensors' else None
    if source.convert == 'vit':
        convert_file(src, path, convert_timm_vit, read,
                     lambda state: dict(architecture=describe_vit(state)))
    elif source.convert == 'dinov2':
        convert_dinov2_file(src, path)
    elif source.convert == 'layer3':
        convert_file(src, path, _to_layer3, read)
    elif read is not None:
        with atomic_write(path) as temp:
            torch.save(read(src), temp)
    else:
        with atomic_write(path) as temp:
            shutil.copyfile(src, temp)
    src.unlink()


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file
    return load_file(str(path))


def _to_layer3(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k: v for k, v in state.items()
            if not k.startswith(('layer4.', 'fc.'))}


def _what_to_bring(source: Source, path: str, error: Exception) -> str:
    """The file, its address and its place, for a machine without network."""
    try:
        url, digest = address_of(source)
    except (DownloadError, ValueError) as other:
        match = re.search(r'https?://\S+', str(other))
        if match is None:
            return str(other)
        url, digest = match.group(), None
    place = Path(path).parent / DOWNLOADS / _file_name(url)
    text = f'{error}\n    bring {url}\n    as    {place}'
    if digest:
        text += f'\n    {digest[0]} begins with {digest[1][:16]}'
    return text
