"""From photographs and image-level labels to masks and a model."""
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log

from mmwsss.datasets.custom import CustomData, read_custom, write_custom
from mmwsss.models.backbones.frozen_features import input_size
from mmwsss.utils.io import atomic_write, find_file, make_folder, open_picture
from mmwsss.utils.weight_sources import command_for

from .custom_config import check_config, configs_for
from .pipeline_run import run_pipeline
from .run import pretrained_paths

PathLike = str | Path
#: Pipeline of configs/frozen that is run.
DEFAULT_PIPELINE = 'configs/frozen/pipeline_custom.py'
#: With smaller networks, whose weights tools/get_weights.py knows.
SMALL_PIPELINE = 'configs/frozen/pipeline_vit-tiny_custom.py'
#: With fewer photographs a model needs to be told what is in an image.
FEW = 150


@dataclass
class MasksFromTags:
    """What :func:`masks_from_tags` made.

    Attributes:
        data (CustomData): The photographs and their labels, with notes.
        masks (Path): Folder of the masks, ``{img_id}.png``: 0 background,
            c + 1 class c of ``data.classes``.
        config (Path): Config of the segmentation model.
        checkpoint (Path): Its work folder, for the tools' CHECKPOINT.
        page (Path, optional): A page to look at.
    """
    data: CustomData
    masks: Path
    config: Path
    checkpoint: Path
    page: Path | None

    @property
    def few(self) -> bool:
        """Whether there are too few photographs to do without labels."""
        return len(self.data.labels) < FEW

    def infer_command(self) -> str:
        """The command line for new photographs."""
        names = ','.join(self.data.classes[:2])
        command = ['python', 'tools/infer.py', str(self.config),
                   str(self.checkpoint), 'NEW_PHOTOS', '--out', 'DIR']
        if self.few:
            command += ['--tags', names]
        return shlex.join(command)


def masks_from_tags(tags: PathLike,
                    out: PathLike,
                    images: PathLike | None = None,
                    masks: PathLike | None = None,
                    format: str | None = None,
                    classes: Sequence[str] | None = None,
                    columns: Mapping[str, Any] | None = None,
                    pipeline: PathLike = DEFAULT_PIPELINE,
                    device: str | None = None,
                    seed: int = 0,
                    workers: int | None = None,
                    check_images: bool = True,
                    no_class: Sequence[str] = (),
                    mask_values: Sequence[str] | None = None,
                    mask_suffix: str | None = None,
                    window: Sequence[float] | None = None
                    ) -> MasksFromTags:
    """Masks of photographs, and a segmentation model, from labels alone.

    Reads and checks the labels and every photograph, writes configs for
    them, computes features of frozen networks once, and runs all stages of
    the pipeline. The same call continues what was interrupted, and returns
    at once what is done.

    Args:
        tags (str | Path): Image-level labels of any format that
            docs/data.md names.
        out (str | Path): Folder for everything that is made.
        images (str | Path, optional): Folder of the photographs. Defaults to
            that of the labels.
        masks (str | Path, optional): Folder of true masks, to measure with;
            no training sees them. Defaults to None.
        format (str, optional): Of the labels. None looks at them.
        classes (Sequence[str], optional): Only these classes, in this order.
        columns (Mapping, optional): Names of columns, see
            :func:`~mmwsss.datasets.tags.read_tags`.
        pipeline (str | Path): A pipeline config with a stage ``masks``.
            Defaults to ``configs/frozen/pipeline_custom.py``.
        device (str, optional): ``'cpu'``, ``'cuda'`` or ``'cuda:1'``. None
            takes a GPU where there is one. Defaults to None.
        seed (int): Of the trainings. Defaults to 0.
        workers (int, optional): Processes of the stages that work on files.
            None takes one per core. Defaults to None.
        check_images (bool): Whether to read every photograph first.
            Defaults to True.
        no_class (Sequence[str]): Labels that say that nothing is there.
            Defaults to ().
        mask_values (Sequence[str], optional): What values of the true masks
            stand for, and
        mask_suffix (str, optional): what they are called, see
            :func:`~mmwsss.datasets.custom.read_custom`.
        window (Sequence[float], optional): Which values become black and
            white in photographs of more than 8 bits.

    Returns:
        MasksFromTags: Where everything is.

    Raises:
        FileNotFoundError: If labels, photographs or weights are missing.
        FileExistsError: If ``out`` holds other labels or edited configs.
        ValueError: If labels or photographs are wrong, or there are too few
            of them.
        StageError: If a stage fails; its log is named.
    """
    out = Path(out)
    _check_device(device)
    base = find_file(str(pipeline))
    if base.is_file() and 'masks' not in Config.fromfile(base).get(
            'stages', {}):
        raise ValueError(f'{pipeline} has no stage called masks; take '
                         f'{DEFAULT_PIPELINE} or one that inherits it.')
    data = read_custom(
        tags,
        images,
        masks,
        format,
        classes,
        val=0.,
        seed=seed,
        check_images=check_images,
        columns=columns,
        no_class=no_class,
        mask_values=mask_values,
        mask_suffix=mask_suffix,
        window=window)
    if data.lists['val']:
        # read_custom keeps photographs with masks for validation.
        data.lists = dict(train=list(data.labels), val=[])
    _check_learnable(data)
    _check_lengths(data)
    folder = out / 'data'
    configs = configs_for([pipeline],
                          folder,
                          images=data.images,
                          num_classes=len(data.classes),
                          has_val=False,
                          # Translated ones go where masks are looked for.
                          masks=None if data.translated else data.masks,
                          window=data.window)
    _check_folder(out, configs, data)
    _check_weights(configs, pipeline)
    make_folder(folder)
    write_custom(data, folder)
    for path, text in configs.items():
        with atomic_write(path) as temp:
            temp.write_text(text, encoding='utf-8')
    for note in data.notes:  # Now, not after minutes of work.
        print_log(f'note: {note}', logger='current')
    main = folder / 'pipeline.py'
    with _visible(device):
        try:
            done = run_pipeline(
                main,
                work_dir=out / 'stages',
                workers=workers,
                scores=data.masks is not None,
                cfg_options={'variables.seed': seed} if seed else None)
            print(done.report())
        except ValueError as error:
            if '--redo' not in str(error):
                raise
            raise ValueError(
                f'{out / "stages"} was made with another seed, other '
                'settings or another version of this package. Choose '
                'another --out, or delete that folder; features that are '
                'cached are not computed again.') from error
    cfg = Config.fromfile(main)
    stages = {stage.name: stage for stage in done.stages}
    target = out / 'masks'
    _copy_masks(Path(stages['masks'].outputs['masks']), target)
    page = done.work_dir / 'gallery' / 'index.html'
    return MasksFromTags(
        data=data,
        masks=target,
        config=Path(cfg.variables.segmentor),
        checkpoint=Path(stages['segment'].outputs['run']).parent,
        page=page if page.is_file() else None)


def _check_learnable(data: CustomData) -> None:
    """Raise ValueError where labels cannot teach what a class is."""
    count = data.count('train')
    images = len(data.lists['train'])
    if images < 2:
        raise ValueError('There is one photograph only. A classifier learns '
                         'what a class is by comparing photographs; ten of '
                         'each class are few.')
    unseen = [c for c, n in zip(data.classes, count) if not n]
    if unseen:
        raise ValueError(f'No photograph is labelled {", ".join(unseen)}, so '
                         'this cannot be learnt. Label some, or leave the '
                         'class out (--classes).')
    if len(data.classes) == 1 and count[0] == images:
        raise ValueError(
            f'Every photograph is labelled {data.classes[0]}, and there is '
            'no other class: nothing tells what it looks like. Add '
            'photographs without it; in a csv file these have an empty '
            'label.')


def _check_lengths(data: CustomData) -> None:
    """Raise ValueError for photographs that no network can see."""
    for img_id, name in data.files.items():
        with open_picture(data.images / name) as picture:
            width, height = picture.size
        try:
            input_size((height, width), long_side=1, divisor=1)
        except ValueError as error:
            raise ValueError(f'Image {img_id!r}: {error} Or take it off the '
                             'list of labels.') from error


def _check_folder(out: Path, configs: Mapping[Path, str],
                  data: CustomData) -> None:
    """Raise FileExistsError where results of something else would be mixed."""
    way_out = ('Choose another --out; features that were computed are not '
               'computed again.')
    for path, text in configs.items():
        try:
            check_config(path, text)
        except FileExistsError as error:
            raise FileExistsError(
                f'{path} was edited, or made for other classes, photographs '
                f'or another pipeline. {way_out} Edited configs are run with '
                f'tools/run_pipeline.py {out / "data" / "pipeline.py"} '
                '--work-dir DIR.') from error
    if not (out / 'stages' / 'results.json').is_file():
        return
    # Stages that are finished would not see them.
    with TemporaryDirectory() as temp:
        write_custom(data, temp)
        for new in sorted(Path(temp).iterdir()):
            old = out / 'data' / new.name
            if old.is_file() and old.read_bytes() != new.read_bytes():
                raise FileExistsError(
                    f'{out} holds results of other labels ({old} differs). '
                    f'{way_out}')


def _check_weights(configs: Mapping[Path, str],
                   pipeline: PathLike) -> None:
    """Raise FileNotFoundError before anything is written."""
    lacking = set()
    for text in configs.values():
        base = next(line for line in text.splitlines()
                    if line.startswith('_base_'))
        cfg = Config.fromfile(base.split('=', 1)[1].strip().strip('\'"'))
        for _, path in pretrained_paths(cfg.get('model') or {}):
            local = '://' not in path
            if local and not Path(path).expanduser().exists():
                lacking.add(path)
    if not lacking:
        return
    known = [path for path in sorted(lacking) if command_for(path, None)]
    others = sorted(lacking - set(known))
    message = f'Weights are missing: {", ".join(sorted(lacking))}.'
    if known:
        message += f' {command_for(known[0], str(pipeline)).strip()}'
    if others:
        message += (f' docs/get_started.md says where {", ".join(others)} '
                    'comes from and how it is converted.')
    if Path(pipeline).name != Path(SMALL_PIPELINE).name:
        message += f' Smaller networks: --pipeline {SMALL_PIPELINE}'
    raise FileNotFoundError(message)


def _check_device(device: str | None) -> None:
    """Raise ValueError for a device that is not there."""
    if device is None:
        return
    kind, _, number = device.partition(':')
    if kind not in ('cpu', 'cuda') or (number and not number.isdigit()):
        raise ValueError(f"device is {device!r}, must be 'cpu', 'cuda' or "
                         "'cuda:N'.")
    found = torch.cuda.device_count()
    if kind == 'cuda' and int(number or 0) >= found:
        raise ValueError(f'Device {device} cannot be used: there are cpu and '
                         f'{found} CUDA device(s).')


@contextmanager
def _visible(device: str | None) -> Iterator[None]:
    """Let the processes of the stages see one device only."""
    if device is None:
        yield
        return
    kind, _, number = device.partition(':')
    name = 'CUDA_VISIBLE_DEVICES'
    before = os.environ.get(name)
    visible: list[str] = before.split(',') if before else [
        str(i) for i in range(torch.cuda.device_count())
    ]
    os.environ[name] = visible[int(number or 0)] if kind == 'cuda' else ''
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _copy_masks(source: Path, target: Path) -> None:
    """Copy masks to where a person looks for them."""
    for path in sorted(source.rglob('[!.]*.png')):
        place = target / path.relative_to(source)
        with atomic_write(place) as temp:
            shutil.copyfile(path, temp)
