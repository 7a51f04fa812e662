"""Reading checkpoint files of other projects, and writing ours."""
import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmwsss.utils.checkpoint import load_checkpoint_file
from mmwsss.utils.io import atomic_write

_WRAPPERS = ('model', 'state_dict')


def shown(names: list[str], limit: int = 5) -> str:
    """A few names, and how many more there are.

    Args:
        names (list[str]): All of them.
        limit (int): How many are spelled out. Defaults to 5.

    Returns:
        str: For messages.
    """
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + more


def load_state_dict_file(path: str | Path,
                         trusted: bool = False) -> dict[str, Tensor]:
    """Read the parameters of a checkpoint without running its code.

    A dictionary wrapped as ``{'model': ...}`` (DeiT) or
    ``{'state_dict': ...}`` is unwrapped.

    Args:
        path (str | Path): Checkpoint file of torch, or ``.safetensors``.
        trusted (bool): See
            :func:`~mmwsss.utils.checkpoint.load_checkpoint_file`.
            Defaults to False.

    Returns:
        dict[str, Tensor]: Parameter name to tensor, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a checkpoint, needs arbitrary code to
            load, or holds something else than named tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f'No checkpoint at {path}. Download it first; this tool never '
            'downloads anything.')
    if path.suffix == '.safetensors':
        return _load_safetensors(path)
    content: Any = load_checkpoint_file(path, trusted=trusted)
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(
                content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content or not all(
            isinstance(v, Tensor) for v in content.values()):
        raise ValueError(
            f'{path} holds no dictionary of named tensors, neither directly '
            f'nor under one of the keys {", ".join(_WRAPPERS)}.')
    return content


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a file of the safetensors library, which timm installs."""
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise ValueError(
            f'{path} needs the safetensors library. Install it with\n'
            '  pip install safetensors\nor take the .pth file.') from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f'{path} is cut short or no safetensors file: '
                         f'{error}. Download it again.') from error


def convert_file(
    src: str | Path,
    dst: str | Path,
    convert: Callable[[Any], dict[str, Tensor]],
    read: Callable[[Path], Any] | None = None,
    describe: Callable[[dict[str, Tensor]], dict[str, Any]] | None = None,
    trusted: bool = False,
) -> dict[str, Any]:
    """Read a checkpoint, convert and write it.

    The result is ``{'state_dict': ..., 'meta': ...}``; use it in a config as
    ``init_cfg=dict(type='Pretrained', checkpoint=dst)``. It appears whole or
    not at all.

    Args:
        src (str | Path): Checkpoint to read.
        dst (str | Path): ``.pth`` file to write.
        convert (Callable): Makes the new state dict of what was read.
        read (Callable, optional): Reads ``src``. None takes
            :func:`load_state_dict_file`.
        describe (Callable, optional): More entries of ``meta``, from the new
            state dict. Defaults to None.
        trusted (bool): See :func:`load_state_dict_file`.
            Defaults to False.

    Returns:
        dict: The written ``meta``, with ``source`` (file name) and
        ``source_sha256``.

    Raises:
        FileNotFoundError: If ``src`` does not exist.
        ValueError: If ``src`` cannot be converted or is ``dst``.
    """
    src, dst = Path(src), Path(dst)
    if src.resolve() == dst.resolve():
        raise ValueError(f'Source and destination are the same file: {src}.')
    if read is None:
        read = partial(load_state_dict_file, trusted=trusted)
    try:
        state_dict = convert(read(src))
        facts = describe(state_dict) if describe else {}
    except ValueError as error:
        if str(src) in str(error):
            raise
        raise ValueError(f'{src}: {error}') from error
    meta = dict(
        source=src.name,
        source_sha256=hashlib.sha256(src.read_bytes()).hexdigest(),
        **facts)
    with atomic_write(dst) as temp:
        torch.save(dict(state_dict=state_dict, meta=meta), temp)
    return meta
