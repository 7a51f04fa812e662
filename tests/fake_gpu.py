"""A pretended GPU: where would a real one refuse, wait or be asked to work?

Tensors of device ``pretend`` are computed on the CPU, but

- an operation on tensors of two devices is refused by CUDA's rules: numbers
  without a dimension may come from the CPU, indices as well (they are copied),
  everything else may not; random numbers need a generator of the device;
- what makes the host wait until the device has done all that was queued is
  counted as a *wait*: reading a number, results whose size depends on values,
  copies between pageable memory of the host and the device;
- what a GPU would be handed as work of its own is counted as a *launch*.
  One operation counts as one, though CUDA sometimes needs several.

    with FakeGPU() as gpu:
        model.to(gpu.device)
        with gpu.counting('step') as counts:
            model(torch.rand(3, device=gpu.device)).sum().item()
    counts.waits, counts.launches  # Counter: place in the source -> times
"""
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    return_and_correct_aliasing,
)
from torch.utils._pytree import tree_flatten, tree_map

NAME = 'pretend'
ROOT = str(Path(__file__).resolve().parents[1]) + '/'

#: Operations that only look at a tensor differently, or only reserve memory.
FREE = {
    '_reshape_alias', '_unsafe_view', 'alias', 'as_strided', 'chunk',
    'detach', 'diagonal', 'empty', 'empty_like', 'empty_strided', 'expand',
    'is_same_size', 'lift_fresh', 'narrow', 'new_empty', 'new_empty_strided',
    'permute', 'select', 'slice', 'split', 'split_with_sizes', 'squeeze', 't',
    'transpose', 'unbind', 'unfold', 'unsqueeze', 'view'
}
#: Operations that CUDA cannot finish without telling the host something.
WAITING = {
    '_local_scalar_dense', '_unique', '_unique2', 'argwhere', 'bincount',
    'equal', 'histc', 'is_nonzero', 'linalg_eigh', 'masked_select', 'nonzero',
    'unique_consecutive', 'unique_dim', 'unique_dim_consecutive'
}
INDEXING = {
    '_index_put_impl_', '_unsafe_index', '_unsafe_index_put', 'index',
    'index_put', 'index_put_'
}


class DeviceMismatch(RuntimeError):
    """An operation that CUDA would refuse."""


class Counts:
    """What was counted, by file and line of this repository."""

    def __init__(self) -> None:
        self.launches: Counter = Counter()
        self.waits: Counter = Counter()

    @property
    def num_launches(self) -> int:
        return sum(self.launches.values())

    @property
    def num_waits(self) -> int:
        return sum(self.waits.values())

    def report(self, top: int = 30) -> str:
        """The most frequent places, for people."""
        lines = [f'{self.num_launches} launches, {self.num_waits} waits']
        for title, counter in (('wait', self.waits), ('launch',
                                                      self.launches)):
            lines += [
                f'{title:>7} {times:5d}  {place}'
                for place, times in counter.most_common(top)
            ]
        return '\n'.join(lines)


def place() -> str:
    """The line of the repository, else of a library, that is running."""
    frame, library = sys._getframe(2), None
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(ROOT) and not name.endswith('fake_gpu.py'):
            return f'{name[len(ROOT):]}:{frame.f_lineno}'
        if library is None and '/torch/' not in name and name[0] == '/' \
                and not name.endswith(('fake_gpu.py', 'contextlib.py')):
            library = f'{name.split("site-packages/")[-1]}:{frame.f_lineno}'
        frame = frame.f_back
    return library or 'autograd'


class _OnDevice(torch.Tensor):
    """A tensor of the pretended GPU; ``held`` are its values."""

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> '_OnDevice':
        self = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=torch.device(NAME, 0))
        self.held = held
        return self

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f'_OnDevice({self.held})'

    def tolist(self) -> Any:
        _wait('tolist')
        return self.held.tolist()

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f'numpy cannot read device {NAME}, at {place()}')

    numpy = __array__ = _refuse

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if not self.dim() else repr(self)


_current: Counts | None = None
_generators: dict = {}


def _wait(why: str, at: str | None = None) -> None:
    if _current is not None:
        _current.waits[f'{at or place()} {why}'] += 1


def _there(x: Any) -> bool:
    return isinstance(x, _OnDevice)


def _hold(x: Any) -> Any:
    if isinstance(x, torch.Tensor) and not _there(x):
        return _OnDevice(x)
    return x


def _held(x: Any) -> Any:
    if _there(x):
        return x.held
    if isinstance(x, torch.device) and x.type == NAME:
        return torch.device('cpu')
    return x


def _check_devices(func: Any, name: str, args: tuple, tensors: list,
                   at: str) -> None:
    """Raise where CUDA would; count indices that are copied."""
    foreign = [x for x in tensors if not _there(x) and x.dim() > 0]
    if name in INDEXING:
        indices = [i for i in args[1] if i is not None]
        if not _there(args[0]):
            raise DeviceMismatch(f'{func}: indices on {NAME} of a tensor on '
                                 f'the CPU, at {at}')
        for index in indices:
            if not _there(index):
                _wait('indices from the CPU', at)
        foreign = [x for x in foreign if all(x is not i for i in indices)]
    if foreign:
        raise DeviceMismatch(
            f'{func}: tensors on {NAME} and on the CPU, the latter of shapes '
            f'{[tuple(x.shape) for x in foreign]}, at {at}')


def _run(func: Any, args: tuple, kwargs: dict) -> Any:
    """One operation of the dispatcher."""
    name = func.overloadpacket.__name__
    flat = tree_flatten((args, kwargs))[0]
    tensors = [x for x in flat if isinstance(x, torch.Tensor)]
    any_there = any(map(_there, tensors))
    target = kwargs.get('device')
    target = target if target is None else torch.device(target).type
    if not any_there and target != NAME:
        return func(*args, **kwargs)
    at, stays = place(), True
    if name == '_to_copy':
        stays = target in (None, NAME)
        if not any_there:
            # Only pinned memory is copied while the host goes on.
            if not (kwargs.get('non_blocking') and _is_pinned(args[0])):
                _wait('copy to the device', at)
        elif not stays:
            _wait('copy from the device', at)
    elif name == 'copy_':
        stays = _there(args[0])
        if _there(args[0]) != _there(args[1]):
            if not (stays and len(args) > 2 and args[2]
                    and _is_pinned(args[1])):
                _wait('copy to the device'
                      if stays else 'copy from the device', at)
    elif any_there:
        _check_devices(func, name, args, tensors, at)
    if name in WAITING or (name == 'repeat_interleave'
                           and kwargs.get('output_size') is None):
        _wait(name, at)
    if name in INDEXING:
        masks = [
            i for i in args[1]
            if i is not None and i.dtype in (torch.bool, torch.uint8)
        ]
        # One number for all places of a mask takes no list of them.
        if masks and ('put' not in name or args[2].numel() != 1):
            _wait(f'{name} with a mask', at)
    for x in flat:
        if isinstance(x, torch._C.Generator) and \
                x._cdata not in _generators:
            raise DeviceMismatch(f'{func}: a generator of the CPU for {NAME}, '
                                 f'at {at}')
    if _current is not None and name not in FREE:
        _current.launches[at] += 1
    args_held, kwargs_held = tree_map(_held, (args, kwargs))
    if kwargs_held.get('device') is not None:
        kwargs_held['device'] = torch.device('cpu')
    kwargs_held.pop('pin_memory', None)
    out = func(*args_held, **kwargs_held)
    if name == 'copy_' and not stays:
        return args[0]
    if not stays or not any(
            isinstance(x, torch.Tensor) for x in tree_flatten(out)[0]):
        return out
    return return_and_correct_aliasing(func, args, kwargs,
                                       tree_map(_hold, out))


_pinned: set = set()


def _is_pinned(x: torch.Tensor) -> bool:
    return x.untyped_storage().data_ptr() in _pinned


class _SparseRows:
    """A CSR matrix on the pretended GPU, which only multiplies."""

    def __init__(self, matrix: torch.Tensor) -> None:
        self.matrix = matrix

    def __matmul__(self, x: torch.Tensor) -> torch.Tensor:
        if not _there(x):
            raise DeviceMismatch(f'matrix on {NAME}, vector on the CPU')
        if _current is not None:
            _current.launches[place()] += 1
        return _OnDevice(self.matrix @ x.held)


def _register() -> bool:
    """Tell torch about the device; False if it is too old for that."""
    try:
        from torch.utils.backend_registration import (
            _DummyBackendModule,
            _setup_privateuseone_for_python_backend,
        )
    except ImportError:
        return False

    class Module(_DummyBackendModule):
        def get_amp_supported_dtype(self):
            return [torch.float16, torch.bfloat16]

        def is_autocast_enabled(self):
            return False

        def get_rng_state(self, device=None):
            return torch.get_rng_state()

        def set_rng_state(self, state, device=None):
            torch.set_rng_state(state)

        def manual_seed(self, seed):
            pass

        def synchronize(self, device=None):
            pass

    _setup_privateuseone_for_python_backend(NAME, backend_module=Module())
    _register_autocast()
    return True


#: What CUDA computes in half precision, in float32 and in the wider of its
#: inputs' types under autocast
#: (https://docs.pytorch.org/docs/stable/amp.html), as far as it is used here.
HALF = ('addbmm', 'addmm', 'addmv', 'baddbmm', 'bmm', 'conv1d', 'conv2d',
        'conv_transpose2d.input', 'linear', 'matmul', 'mm', 'mv',
        'scaled_dot_product_attention')
FLOAT = ('binary_cross_entropy_with_logits', 'cdist', 'cosine_similarity',
         'cumprod', 'cumsum', 'exp', 'group_norm', 'kl_div', 'l1_loss',
         'layer_norm', 'log', 'log10', 'log1p', 'log2', 'log_softmax.int',
         'logsumexp', 'mse_loss', 'nll_loss', 'nll_loss2d', 'norm.Scalar',
         'norm.ScalarOpt_dim', 'pow.Tensor_Scalar', 'pow.Tensor_Tensor',
         'prod', 'reciprocal', 'rsqrt', 'smooth_l1_loss',
         'soft_margin_loss', 'softmax.int', 'softplus', 'sum',
         'sum.dim_IntList')
WIDEST = ('grid_sampler', )
_kept_libraries: list = []


def _register_autocast() -> None:
    """Let ``torch.autocast`` do on the device what it does on CUDA.

    A CPU's own list is another one: it leaves softmax and sums in half.
    """
    others = torch.library.Library('_', 'IMPL')
    others.fallback(torch.library.fallthrough_kernel, 'AutocastPrivateUse1')
    library = torch.library.Library('aten', 'IMPL')
    floats = (torch.float32, torch.float16, torch.bfloat16)
    _kept_libraries.extend((others, library))
    key = torch._C.DispatchKey.AutocastPrivateUse1
    rest = torch._C.DispatchKeySet(key)

    def rule(name: str, kind_of):
        packet, _, overload = name.partition('.')
        func = getattr(getattr(torch.ops.aten, packet), overload or 'default')

        def run(*args, **kwargs):
            kind = kind_of(args)

            def cast(x):
                if isinstance(x, torch.Tensor) and x.dtype in floats:
                    return x.to(kind)
                return x

            with torch._C._ExcludeDispatchKeyGuard(rest):
                args, kwargs = tree_map(cast, (args, kwargs))
                return func(*args, **kwargs)

        library.impl(name, run, 'AutocastPrivateUse1')

    def widest(args):
        return torch.float32 if any(
            isinstance(x, torch.Tensor) and x.dtype == torch.float32
            for x in args) else torch.get_autocast_dtype(NAME)

    for names, kind_of in ((HALF,
                            lambda args: torch.get_autocast_dtype(NAME)),
                           (FLOAT, lambda args: torch.float32), (WIDEST,
                                                                 widest)):
        for name in names:
            rule(name, kind_of)


# Before any backward pass: it starts a thread for each device there is, once.
AVAILABLE = _register()


class FakeGPU(TorchDispatchMode):
    """While it is entered, ``device`` exists.

    mmengine, too, takes it for the device of new models.
    """

    def __init__(self) -> None:
        if not AVAILABLE:
            pytest.skip('this torch knows no devices written in Python')
        super().__init__()
        self.device = torch.device(NAME, 0)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})

    def __enter__(self) -> 'FakeGPU':
        self._patches = pytest.MonkeyPatch()
        patch = self._patches.setattr
        original = (torch.tensor, torch.Generator, torch.sparse_csr_tensor,
                    torch.empty)

        def tensor(data, *args, device=None, **kwargs):
            out = original[0](data, *args, **kwargs)
            # A list is written down on the host first.
            return out if device is None else out.to(device)

        def generator(device='cpu'):
            made = original[1]()
            if torch.device(device).type == NAME:
                _generators[made._cdata] = made
            return made

        def sparse(crow, col, values, size, **kwargs):
            there = [_there(x) for x in (crow, col, values)]
            if not any(there):
                return original[2](crow, col, values, size, **kwargs)
            if not all(there):
                raise DeviceMismatch('parts of a CSR matrix on two devices')
            return _SparseRows(original[2](crow.held, col.held, values.held,
                                           size, **kwargs))

        def empty(*args, pin_memory=False, **kwargs):
            made = original[3](*args, **kwargs)
            if pin_memory:
                _pinned.add(made.untyped_storage().data_ptr())
                # Alive while the test runs: memory would be used again.
                self._kept.append(made)
            return made

        def pin(x, device=None):
            return empty(x.shape, dtype=x.dtype, pin_memory=True).copy_(x)

        self._kept: list = []
        patch(torch, 'tensor', tensor)
        patch(torch, 'Generator', generator)
        patch(torch, 'sparse_csr_tensor', sparse)
        patch(torch, 'empty', empty)
        patch(torch.Tensor, 'pin_memory', pin)
        patch('mmengine.device.utils.DEVICE', NAME)
        torch._C._set_only_lift_cpu_tensors(True)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch._C._set_only_lift_cpu_tensors(False)
        self._patches.undo()
        self._kept.clear()
        _pinned.clear()
        _generators.clear()

    @contextmanager
    def counting(self) -> Iterator[Counts]:
        """Count what happens inside."""
        global _current
        before, _current = _current, Counts()
        try:
            yield _current
        finally:
            _current = before
