"""Wide ResNet-38 checkpoints for our backbone, MXNet's ``.params`` included.

The ImageNet weights that PSA and SEAM start from were published for MXNet;
its files are read here directly, without MXNet.
"""
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor

from mmwsss.models.backbones import ResNet38

from .checkpoint_file import convert_file

_LIST = 0x112
# Arrays written by MXNet 0.12 and later; before, by 0.10 and later. Even
# older ones begin with the number of dimensions.
_ARRAY_V2, _ARRAY_V1 = 0xF993fac9, 0xF993fac8
_DTYPES = ('<f4', '<f8', '<f2', 'u1', '<i4', 'i1', '<i8')

_NORM = dict(
    gamma='weight',
    beta='bias',
    moving_mean='running_mean',
    moving_var='running_var')
_BLOCK = re.compile(r'(res|bn)([2-7])(a|b(\d))_(branch\w+?)'
                    r'_(weight|gamma|beta|moving_mean|moving_var)')


class _Reader:
    """Takes numbers from a file's bytes, one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = memoryview(data)
        self.position = 0

    def take(self, num_bytes: int) -> memoryview:
        """The next bytes; ValueError if the file is over."""
        end = self.position + num_bytes
        if end > len(self.data):
            raise ValueError('the file ends early; download it again')
        part = self.data[self.position:end]
        self.position = end
        return part

    def numbers(self, kind: str, count: int = 1) -> tuple[int, ...]:
        """Little-endian integers, ``kind`` as in :mod:`struct`."""
        kind = f'<{count}{kind}'
        return struct.unpack(kind, self.take(struct.calcsize(kind)))

    def array(self) -> np.ndarray:
        """An array as MXNet's ``NDArray::Save`` writes it."""
        magic, = self.numbers('I')
        if magic == _ARRAY_V2:
            storage, = self.numbers('i')
            if storage > 0:
                raise ValueError('it holds sparse arrays')
        if magic in (_ARRAY_V1, _ARRAY_V2):
            ndim, = self.numbers('I')
            kind = 'q'
        else:
            ndim, kind = magic, 'I'
        if ndim > 32:
            raise ValueError('it holds arrays of an unknown kind')
        shape = self.numbers(kind, ndim)
        if not ndim:
            return np.empty(0, np.float32)
        self.numbers('i', 2)  # the device it was on
        code, = self.numbers('i')
        if not 0 <= code < len(_DTYPES):
            raise ValueError(f'it holds numbers of the unknown type {code}')
        dtype = np.dtype(_DTYPES[code])
        num_bytes = dtype.itemsize
        for length in shape:
            num_bytes *= length
        return np.frombuffer(self.take(num_bytes), dtype).reshape(shape)


def read_mxnet_params(path: str | Path) -> dict[str, np.ndarray]:
    """Read a ``.params`` file of MXNet.

    Args:
        path (str | Path): File that ``mxnet.nd.save`` wrote.

    Returns:
        dict[str, np.ndarray]: Name (``arg:...``, ``aux:...``) to array.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no such file, is cut off, or holds sparse arrays.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f'No checkpoint at {path}. Download it first; this tool never '
            'downloads anything.')
    reader = _Reader(path.read_bytes())
    try:
        if reader.numbers('Q', 2)[0] != _LIST:
            raise ValueError('it does not begin like one')
        arrays = [reader.array() for _ in range(reader.numbers('Q')[0])]
        names = [
            bytes(reader.take(reader.numbers('Q')[0])).decode()
            for _ in range(reader.numbers('Q')[0])
        ]
        if len(names) != len(arrays):
            raise ValueError('not all of its arrays have names')
    except ValueError as error:
        raise ValueError(
            f'{path} cannot be read as an MXNet parameter file: '
            f'{error}.') from error
    return dict(zip(names, arrays, strict=True))


def mxnet_to_mmwsss_key(name: str) -> str | None:
    """Our name of a parameter of the MXNet ResNet-38.

    Args:
        name (str): E.g. ``arg:res4b2_branch2a_weight``; the prefix may lack.

    Returns:
        str | None: E.g. ``b4_2.conv_branch2a.weight``; None for the ImageNet
        classifier.

    Raises:
        KeyError: If ResNet-38 has no such parameter.
    """
    plain = name.split(':')[-1]
    if plain.startswith('linear1000_'):
        return None
    if plain == 'conv1a_weight':
        return 'conv1a.weight'
    if plain.startswith('bn7_') and plain[4:] in _NORM:
        return f'bn7.{_NORM[plain[4:]]}'
    match = _BLOCK.fullmatch(plain)
    if not match:
        raise KeyError(name)
    layer, stage, _, number, branch, kind = match.groups()
    block = f'b{stage}_{number}' if number else f'b{stage}'
    kind = _NORM.get(kind, kind)
    return f'{block}.{"conv" if layer == "res" else "bn"}_{branch}.{kind}'


def convert_resnet38(
        state_dict: Mapping[str, Tensor | np.ndarray]) -> dict[str, Tensor]:
    """Parameters of our ResNet-38 from MXNet's or PyTorch's names.

    Prefixes (``module.``, ``backbone.``, ...) go, and so does everything that
    is not of the backbone; the log names it.

    Args:
        state_dict (Mapping): Of the MXNet model, or of PSA, SEAM or a
            descendant.

    Returns:
        dict[str, Tensor]: Parameters of :class:`~mmwsss.models.ResNet38`.

    Raises:
        ValueError: If parameters are missing, doubled or of another shape.
    """
    with torch.device('meta'):
        wanted = {
            k: v.shape
            for k, v in ResNet38().state_dict().items() if v.dim()
        }
    converted: dict[str, Tensor] = {}
    dropped = []
    for name, value in state_dict.items():
        try:
            key = mxnet_to_mmwsss_key(name)
        except KeyError:
            # Longest ending that is a parameter: any prefix is removed.
            parts = name.split('.')
            key = next((k for i in range(len(parts))
                        if (k := '.'.join(parts[i:])) in wanted), None)
        if key in wanted:
            value = torch.as_tensor(np.array(value), dtype=torch.float32)
            if value.shape != wanted[key]:
                raise ValueError(
                    f'{name} has the shape {tuple(value.shape)}, but '
                    f'ResNet-38 needs {tuple(wanted[key])}.')
            if key in converted:
                raise ValueError(
                    f'{key} is in the checkpoint more than once, under '
                    'different prefixes. Save the network you want alone.')
            converted[key] = value
        elif not name.endswith('num_batches_tracked'):
            dropped.append(name)
    missing = [k for k in wanted if k not in converted]
    if missing:
        raise ValueError(
            f'{len(missing)} of the {len(wanted)} parameters of ResNet-38 are '
            f'missing, e.g. {missing[0]}. Is this a checkpoint of another '
            'architecture?')
    if dropped:
        print_log(
            f'Dropped what is not of the backbone: {", ".join(dropped)}.',
            logger='current')
    return converted


def convert_resnet38_file(src: str | Path,
                          dst: str | Path,
                          trusted: bool = False) -> dict[str, Any]:
    """Convert a ResNet-38 checkpoint file.

    The result is ``{'state_dict': ..., 'meta': ...}``; use it in a config as
    ``init_cfg=dict(type='Pretrained', checkpoint=dst)`` of the backbone. It
    appears whole or not at all.

    Args:
        src (str | Path): ``.params`` of MXNet or ``.pth`` of PyTorch.
        dst (str | Path): ``.pth`` file to write.
        trusted (bool): See
            :func:`~mmwsss.utils.checkpoint.load_checkpoint_file`.
            Defaults to False.

    Returns:
        dict: The written ``meta``: ``source`` (file name) and
        ``source_sha256``.

    Raises:
        FileNotFoundError: If ``src`` does not exist.
        ValueError: If ``src`` is no checkpoint of ResNet-38, or ``dst`` is
            the same file.
    """
    mxnet = Path(src).suffix == '.params'
    return convert_file(
        src,
        dst,
        convert_resnet38,
        read=read_mxnet_params if mxnet else None,
        trusted=trusted)
