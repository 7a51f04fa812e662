"""Refine class maps of a whole data set: the work of tools/refine_cams.py.

A config's ``refine_dataset`` names images and a pipeline that ends in
writers. The pipeline runs over all images in a pool of processes. Images are
independent and their files appear whole, so a run may end at any moment, and
the same command continues it.
"""
import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import (Any, Dict, Iterator, List, Mapping, NamedTuple,
                    Optional, Sequence)

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import init_default_scope

from mmwsss.pseudo_labels.cam_file import MANIFEST, cam_path, read_manifest
from mmwsss.pseudo_labels.class_names import check_stage_classes
from mmwsss.pseudo_labels.pool import num_cores, run_pool
from mmwsss.pseudo_labels.transforms.load_cams import LoadCAMs
from mmwsss.pseudo_labels.transforms.writers import SaveMask, Writer
from mmwsss.registry import DATASETS, TRANSFORMS
from mmwsss.utils.io import atomic_write, remove_temporary
from mmwsss.version import __version__

from .run import ConfigLike, PathLike, load_config
from .shards import (Shard, exclusive, parse_shard,
                     remove_temporary_of)

SETTINGS = 'settings.json'
#: Of the files that writers write.
SUFFIXES = ('.npz', '.png')


# -------------------------------------------------------------------- folder
@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Let SIGTERM end the program in good order, like Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _remove_temporary(folders: Sequence[Path]) -> None:
    """Take away what killed workers were just writing."""
    for folder in folders:
        remove_temporary(folder)


def _plain(value: Any) -> Any:
    """What a value looks like after a trip through JSON."""
    return json.loads(json.dumps(value, default=str))


def _differences(old: Any, new: Any, where: str = '') -> List[str]:
    """Where two JSON values differ, one line each."""
    if isinstance(old, dict) and isinstance(new, dict):
        keys = list(dict.fromkeys([*old, *new]))
        pairs = [(old.get(k), new.get(k), f'{where}.{k}') for k in keys]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(
            new):
        pairs = [(a, b, f'{where}.{i}')
                 for i, (a, b) in enumerate(zip(old, new))]
    else:
        return [] if old == new else [
            f'  {where[1:]}: {old!r} there, {new!r} now'
        ]
    return [line for a, b, at in pairs for line in _differences(a, b, at)]


def _check_settings(out: Path,
                    settings: dict,
                    paths: Dict[str, List[Path]],
                    overwrite: bool,
                    shard: Shard = Shard()) -> None:
    """Note the settings in a new folder, refuse one with other settings.

    Args:
        out (Path): The folder.
        settings (dict): What its files are made with.
        paths (dict[str, list[Path]]): Files of all images.
        overwrite (bool): Whether files are made anew. A shard leaves those
            of the others that have the settings of now.
        shard (Shard): Which images are done. Defaults to all.

    Raises:
        ValueError: If there are files of other settings.
    """
    note = out / SETTINGS
    if overwrite and shard.count > 1 and note.is_file():
        with contextlib.suppress(ValueError):
            if not _differences(json.loads(note.read_text()), settings):
                # Begun anew by another shard, or as it was: only one's own.
                paths = {i: paths[i] for i in shard.of(paths)}
    exist = [p for ps in paths.values() for p in ps if p.exists()]
    again = 'Choose another --out, or replace the files with --overwrite.'
    if overwrite:
        # The note goes first: whenever this is cut off, the rest is either
        # refused or new.
        note.unlink(missing_ok=True)
        for path in exist:
            path.unlink()
        left = [p for f in {p.parent for ps in paths.values() for p in ps}
                for p in f.glob('[!.]*') if p.suffix in SUFFIXES]
        if left:
            print_log(
                f'{out} keeps {len(left)} file(s) of other images, such as '
                f'{left[0].name}, which --overwrite does not replace.',
                logger='current',
                level=logging.WARNING)
    elif note.is_file():
        try:
            there = json.loads(note.read_text())
        except ValueError as error:
            raise ValueError(f'{note} is not JSON ({error}). '
                             f'{again}') from error
        lines = _differences(there, settings)
        if lines:
            raise ValueError(f'{out} was made with other settings:\n' +
                             '\n'.join(lines[:8]) + f'\n{again}')
    elif exist:
        raise ValueError(
            f'{out} holds {len(exist)} file(s) of these images, such as '
            f'{exist[0].name}, but no {SETTINGS} that says how they were '
            f'made. {again}')
    with atomic_write(note) as temp:
        temp.write_text(json.dumps(settings, indent=2) + '\n')


# ------------------------------------------------------------------ progress
class Progress:
    """A bar on a terminal, a line for every tenth elsewhere.

    Args:
        total (int): Number of images.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.count = 0
        self.bar = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (BarColumn, MofNCompleteColumn, Progress,
                                       TimeRemainingColumn)
            self.bar = Progress(
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True))
            self.task = self.bar.add_task('', total=total)

    def __enter__(self) -> 'Progress':
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *error: Any) -> None:
        if self.bar:
            self.bar.stop()

    def step(self, img_id: str) -> None:
        """Count an image.

        Args:
            img_id (str): Its name.
        """
        self.count += 1
        if self.count == 1:
            # What the workers need to start says nothing about the rest.
            self.start = time.perf_counter()
        if self.bar:
            self.bar.advance(self.task)
        elif self.count > 1 and self.count * 10 % self.total < 10:
            rate = (self.count - 1) / (time.perf_counter() - self.start)
            print_log(
                f'{self.count} of {self.total} images, {rate:.1f} per second, '
                f'{(self.total - self.count) / rate:.0f} s left',
                logger='current')


# ---------------------------------------------------------------------- tool
def _writers(cfg: Config, pipeline: Sequence[Any],
             cams: str) -> List[Writer]:
    """The writers of a built pipeline, with distinct folders."""
    writers = [t for t in pipeline if isinstance(t, Writer)]
    if not writers:
        raise ValueError(
            f'The pipeline of refine_dataset in {cfg.filename} writes '
            "nothing. End it with e.g. dict(type='mmwsss.SaveMask').")
    taken = [Path(cams).resolve()]
    for folder in (f.resolve() for w in writers for f in w.folders()):
        if folder in taken:
            raise ValueError(
                f'Two steps of refine_dataset use the folder {folder}. Read '
                'and write in different folders: choose another --out, and '
                "give writers an out_dir of their own, e.g. out_dir='masks'.")
        taken.append(folder)
    return writers


def _class_of(step: dict) -> type:
    """The class of a transform's config."""
    kind = step['type']
    kind = kind if isinstance(kind, type) else TRANSFORMS.get(kind)
    return kind or object  # Unknown names are reported where it is built.


def _place(cfg: Config, cams: Optional[str], out: Path) -> Optional[str]:
    """Set the folders in the dataset; returns that of the class maps."""
    if cfg.get('refine_dataset') is None:
        raise ValueError(
            f'{cfg.filename} has no refine_dataset: a dataset with tags whose '
            'pipeline loads class maps and ends in writers, e.g. '
            'refine_dataset = dict(type=..., pipeline=[dict(type='
            "'mmwsss.LoadImage'), dict(type='mmwsss.LoadCAMs'), dict(type="
            "'mmwsss.IRNLabel'), dict(type='mmwsss.SaveMask')]).")
    found = None
    for step in cfg.refine_dataset.pipeline:
        kind = _class_of(step)
        if issubclass(kind, LoadCAMs):
            found = cams or cfg.refine_dataset.get('cam_dir')
        elif issubclass(kind, Writer):
            step.out_dir = str(out / step.get('out_dir', '.'))
    if found is None:
        raise ValueError(
            'Say where the class maps are with --cams DIR (write them with: '
            'python tools/test.py CONFIG CHECKPOINT --out DIR); the pipeline '
            "of refine_dataset must have a step dict(type='mmwsss.LoadCAMs')"
            '.')
    if not Path(found).is_dir():
        raise FileNotFoundError(
            f'There is no folder of class maps {found}. Write them with: '
            f'python tools/test.py CONFIG CHECKPOINT --out {found}')
    cfg.refine_dataset.cam_dir = found
    return found


def _source(folder: str) -> dict:
    """What tells one folder of class maps from another."""
    checkpoint = None
    if (Path(folder) / MANIFEST).is_file():
        checkpoint = read_manifest(folder).get('checkpoint_sha256')
    return dict(
        folder=str(Path(folder).resolve()), checkpoint_sha256=checkpoint)


class RefineResult(NamedTuple):
    """What :func:`refine_cams` did.

    Attributes:
        out (Path): The folder.
        num_images (int): Images of this shard.
        num_written (int): Those that were done by this call.
        num_missing (int): Images of other shards that are not done yet.
        seconds (float): Of this call.
    """
    out: Path
    num_images: int
    num_written: int
    num_missing: int
    seconds: float


def refine_cams(config: ConfigLike,
                cams: Optional[PathLike] = None,
                out: Optional[PathLike] = None,
                *,
                workers: Optional[int] = None,
                shard: Optional[str] = None,
                overwrite: bool = False,
                cfg_options: Optional[Mapping[str, Any]] = None
                ) -> RefineResult:
    """Refine the CAMs of all images of a config's ``refine_dataset``.

    Images whose files are all there are skipped.

    Args:
        config (str | Path | Config): With ``refine_dataset``.
        cams (str | Path, optional): Folder of CAMs. Defaults to what the
            config says.
        out (str | Path, optional): Folder for the results. Defaults to
            ``work_dirs/<config name>``.
        workers (int, optional): Number of processes. Defaults to one per
            core.
        shard (str, optional): ``'i/n'``, see
            :func:`~mmwsss.apis.shards.parse_shard`.
        overwrite (bool): Whether to replace results, also those of other
            settings. Defaults to False.
        cfg_options (Mapping[str, Any], optional): See
            :func:`~mmwsss.apis.load_config`.

    Returns:
        RefineResult: Counts.

    Raises:
        FileNotFoundError: If the config, images, tags or class maps are
            missing.
        ValueError: If the config does not say what to do, or the folder
            holds files made with other settings, or the class maps were made
            for other classes.
        RefineError: If an image fails.
    """
    cfg = load_config(config, cfg_options)
    out = Path(out or cfg.work_dir)
    if workers is not None and workers < 1:
        raise ValueError(f'--workers must be at least 1, is {workers}.')
    # torchrun starts several such programs on one machine.
    beside = int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    workers = workers or max(num_cores() // beside, 1)
    scope = cfg.get('default_scope', 'mmseg')
    init_default_scope(scope)
    described = cfg.get('refine_dataset') or {}
    settings = _plain({
        key: described[key]
        for key in ('pipeline', 'proposal_dir') if key in described
    })
    folder = _place(cfg, None if cams is None else str(cams), out)
    dataset = DATASETS.build(cfg.refine_dataset)
    writers = _writers(cfg, dataset.pipeline.transforms, folder)
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    check_stage_classes(folder, dataset.metainfo['classes'])
    settings.update(
        classes=list(dataset.metainfo['classes']), cams=_source(folder))
    pipeline = _plain_pipeline(cfg, dataset)
    shard = parse_shard(shard)
    ours = shard.of(infos)
    ids = [info['img_id'] for info in infos]
    paths = {i: [p for w in writers for p in w.paths(i)] for i in ids}
    folders = {out, *(f for w in writers for f in w.folders())}

    def clean() -> None:
        if shard.count == 1:
            _remove_temporary(sorted(folders))
        else:
            remove_temporary_of(
                p for info in ours for p in paths[info['img_id']])

    def prepare() -> List[dict]:
        clean()
        _check_settings(out, settings, paths, overwrite, shard)
        todo = [
            info for info in ours
            if not all(p.exists() for p in paths[info['img_id']])
        ]
        _check_cams(folder, todo)
        if todo:
            for f in folders:
                (f / MANIFEST).unlink(missing_ok=True)
        return todo

    with _sigterm_raises(), exclusive(out, shard, prepare) as todo:
        start = time.perf_counter()
        print_log(
            f'{len(todo)} of {len(ours)} images to do with {workers} '
            f'worker(s), from {folder} to {out}.' +
            (f' This is shard {shard} ({shard.source}) of {len(infos)} images.'
             if shard.count > 1 else ''),
            logger='current')
        try:
            with Progress(len(todo)) as progress:
                run_pool(todo, pipeline, workers, scope,
                         cfg.get('custom_imports', {}).get('imports', ()),
                         progress.step)
        finally:
            clean()
        missing = [
            i for i in ids if not all(p.exists() for p in paths[i])
        ] if shard.count > 1 else []
        if missing:
            print_log(
                f'Shard {shard} is done; {len(missing)} images of the others '
                'are not yet.',
                logger='current')
        for writer in writers if not missing else ():
            writer.finish(
                mmwsss_version=__version__,
                config=cfg.filename,
                split=getattr(dataset, 'ann_file', None),
                data_root=getattr(dataset, 'data_root', None),
                num_images=len(infos),
                **settings)
    return RefineResult(out, len(ours), len(todo), len(missing),
                        time.perf_counter() - start)


def _plain_pipeline(cfg: Config, dataset: Any) -> List[dict]:
    """The pipeline as workers get it, masks in the dataset's colours."""
    pipeline = cfg.refine_dataset.to_dict()['pipeline']
    palette = dataset.metainfo.get('palette')
    for step in pipeline:
        if issubclass(_class_of(step), SaveMask) and palette:
            step.setdefault('palette', palette)
    return pipeline


def _check_cams(folder: str, infos: Sequence[dict]) -> None:
    """Name missing class maps before anything expensive starts."""
    missing = [
        info['img_id'] for info in infos
        if not cam_path(folder, info['img_id']).is_file()
    ]
    if missing:
        more = f' and {len(missing) - 5} more' if len(missing) > 5 else ''
        raise FileNotFoundError(
            f'{len(missing)} of {len(infos)} image(s) have no class maps in '
            f'{folder}: {", ".join(missing[:5])}{more}. Write those of all '
            'images of this split with: python tools/test.py CONFIG '
            f'CHECKPOINT --out {folder}')
