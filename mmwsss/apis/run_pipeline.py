"""Run the stages of a pipeline config: the work of tools/run_pipeline.py."""
import argparse
import os
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator

from filelock import FileLock, Timeout
from mmengine.config import Config

from mmwsss.utils.io import make_folder, remove_temporary

from .pipeline import Pipeline


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Treat a polite kill like Ctrl-C, so that the stage ends too."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _check_options(cfg: Config, options: Dict[str, Any]) -> None:
    """Raise ValueError for settings that would change nothing."""
    variables = cfg.get('variables') or {}
    for option in options:
        first, _, name = option.partition('.')
        if first not in ('variables', 'stages', 'gallery'):
            raise ValueError(
                f'--cfg-options {option}: a pipeline has variables, stages '
                'and gallery only. A setting of a training belongs into its '
                "config, one of all trainings into variables.train_options="
                "'KEY=VALUE'.")
        if first == 'variables' and name and \
                name.partition('.')[0] not in variables:
            raise ValueError(f'--cfg-options {option}: there is no such '
                             'variable, only '
                             f'{", ".join(variables) or "none"}.')


def run_pipeline(args: argparse.Namespace) -> Pipeline:
    """Run a pipeline as the command line says.

    Args:
        args (Namespace): Of ``tools/run_pipeline.py``.

    Returns:
        Pipeline: With its results.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If it is malformed or its results are of another one.
        StageError: If a stage fails.
        RuntimeError: If the pipeline is running already.
    """
    path = Path(args.config)
    if not path.is_file():
        raise FileNotFoundError(f'There is no pipeline config {path}.')
    cfg = Config.fromfile(args.config)
    if args.cfg_options:
        _check_options(cfg, args.cfg_options)
        cfg.merge_from_dict(args.cfg_options)
    work_dir = Path(args.work_dir or
                    f'work_dirs/{path.resolve().parent.name}_{path.stem}')
    make_folder(work_dir)
    workers = args.workers or os.cpu_count() or 1
    lock = FileLock(str(work_dir / '.lock'), timeout=0)
    try:
        with lock, _terminate_as_interrupt():
            remove_temporary(work_dir)  # What a killed run left.
            pipeline = Pipeline(cfg, work_dir, args.processes, workers,
                                not args.no_scores)
            if args.redo:
                pipeline.redo(args.redo)
            pipeline.run(args.until)
            print(pipeline.table())
            if pipeline.scores and any(
                    '*' in row for s in pipeline.stages for row in s.rows):
                print('* tuned on the masks it is scored with')
            # Here, because it imports what takes seconds.
            from .pipeline_gallery import write_pipeline_gallery
            page = write_pipeline_gallery(pipeline)
            if page is not None:
                print(f'Gallery: {page}')
            print(f'Results: {pipeline.file}')
    except Timeout as error:
        raise RuntimeError(f'Another run of this pipeline is at work in '
                           f'{work_dir}.') from error
    return pipeline
