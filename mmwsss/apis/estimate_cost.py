"""What a chain costs on many devices, from seconds per image."""
import contextlib
import functools
import json
import math
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import (
    Any,
    NamedTuple,
)
from unittest import mock

import torch
from mmengine.config import Config
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from mmwsss.utils.io import atomic_write, find_file

# Images with tags that stages before segmentation see, and images that
# segmentation models are tested on.
IMAGES = dict(voc=dict(train=10582, val=1449),
              coco=dict(train=82081, val=40137))
RUNS_ON = ('devices', 'cores')
ROUTES = dict(affinity='AffinityNet', irn='IRNet')


@dataclass(frozen=True)
class Stage:
    """One stage of a chain and how long an image takes in it.

    Args:
        seconds (float): Seconds per image on one device or core; of a
            training: per image and pass.
        title (str): What the table says. Defaults to ''.
        configs (dict): Data set name to the config of a training. Its length
            is taken from there; that of ``voc`` where a data set has none.
            Empty for a stage that sees each image once. Defaults to ``{}``.
        images (str): ``'train'`` or ``'val'``. Defaults to 'train'.
        runs_on (str): ``'devices'``, or ``'cores'`` for what is spread over
            CPU cores. Defaults to 'devices'.
        route (str, optional): A key of ``ROUTES`` if only that chain has the
            stage. Defaults to None.
        passes (float, optional): How often a training sees each image, in
            place of what its config says. Defaults to None.
        batch_size (int, optional): Images of a training step, on all devices
            together, likewise. Defaults to None.

    Raises:
        ValueError: If an argument is not as described.
    """
    seconds: float
    title: str = ''
    configs: dict[str, str] | None = None
    images: str = 'train'
    runs_on: str = 'devices'
    route: str | None = None
    passes: float | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        for name in ('seconds', 'passes', 'batch_size'):
            value = getattr(self, name)
            if value is None and name != 'seconds':
                continue
            if (isinstance(value, bool) or not isinstance(value, (int, float))
                    or not math.isfinite(value) or value <= 0):
                raise ValueError(f'{name} must be a number above 0, got '
                                 f'{value!r}.')
        for name, known in (('images', ('train', 'val')),
                            ('runs_on', RUNS_ON), ('route',
                                                   (None, *ROUTES))):
            if getattr(self, name) not in known:
                raise ValueError(f'{name} must be one of {known}, got '
                                 f'{getattr(self, name)!r}.')

    def length(self, dataset: str) -> tuple[float, int | None]:
        """How often an image is seen, and how many make a step.

        Args:
            dataset (str): A key of ``IMAGES``.

        Returns:
            tuple[float, int | None]: Passes and the images of a step, None
            for a stage that can be spread without limit.
        """
        passes, batch_size = 1., None
        if self.configs:
            own = dataset if dataset in self.configs else 'voc'
            passes, batch_size = _length_of(self.configs[own],
                                            IMAGES[own][self.images])
        return self.passes or passes, self.batch_size or batch_size


# Measured by benchmarks/bench_stages.py on one core, see its README: the ACR
# chain on VOC with the models at full size.
DEVICE = 'one core of an Intel Xeon with AMX, torch 2.11.0, float32'
STAGES = dict(
    classify=Stage(
        10.21,
        'classify: ACR, hybrid ViT-B, training',
        configs=dict(
            voc='configs/acr/acr_vit_voc.py',
            coco='configs/acr/acr_vit_coco.py')),
    cams=Stage(3.34, 'cams: its CAMs'),
    crf=Stage(0.67, 'crf: dense CRF', runs_on='cores'),
    affinity=Stage(
        22.40,
        'affinity: AffinityNet, ResNet-38, training',
        configs=dict(voc='configs/affinity/affinitynet_resnet38_voc.py'),
        route='affinity'),
    walk=Stage(12.31, 'walk: its random walk', route='affinity'),
    irn=Stage(
        2.18,
        'irn: IRNet, ResNet-50, training',
        configs=dict(
            voc='configs/affinity/irnet_r50_voc.py',
            coco='configs/affinity/irnet_r50_coco.py'),
        route='irn'),
    irn_walk=Stage(3.12, 'irn_walk: its random walk', route='irn'),
    segment=Stage(
        8.56,
        'segment: DeepLabV2, ResNet-101, training',
        configs=dict(
            voc='configs/segmentation/deeplabv2_r101_voc.py',
            coco='configs/segmentation/deeplabv2_r101_coco.py')),
    test=Stage(4.29, 'test: its masks of val images', images='val'))


def training_length(cfg: Config, num_images: int) -> tuple[float, int]:
    """How long a config trains.

    Args:
        cfg (Config): With ``train_cfg`` and ``train_dataloader``.
        num_images (int): Images of its data set.

    Returns:
        tuple[float, int]: How often each image is seen, and the images of a
        step on one device.
    """
    batch_size = cfg.train_dataloader.batch_size
    if 'max_epochs' in cfg.train_cfg:
        return float(cfg.train_cfg.max_epochs), batch_size
    return cfg.train_cfg.max_iters * batch_size / num_images, batch_size


@functools.cache
def _length_of(config: str, num_images: int) -> tuple[float, int]:
    return training_length(Config.fromfile(find_file(config)), num_images)


def speed_up(devices: int, efficiency: float = 1.) -> float:
    """How many times as fast several devices are.

    Each device after the first adds ``efficiency`` of a device.

    Args:
        devices (int): At least 1.
        efficiency (float): In (0, 1]; 1 is ideal. Defaults to 1.

    Returns:
        float: 1 for one device.

    Raises:
        ValueError: If an argument is out of range.
    """
    if devices < 1:
        raise ValueError(f'There must be at least 1 device, got {devices}.')
    if not 0 < efficiency <= 1:
        raise ValueError(f'The efficiency must lie in (0, 1], got '
                         f'{efficiency}.')
    return 1 + (devices - 1) * efficiency


def devices_of_use(devices: int, batch_size: int) -> int:
    """How many devices can share the images of a step equally.

    Args:
        devices (int): At least 1, those there are.
        batch_size (int): Images of a step.

    Returns:
        int: The largest divisor of ``batch_size`` that is not above
        ``devices``.
    """
    return max(n for n in range(1, min(devices, batch_size) + 1)
               if batch_size % n == 0)


def stage_hours(stage: Stage,
                dataset: str,
                devices: int,
                efficiency: float = 1.,
                cores: int = 1,
                num_images: dict[str, int] | None = None) -> float:
    """Hours that a stage takes.

    Only trainings lose by being spread, since only there devices wait for
    each other, and their steps keep their number of images, which devices
    share equally: a step of 10 runs on 1, 2, 5 or 10 of them.

    Args:
        stage (Stage): The stage.
        dataset (str): A key of ``IMAGES``.
        devices (int): GPUs, or whatever ``seconds`` was measured on.
        efficiency (float): Of trainings, see :func:`speed_up`.
            Defaults to 1.
        cores (int): CPU cores per device. Defaults to 1.
        num_images (dict, optional): In place of the data set's numbers,
            with keys ``train`` and ``val``. Defaults to None.

    Returns:
        float: Hours.
    """
    passes, batch_size = stage.length(dataset)
    images = {**IMAGES[dataset], **(num_images or {})}[stage.images]
    faster = speed_up(devices)
    if stage.runs_on == 'cores':
        faster = speed_up(devices * cores)
    elif batch_size is not None:
        faster = speed_up(devices_of_use(devices, batch_size), efficiency)
    return stage.seconds * passes * images / faster / 3600


def read_stages(path: str | Path) -> tuple[str, dict[str, Stage]]:
    """Stages measured elsewhere.

    Args:
        path (str | Path): JSON with ``device``, a line about what was
            measured, and ``stages``: name to arguments of :class:`Stage`, or
            to seconds per image alone. What is not given of a stage that
            ``STAGES`` has is taken from there. Stages that are not named are
            left out: seconds of different devices do not add up.

    Returns:
        tuple[str, dict[str, Stage]]: The line and the stages.

    Raises:
        ValueError: If the file is not as described, with what is wrong.
    """
    form = ('{"device": "my GPU", "stages": {"classify": 0.1, ...}}, as '
            'benchmarks/bench_stages.py --out writes it')
    try:
        content = json.loads(Path(path).read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'{path} is no JSON ({error}); it should be {form}.'
                         ) from None
    if (not isinstance(content, dict) or not content.get('stages')
            or not isinstance(content['stages'], dict)):
        raise ValueError(f'{path} names no stages; it should be {form}.')
    known = {field.name for field in fields(Stage)}
    found = {}
    for name, given in content['stages'].items():
        if not isinstance(given, dict):
            given = dict(seconds=given)
        unknown = set(given) - known
        if unknown or 'seconds' not in given:
            raise ValueError(
                f'{path}: stage {name!r} ' +
                (f'has {sorted(unknown)}, but only {sorted(known)} mean '
                 'something.' if unknown else 'lacks "seconds".'))
        try:
            found[name] = (replace(STAGES[name], **given)
                           if name in STAGES else
                           Stage(**{'title': name, **given}))
        except ValueError as error:
            raise ValueError(f'{path}: stage {name!r}: {error}') from None
    return str(content.get('device', path)), found


def write_stages(path: str | Path, device: str,
                 seconds: dict[str, float]) -> None:
    """Write what :func:`read_stages` reads.

    Args:
        path (str | Path): The file.
        device (str): What was measured.
        seconds (dict[str, float]): Stage name to seconds per image.
    """
    with atomic_write(path) as temp:
        temp.write_text(
            json.dumps(dict(device=device, stages=seconds), indent=2) + '\n',
            encoding='utf-8')


def in_words(hours: float) -> str:
    """Hours with two digits or so: 75 h, 2.3 h, 14 min."""
    if hours >= 9.95:
        return f'{hours:,.0f} h'
    if hours >= 0.995:
        return f'{hours:.1f} h'
    return f'{60 * hours:.0f} min' if hours >= 1 / 120 else '< 1 min'


def cost_table(stages: dict[str, Stage], dataset: str,
               devices: Sequence[int], **settings) -> list[list[str]]:
    """Rows of a table: stages, then one total per route.

    Args:
        stages (dict[str, Stage]): Name to stage.
        dataset (str): A key of ``IMAGES``.
        devices (Sequence[int]): One column each.
        **settings: Further arguments of :func:`stage_hours`.

    Returns:
        list[list[str]]: Header, stages, totals.
    """
    rows = [['stage', *map(str, devices)]]
    hours = {
        name: [stage_hours(stage, dataset, n, **settings) for n in devices]
        for name, stage in stages.items()
    }
    for name, row in hours.items():
        rows.append([stages[name].title, *map(in_words, row)])
    used = {stage.route for stage in stages.values()} - {None}
    for route in [x for x in ROUTES if x in used] or [None]:
        parts = [
            hours[name] for name, stage in stages.items()
            if stage.route in (None, route)
        ]
        title = f'all, by way of {ROUTES[route]}' if route else 'all'
        rows.append([f'**{title}**', *map(in_words, map(sum, zip(*parts)))])
    return rows


class CostEstimate(NamedTuple):
    """Hours of the stages of a data set.

    Attributes:
        device (str): What the seconds were measured on.
        num_images (dict[str, int]): 'train' and 'val'.
        rows (list[list[str]]): See :func:`cost_table`.
        limits (dict[str, int]): Stage -> images of a training step, which
            devices share equally; 0 for those without a limit.
    """
    device: str
    num_images: dict[str, int]
    rows: list[list[str]]
    limits: dict[str, int]


def estimate_cost(dataset: str,
                  devices: Sequence[int],
                  *,
                  seconds: str | Path | None = None,
                  efficiency: float = 1.,
                  cores_per_device: int = 1,
                  images: int | None = None,
                  val_images: int | None = None) -> CostEstimate:
    """Hours of every stage.

    Args:
        dataset (str): A key of :data:`IMAGES`.
        devices (Sequence[int]): Numbers of devices.
        seconds (str | Path, optional): What ``benchmarks/bench_stages.py``
            wrote. Defaults to the numbers in this module.
        efficiency (float): What each device after the first adds to a
            training. Defaults to 1.
        cores_per_device (int): For stages on CPU cores. Defaults to 1.
        images (int, optional): Training images. Defaults to those of the
            data set.
        val_images (int, optional): Likewise, validation images.

    Returns:
        CostEstimate: The table.

    Raises:
        FileNotFoundError: If the file of seconds is missing.
        ValueError: If it or a number is wrong.
    """
    device, stages = DEVICE, STAGES
    if seconds:
        if not Path(seconds).is_file():
            raise FileNotFoundError(
                f'There is no {seconds}. Measure with python '
                f'benchmarks/bench_stages.py --out {seconds}')
        device, stages = read_stages(seconds)
    if cores_per_device < 1:
        raise ValueError('--cores-per-device must be at least 1, got '
                         f'{cores_per_device}.')
    num_images = {
        key: value
        for key, value in (('train', images), ('val', val_images))
        if value is not None
    }
    rows = cost_table(
        stages,
        dataset,
        devices,
        efficiency=efficiency,
        cores=cores_per_device,
        num_images=num_images)
    return CostEstimate(
        device, {**IMAGES[dataset], **num_images}, rows,
        {name: stage.length(dataset)[1] or 0
         for name, stage in stages.items()})


# ------------------------------------------------------------------- memory
#: What a GPU holds beside tensors: the driver's context, libraries, room that
#: they take for convolutions and that the allocator cannot use. In GiB, a
#: guess.
RESERVED = 1.5
#: Memory of common GPUs in GB, as they are sold.
GPUS = (8, 16, 24, 80)


class PeakMemory(TorchDispatchMode):
    """How many bytes of tensors are alive at once, at most.

    Counts the memory of every tensor that is made while it is entered, with
    those that autograd keeps for the backward pass, until nobody holds it any
    more. On the meta device nothing is computed, so the largest models are
    counted in seconds; what the host would read there is made up:

    - a number is 1, a condition true, of a list every number 4;
    - where a size depends on values (``nonzero``, masks, unique values), all
      of them count.

    Room that an operation needs while it runs is not seen.

    Args:
        held (Iterable[Tensor]): Tensors that are there already, such as
            weights. Defaults to ().
        device (str): Type of the device whose tensors count.
            Defaults to 'meta'.

    Attributes:
        now (int): Bytes alive.
        peak (int): The most there were.
    """

    def __init__(self,
                 held: Iterable[Tensor] = (),
                 device: str = 'meta') -> None:
        super().__init__()
        self.now = self.peak = 0
        self.device = device
        self._alive: set = set()
        for tensor in held:
            self._count(tensor)

    def _count(self, tensor: Tensor) -> None:
        if tensor.device.type != self.device or \
                tensor.layout != torch.strided:
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._alive:
            return
        size = storage.nbytes()
        self._alive.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        # The Python object of a storage lives as long as its memory.
        weakref.finalize(storage, self._drop, key, size)

    def _drop(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.now -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (),
                           kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        out = _made_up(func, args, kwargs)
        if out is None:
            out = func(*args, **kwargs)
        for x in tree_flatten(out)[0]:
            if isinstance(x, Tensor):
                self._count(x)
        return out

    def __enter__(self) -> 'PeakMemory':
        super().__enter__()
        # What the meta device lacks.
        tolist, generator, autocast = (Tensor.tolist, torch.Generator,
                                       torch.autocast)

        def is_meta(device: Any) -> bool:
            return torch.device(device).type == 'meta'

        self._patches = contextlib.ExitStack()
        for owner, name, replacement in (
            (Tensor, 'tolist', lambda x: tolist(
                torch.full(x.shape, 4, dtype=x.dtype, device='cpu')
                if is_meta(x.device) else x)),
            (torch, 'Generator', lambda device='cpu': generator(
                'cpu' if is_meta(device) else device)),
            (torch, 'autocast', lambda device_type, *args, **kwargs:
             contextlib.nullcontext() if is_meta(device_type) else autocast(
                 device_type, *args, **kwargs))):
            self._patches.enter_context(
                mock.patch.object(owner, name, replacement))
        return self

    def __exit__(self, *error: Any) -> None:
        self._patches.close()
        super().__exit__(*error)


def _made_up(func: Any, args: tuple, kwargs: dict) -> Any:
    """What :class:`PeakMemory` says the host reads; None for the rest."""
    x = next((a for a in args if isinstance(a, Tensor)), None)
    if x is None or x.device.type != 'meta':
        return None
    name = func.overloadpacket.__name__
    if name == '_local_scalar_dense':
        return x.dtype == torch.bool or (1. if x.is_floating_point() else 1)
    if name in ('equal', 'is_nonzero'):
        return True
    if name == 'nonzero':
        return x.new_empty((x.numel(), x.dim()), dtype=torch.int64)
    if name == 'masked_select':
        return x.new_empty(x.numel())
    if name == 'unique_consecutive':
        index = x.new_empty(x.shape, dtype=torch.int64)
        return torch.empty_like(x), index, torch.empty_like(index)
    if name == '_to_copy' and str(kwargs.get('device')) == 'cpu':
        return torch.ones(
            x.shape, dtype=kwargs.get('dtype') or x.dtype, device='cpu')
    if name in ('index', 'index_put', 'index_put_') and any(
            i is not None and i.dtype in (torch.bool, torch.uint8)
            for i in args[1]):
        if name != 'index':
            return x
        places = []
        for i in args[1]:
            if i is not None and i.dtype in (torch.bool, torch.uint8):
                one = i.new_empty(i.numel(), dtype=torch.int64)
                places += [one] * i.dim()
            else:
                places.append(i)
        return func(x, places)
    return None


def peak_bytes(run: Callable[[], Any],
               held: Iterable[Tensor],
               device: str = 'meta') -> int:
    """Peak memory of a training step, a prediction or anything else.

    Args:
        run (Callable): Does it once.
        held (Iterable[Tensor]): What lies on the device beforehand, such as
            weights and what an optimizer keeps.
        device (str): Type of the device. Defaults to 'meta'.

    Returns:
        int: Bytes.
    """
    with PeakMemory(held, device) as memory:
        run()
    return memory.peak


def gpus_that_fit(peaks: dict[int, float], images: int,
                  gigabytes: float) -> int | None:
    """The fewest GPUs that share the images of a step equally and hold them.

    Args:
        peaks (dict[int, float]): Images on a device to peak bytes.
        images (int): Images of a step.
        gigabytes (float): Memory of a GPU, in GB.

    Returns:
        int | None: None if not even one image fits.
    """
    room = gigabytes * 1e9 - RESERVED * 2**30
    return next((images // n for n in sorted(peaks, reverse=True)
                 if images % n == 0 and peaks[n] <= room), None)
