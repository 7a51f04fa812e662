"""Refine CAMs of a whole data set: the work of tools/refine_cams.py.

A config's ``refine_dataset`` names images and a pipeline that ends in
writers. The pipeline runs over all images in a pool of processes. Images are
independent and their files appear whole, so a run may end at any moment, and
the same command continues it.
"""
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import init_default_scope

from mmwsss.pseudo_labels.cam_file import MANIFEST, cam_path, read_manifest
from mmwsss.pseudo_labels.pool import num_cores, run_pool
from mmwsss.pseudo_labels.transforms.load_cams import LoadCAMs
from mmwsss.pseudo_labels.transforms.writers import SaveMask, Writer
from mmwsss.registry import DATASETS, TRANSFORMS
from mmwsss.utils.progress import Progress
from mmwsss.utils.run_folder import RunFolder, plain, sigterm_raises
from mmwsss.utils.shards import parse_shard
from mmwsss.version import __version__

from .run import ConfigLike, PathLike, load_config


def _writers(cfg: Config, pipeline: Sequence[Any],
             cams: str) -> list[Writer]:
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


def _place(cfg: Config, cams: str | None, out: Path) -> str | None:
    """Set the folders in the dataset; returns that of the CAMs."""
    if cfg.get('refine_dataset') is None:
        raise ValueError(
            f'{cfg.filename} has no refine_dataset: a dataset with tags whose '
            'pipeline loads CAMs and ends in writers, e.g. '
            'refine_dataset = dict(type=..., pipeline=[dict(type='
            "'mmwsss.LoadImage'), dict(type='mmwsss.LoadCAMs'), dict(type="
            "'mmwsss.IRNLabel'), dict(type='mmwsss.SaveMask')]).")
    if 'pipeline' not in cfg.refine_dataset:
        raise ValueError(
            f'refine_dataset of {cfg.filename} has no pipeline of its own; '
            f'its type is {cfg.refine_dataset.get("type")}. CAMs of one data '
            'set are refined at a time: write the part into refine_dataset, '
            'and call tools/refine_cams.py once per part, with the same '
            '--out.')
    found = None
    for step in cfg.refine_dataset.pipeline:
        kind = _class_of(step)
        if issubclass(kind, LoadCAMs):
            found = cams or cfg.refine_dataset.get('cam_dir')
        elif issubclass(kind, Writer):
            step.out_dir = str(out / step.get('out_dir', '.'))
    if found is None:
        raise ValueError(
            'Say where the CAMs are with --cams DIR (write them with: '
            'python tools/test.py CONFIG CHECKPOINT --out DIR); the pipeline '
            "of refine_dataset must have a step dict(type='mmwsss.LoadCAMs')"
            '.')
    if not Path(found).is_dir():
        raise FileNotFoundError(
            f'There is no folder of CAMs {found}. Write them with: '
            f'python tools/test.py CONFIG CHECKPOINT --out {found}')
    cfg.refine_dataset.cam_dir = found
    return found


def _source(folder: str) -> dict:
    """What tells one folder of CAMs from another."""
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
                cams: PathLike | None = None,
                out: PathLike | None = None,
                *,
                workers: int | None = None,
                shard: str | None = None,
                overwrite: bool = False,
                cfg_options: Mapping[str, Any] | None = None
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
            :func:`~mmwsss.utils.shards.parse_shard`.
        overwrite (bool): Whether to replace results, also those of other
            settings. Defaults to False.
        cfg_options (Mapping[str, Any], optional): See
            :func:`~mmwsss.apis.load_config`.

    Returns:
        RefineResult: Counts.

    Raises:
        FileNotFoundError: If the config, images, tags or CAMs are
            missing.
        ValueError: If the config does not say what to do, or the folder
            holds files made with other settings, or the CAMs were made
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
    # Before folders are filled in, which say nothing about the content.
    settings = plain({
        key: described[key]
        for key in ('pipeline', 'proposal_dir') if key in described
    })
    folder = _place(cfg, None if cams is None else str(cams), out)
    dataset = DATASETS.build(cfg.refine_dataset)
    writers = _writers(cfg, dataset.pipeline.transforms, folder)
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    settings.update(
        classes=list(dataset.metainfo['classes']), cams=_source(folder))
    pipeline = _plain_pipeline(cfg, dataset)
    by_id = {info['img_id']: info for info in infos}
    run = RunFolder(
        out, {i: [p for w in writers for p in w.paths(i)] for i in by_id},
        settings, parse_shard(shard), overwrite)
    shard = run.shard
    with sigterm_raises(), run.claimed() as todo:
        _check_cams(folder, todo)
        if todo:
            run.start()
        start = time.perf_counter()
        print_log(
            f'{len(todo)} of {len(run.ids)} images to do with {workers} '
            f'worker(s), from {folder} to {out}.' +
            (f' This is shard {shard} ({shard.source}) of {len(infos)} images.'
             if shard.count > 1 else ''),
            logger='current')
        with Progress(len(todo)) as progress:
            run_pool([by_id[i] for i in todo], pipeline, workers, scope,
                     cfg.get('custom_imports', {}).get('imports', ()),
                     progress.step)
        missing = run.missing() if shard.count > 1 else []
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
                **run.settings)
    return RefineResult(out, len(run.ids), len(todo), len(missing),
                        time.perf_counter() - start)


def _plain_pipeline(cfg: Config, dataset: Any) -> list[dict]:
    """The pipeline as workers get it, masks in the dataset's colours."""
    pipeline = cfg.refine_dataset.to_dict()['pipeline']
    palette = dataset.metainfo.get('palette')
    for step in pipeline:
        if issubclass(_class_of(step), SaveMask) and palette:
            step.setdefault('palette', palette)
    return pipeline


def _check_cams(folder: str, ids: Sequence[str]) -> None:
    """Name missing CAMs before anything expensive starts."""
    missing = [i for i in ids if not cam_path(folder, i).is_file()]
    if missing:
        more = f' and {len(missing) - 5} more' if len(missing) > 5 else ''
        raise FileNotFoundError(
            f'{len(missing)} of {len(ids)} image(s) have no CAMs in '
            f'{folder}: {", ".join(missing[:5])}{more}. Write those of all '
            'images of this split with: python tools/test.py CONFIG '
            f'CHECKPOINT --out {folder}')
