"""Checkpoints without surprises: plain content, safe loading, clear errors."""
import contextlib
import difflib
import logging
import pickle
import re
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple, Union

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from torch import Tensor

TAG = 'mmwsss_plain'


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


def load_checkpoint_file(path: Union[str, Path],
                         map_location: Any = 'cpu') -> dict:
    """Read a checkpoint without executing anything that stands in it.

    Args:
        path (str | Path): A local file.
        map_location (Any): See ``torch.load``. Defaults to 'cpu'.

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
    try:
        with _allowed_globals():
            checkpoint = torch.load(
                str(path), map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        if not zipfile.is_zipfile(path) and _is_zip_start(path):
            raise ValueError(_truncated(path)) from error
        reason = str(error).strip().split('\n')
        named = re.findall(r'GLOBAL ([\w.]+)', str(error))
        what = f'({named[0]})' if named else f'({reason[0][:200]})'
        raise ValueError(
            f'{path} is refused: besides weights it holds Python objects '
            f'{what}, and loading these can run arbitrary code. If you trust '
            'where it comes from, save its weights alone, once, with\n'
            '  python -c "import torch; c = torch.load(\'IN.pth\', '
            "map_location='cpu', weights_only=False); "
            "torch.save({'state_dict': c.get('state_dict', c)}, "
            '\'OUT.pth\')"') from error
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
    matching: List[str]
    missing: List[str]
    unexpected: List[str]
    mismatched: List[Tuple[str, tuple, tuple]]

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


def state_dict_of(checkpoint: Mapping) -> Dict[str, Tensor]:
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


def use_safe_loading() -> None:
    """Make mmengine load local checkpoints with ``load_checkpoint_file``.

    mmengine falls back to an unsafe load when the safe one fails. After this
    call everything it reads from disk in this process (``load_from``,
    ``resume``, ``Pretrained`` initialisation) is loaded safely or refused.
    """
    from mmengine.runner import CheckpointLoader

    def load_from_local(filename, map_location):
        return load_checkpoint_file(filename, map_location)

    CheckpointLoader.register_scheme('', load_from_local, force=True)
