"""What a chain costs on many devices, from seconds per image."""
import functools
import json
import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from mmengine.config import Config

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
    configs: Optional[Dict[str, str]] = None
    images: str = 'train'
    runs_on: str = 'devices'
    route: Optional[str] = None
    passes: Optional[float] = None
    batch_size: Optional[int] = None

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

    def length(self, dataset: str) -> Tuple[float, Optional[int]]:
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


def training_length(cfg: Config, num_images: int) -> Tuple[float, int]:
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


@functools.lru_cache(maxsize=None)
def _length_of(config: str, num_images: int) -> Tuple[float, int]:
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
                num_images: Optional[Dict[str, int]] = None) -> float:
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


def read_stages(path: Union[str, Path]) -> Tuple[str, Dict[str, Stage]]:
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


def write_stages(path: Union[str, Path], device: str,
                 seconds: Dict[str, float]) -> None:
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


def cost_table(stages: Dict[str, Stage], dataset: str,
               devices: Sequence[int], **settings) -> List[List[str]]:
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
    num_images: Dict[str, int]
    rows: List[List[str]]
    limits: Dict[str, int]


def estimate_cost(dataset: str,
                  devices: Sequence[int],
                  *,
                  seconds: Optional[Union[str, Path]] = None,
                  efficiency: float = 1.,
                  cores_per_device: int = 1,
                  images: Optional[int] = None,
                  val_images: Optional[int] = None) -> CostEstimate:
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
