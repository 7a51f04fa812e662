"""Checkpoints without surprises: plain content, safe loading, clear errors."""
import contextlib
import difflib
import logging
import pickle
import re
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import (
    Any,
    NamedTuple,
)
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.dist import barrier, is_main_process
from mmengine.logging import HistoryBuffer, print_log
from torch import Tensor

from .io import atomic_write

TAG = 'mmwsss_plain'
#: How a message says what a person can do about a refused file.
TRUST = ('If you trust where it comes from, say so with --trust-checkpoint '
         "(in Python: trusted=True), or save its weights alone, once, with\n"
         '  python -c "import torch; c = torch.load(\'IN.pth\', '
         "map_location='cpu', weights_only=False); "
         "torch.save({'state_dict': c.get('state_dict', c)}, "
         '\'OUT.pth\')"')


def to_plain(value: Any, where: str = 'checkpoint') -> Any:
    """Rewrite a value so that ``torch.load(weights_only=True)`` takes it.

    Containers are rebuilt; tensors are passed through; numpy scalars become
    Python's. Arrays and mmengine's ``HistoryBuffer`` become tagged
    dictionaries, which :func:`from_plain` turns back.

    Args:
        value (Any): Part of a checkpoint.
        where (str): What to call it in warnings. Defaults to 'checkpoint'.

    Returns:
        Any: The same in tensors, numbers, strings, lists, tuples and
        dictionaries. What cannot be expressed in these is left out with a
        warning that says where it stood.
    """
    if isinstance(value, Tensor):
        # Parameters and other subclasses are not all allowed.
        return value.detach() if value.requires_grad else value
    if value is None or isinstance(value, (bool, int, float, complex, str)):
        # Also strips subclasses: np.float64 is a float, enums are ints.
        for kind in (bool, int, float, complex, str):
            if isinstance(value, kind):
                return kind(value)
        return value
    if isinstance(value, np.generic):
        return to_plain(value.item(), where)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, HistoryBuffer):
        history, counts = value.data
        return {
            TAG: 'HistoryBuffer',
            'history': torch.from_numpy(np.array(history, dtype=np.float64)),
            'counts': torch.from_numpy(np.array(counts, dtype=np.float64)),
            'max_length': value.max_length
        }
    if isinstance(value, np.ndarray):
        if value.dtype.kind in 'biufc':
            with contextlib.suppress(TypeError):
                # TypeError: a dtype which this torch does not have.
                return {
                    TAG: 'ndarray',
                    'data': torch.from_numpy(np.array(value))
                }
        return to_plain(value.tolist(), where)
    if isinstance(value, Mapping):
        kind = OrderedDict if isinstance(value, OrderedDict) else dict
        items = ((k, to_plain(v, f'{where}.{k}')) for k, v in value.items())
        return kind((to_plain(k, where), v) for k, v in items
                    if v is not _LEFT_OUT)
    if isinstance(value, (list, tuple)):
        items = [to_plain(v, f'{where}[{i}]') for i, v in enumerate(value)]
        items = [None if v is _LEFT_OUT else v for v in items]
        return tuple(items) if isinstance(value, tuple) else items
    print_log(
        f'{where} is a {type(value).__module__}.{type(value).__qualname__}, '
        'which a safely loadable checkpoint cannot hold; it is left out.',
        logger='current',
        level=logging.WARNING)
    return _LEFT_OUT


_LEFT_OUT = object()


def from_plain(value: Any) -> Any:
    """Undo :func:`to_plain`.

    Args:
        value (Any): Part of a loaded checkpoint.

    Returns:
        Any: The same with arrays and history buffers in place of their
        tagged dictionaries.
    """
    if isinstance(value, Mapping):
        if value.get(TAG) == 'HistoryBuffer':
            return HistoryBuffer(value['history'].cpu().numpy(),
                                 value['counts'].cpu().numpy(),
                                 value['max_length'])
        if value.get(TAG) == 'ndarray':
            return value['data'].cpu().numpy()
        return type(value)((k, from_plain(v)) for k, v in value.items())
    if type(value) in (list, tuple):
        return type(value)(from_plain(v) for v in value)
    return value


def _history_attribute(owner: Any, name: str) -> Any:
    """What ``getattr`` may do in a checkpoint: name a statistic."""
    if owner is HistoryBuffer and not name.startswith('_'):
        return getattr(owner, name)
    raise pickle.UnpicklingError(f'getattr({owner!r}, {name!r}) refused')


def _allowed_globals() -> Any:
    """Let mmengine's own log buffers through, where torch can be told so."""
    safe_globals = getattr(torch.serialization, 'safe_globals', None)
    if safe_globals is None:  # torch < 2.5
        return contextlib.nullcontext()
    core = getattr(np, '_core', None) or np.core
    dtypes = {type(np.dtype(t)) for t in ('f8', 'f4', 'i8', 'i4', 'u4', '?')}
    return safe_globals([
        HistoryBuffer, np.ndarray, np.dtype, *dtypes,
        core.multiarray._reconstruct, core.multiarray.scalar,
        # Files name these by their place in the numpy that wrote them.
        (core.multiarray._reconstruct, 'numpy.core.multiarray._reconstruct'),
        (core.multiarray.scalar, 'numpy.core.multiarray.scalar'),
        (_history_attribute, 'builtins.getattr'),
        (_history_attribute, '__builtin__.getattr')
    ])


def load_checkpoint_file(path: str | Path,
                         map_location: Any = 'cpu',
                         trusted: bool = False) -> dict:
    """Read a checkpoint without executing anything that stands in it.

    Args:
        path (str | Path): A local file.
        map_location (Any): See ``torch.load``. Defaults to 'cpu'.
        trusted (bool): Whether to load the file even if that can execute
            code in it, with a warning. What can be loaded safely is, in any
            case. Defaults to False.

    Returns:
        dict: The checkpoint.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is truncated, is no checkpoint, or holds
            Python objects that only an unsafe load could rebuild.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f'There is no checkpoint {path}.{_neighbours(path)}')
    _refuse_programs(path)
    try:
        if tarfile.is_tarfile(path):
            # Before 2.6 torch unpickles these without any check
            # (CVE-2025-32434), whatever weights_only says.
            raise pickle.UnpicklingError('a tar file, as torch wrote until '
                                         '2017')
        with _allowed_globals():
            checkpoint = torch.load(
                str(path), map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        if not zipfile.is_zipfile(path) and _is_zip_start(path):
            raise ValueError(_truncated(path)) from error
        if not trusted:
            raise ValueError(_refused(path, error)) from error
        checkpoint = _load_trusted(path, map_location, error)
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        # torch.load's own words ("failed finding central directory", "Ran
        # out of input") name neither the file nor the cause.
        if path.stat().st_size == 0 or _is_zip_start(path):
            raise ValueError(_truncated(path)) from error
        raise ValueError(
            f'{path} is not a checkpoint of torch: {error}') from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f'{path} holds a {type(checkpoint).__name__}, not '
                         'the dictionary that a checkpoint is.')
    return checkpoint


def _refuse_programs(path: Path) -> None:
    """Say what a TorchScript file is; torch's own words mislead."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return
    if any(name.split('/')[1:] == ['constants.pkl'] for name in names):
        raise ValueError(f'{path} is a TorchScript program, not a checkpoint '
                         'of weights. Save model.state_dict() instead.')


def _unsafe_content(error: Exception) -> str:
    """What made torch refuse to load a file safely."""
    # The second is how torch < 2.4 says it.
    named = re.findall(r'(?:GLOBAL|Unsupported class) ([\w.]+)', str(error))
    if named:
        return named[0]
    # torch surrounds its reason with advice.
    reason = str(error).split('WeightsUnpickler error:')[-1].strip()
    return reason.split('\n')[0][:200]


def _refused(path: Path, error: Exception) -> str:
    # No object that could be named: a damaged file, a web page, ..
    if re.search(r'Unsupported operand|magic number|invalid load key',
                 str(error)):
        return (f'{path} is refused: it is damaged, no checkpoint, or one '
                'that only a load which can run arbitrary code would '
                f'understand ({_unsafe_content(error)}). {TRUST}')
    return (f'{path} is refused: besides weights it holds Python objects '
            f'({_unsafe_content(error)}), and loading these can run '
            f'arbitrary code. {TRUST}')


def _load_trusted(path: Path, map_location: Any, error: Exception) -> Any:
    """Load a file the unsafe way, because a person said so."""
    print_log(
        f'{path} holds more than weights ({_unsafe_content(error)}). It is '
        'loaded because you said that you trust it; this can run any code.',
        logger='current',
        level=logging.WARNING)
    try:
        return torch.load(
            str(path), map_location=map_location, weights_only=False)
    except Exception as failed:  # Whatever its code raises.
        advice = ''
        if isinstance(failed, (ImportError, AttributeError)):
            advice = (' It names parts of the program that wrote it. Install '
                      'that, or save the weights alone where it is.')
        raise ValueError(f'{path} cannot be loaded: {type(failed).__name__}: '
                         f'{failed}.{advice}') from failed


def _is_zip_start(path: Path) -> bool:
    with path.open('rb') as file:
        return file.read(2) == b'PK'


def _truncated(path: Path) -> str:
    return (f'{path} ({path.stat().st_size} bytes) is cut short or damaged, '
            'as after a full disk or an interrupted copy. Take an earlier '
            f'checkpoint of {path.parent}/ or copy it again.')


def _neighbours(path: Path) -> str:
    if not path.parent.is_dir():
        return f' Its folder {path.parent} does not exist either.'
    if not path.suffix:
        return ' Nor is there a work folder of that name.'
    names = sorted(p.name for p in path.parent.glob('*.pth'))
    if not names:
        return f' {path.parent} holds no .pth file.'
    close = difflib.get_close_matches(path.name, names, 3, 0.) or names[:3]
    return f' {path.parent} holds {", ".join(close)}.'


class StateComparison(NamedTuple):
    """How a checkpoint fits a model.

    Attributes:
        matching (list[str]): Names both have, with one shape.
        missing (list[str]): Names only the model has.
        unexpected (list[str]): Names only the checkpoint has.
        mismatched (list[tuple[str, tuple, tuple]]): Name, the checkpoint's
            shape, the model's shape.
    """
    matching: list[str]
    missing: list[str]
    unexpected: list[str]
    mismatched: list[tuple[str, tuple, tuple]]

    @property
    def complete(self) -> bool:
        """Whether the checkpoint gives every weight of the model."""
        return not self.missing and not self.mismatched

    def describe(self, limit: int = 3) -> str:
        """What does not fit, a few names of each kind.

        Args:
            limit (int): Names per kind. Defaults to 3.

        Returns:
            str: One line per kind.
        """
        shapes = [
            f'{name} {theirs} here {ours}'
            for name, theirs, ours in self.mismatched
        ]
        lines = []
        for title, names in (('in the model, not in the checkpoint',
                              self.missing),
                             ('in the checkpoint, not in the model',
                              self.unexpected), ('of another shape', shapes)):
            if names:
                more = len(names) - limit
                lines.append(
                    f'  {len(names)} {title}: {"; ".join(names[:limit])}' +
                    (f'; and {more} more' if more > 0 else ''))
        lines.append(f'  {len(self.matching)} match')
        return '\n'.join(lines)


def state_dict_of(checkpoint: Mapping) -> dict[str, Tensor]:
    """The weights of a checkpoint, however it wraps them.

    Args:
        checkpoint (Mapping): A loaded checkpoint or bare state dict.

    Returns:
        dict[str, Tensor]: Weights; the prefix ``module.`` of
        DataParallel is removed, as mmengine does.
    """
    state = checkpoint.get('state_dict', checkpoint)
    return {
        re.sub(r'^module\.', '', str(k)): v
        for k, v in state.items() if isinstance(v, Tensor)
    }


def compare_state(model: torch.nn.Module,
                  checkpoint: Mapping) -> StateComparison:
    """Compare names and shapes of a model and a checkpoint.

    Args:
        model (nn.Module): The model, not wrapped.
        checkpoint (Mapping): A loaded checkpoint or bare state dict.

    Returns:
        StateComparison: What matches and what does not.
    """
    theirs = state_dict_of(checkpoint)
    ours = {k: v for k, v in model.state_dict().items() if v is not None}
    mismatched = [(k, tuple(theirs[k].shape), tuple(v.shape))
                  for k, v in ours.items()
                  if k in theirs and theirs[k].shape != v.shape]
    wrong = {name for name, _, _ in mismatched}
    return StateComparison(
        matching=[k for k in ours if k in theirs and k not in wrong],
        missing=[k for k in ours if k not in theirs],
        unexpected=[k for k in theirs if k not in ours],
        mismatched=mismatched)


def checkpoint_classes(checkpoint: Mapping) -> list[str] | None:
    """The classes that a checkpoint was trained for.

    Args:
        checkpoint (Mapping): A loaded checkpoint or bare state dict.

    Returns:
        list[str] | None: Names as the training data had them; None if the
        file does not say.
    """
    meta = checkpoint.get('meta')
    meta = meta if isinstance(meta, Mapping) else {}
    data = meta.get('dataset_meta')
    data = data if isinstance(data, Mapping) else {}
    # The latter as mmseg 0.x noted them.
    names = data.get('classes') or meta.get('CLASSES')
    if not isinstance(names, (list, tuple)):
        return None
    return [str(name) for name in names]


def use_safe_loading(trusted: bool = False) -> None:
    """Let mmengine read checkpoints by :func:`load_checkpoint_file` alone.

    mmengine falls back to an unsafe load when the safe one fails, and loads
    what it downloads unsafely. After this call everything that goes through
    its ``CheckpointLoader`` in this process (``load_from``, ``resume``,
    ``Pretrained`` initialisation) is loaded safely or refused, from wherever
    it comes.

    Args:
        trusted (bool): Whether the user trusts the files of this run, see
            :func:`load_checkpoint_file`. Defaults to False.
    """
    from mmengine.runner import CheckpointLoader

    def load_from_local(filename, map_location=None):
        return load_checkpoint_file(filename, map_location, trusted)

    def load_from_http(filename, map_location=None):
        return load_checkpoint_file(
            _download(filename), map_location, trusted)

    def load_from_unknown(filename, map_location=None):
        raise ValueError(f'{filename} is refused: there is no safe way to '
                         'load a checkpoint from there. Copy it to the disk '
                         'and give its path.')

    def load_from_zoo(filename, map_location=None):
        url, revise = _zoo_url(filename)
        return revise(load_from_http(url, map_location))

    zoos = ('modelzoo://', 'torchvision://', 'open-mmlab://', 'openmmlab://',
            'mmcls://')
    loaders = {'': load_from_local, 'http://': load_from_http,
               'https://': load_from_http, **dict.fromkeys(
                   zoos, load_from_zoo)}
    # Also those that other packages have registered.
    for prefix in {*CheckpointLoader._schemes, *loaders}:
        CheckpointLoader.register_scheme(
            prefix, loaders.get(prefix, load_from_unknown), force=True)


def _zoo_url(name: str) -> tuple[str, Callable[[dict], dict]]:
    """Where mmengine's name of a published model leads.

    Args:
        name (str): E.g. ``torchvision://resnet50``.

    Returns:
        tuple: The URL, and what to do with the checkpoint.

    Raises:
        ValueError: If mmengine knows no such model.
    """
    from mmengine.runner import checkpoint as zoo
    scheme, model = name.split('://', 1)
    if scheme in ('modelzoo', 'torchvision'):
        urls = zoo.get_torchvision_models()
    elif scheme == 'mmcls':
        urls = zoo.get_mmcls_models()
    else:
        urls = zoo.get_external_models()
        model = zoo.get_deprecated_model_names().get(model, model)
    url = urls.get(model, '')
    if not url.startswith(('http://', 'https://')):
        raise ValueError(f'{name} names no model that can be downloaded. Get '
                         'its weights and give the path of the file.')
    if scheme == 'mmcls':
        return url, zoo._process_mmcls_checkpoint
    return url, lambda checkpoint: checkpoint


def _download(url: str) -> Path:
    """Get a file once, into torch's folder of downloads.

    Args:
        url (str): Its address.

    Returns:
        Path: The file.
    """
    name = Path(urlparse(url).path).name
    path = Path(torch.hub.get_dir()) / 'checkpoints' / name
    # The others need not download it again where they share the folder.
    if not is_main_process():
        barrier()
    if not path.is_file():
        print_log(f'Downloading {url} to {path}', logger='current')
        with atomic_write(path) as temp:
            torch.hub.download_url_to_file(url, str(temp))
    if is_main_process():
        barrier()
    return path
