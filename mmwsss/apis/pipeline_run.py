"""Run the stages of a pipeline config: the work of tools/run_pipeline.py."""
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from mmengine.config import Config

from mmwsss.utils.errors import WorkError
from mmwsss.utils.io import make_folder, remove_temporary

from .pipeline import PathLike, Pipeline


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


def _check_options(cfg: Config, options: Mapping[str, Any]) -> None:
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


def load_pipeline_config(config: PathLike,
                         cfg_options: Mapping[str, Any] | None = None
                         ) -> Config:
    """Read a pipeline config and apply options to it.

    Args:
        config (str | Path): The file.
        cfg_options (Mapping[str, Any], optional): Dotted key -> value.

    Returns:
        Config: The config.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If an option would change nothing.
    """
    path = Path(config)
    if not path.is_file():
        raise FileNotFoundError(f'There is no pipeline config {path}.')
    cfg = Config.fromfile(path)
    if cfg_options:
        _check_options(cfg, cfg_options)
        cfg.merge_from_dict(dict(cfg_options))
    return cfg


def run_pipeline(config: PathLike,
                 *,
                 work_dir: PathLike | None = None,
                 processes: int = 1,
                 workers: int | None = None,
                 until: str | None = None,
                 redo: str | None = None,
                 scores: bool = True,
                 cfg_options: dict[str, Any] | None = None) -> Pipeline:
    """Run all stages of a pipeline; skips those that are finished.

    Args:
        config (str | Path): The pipeline config.
        work_dir (str | Path, optional): Folder for the stages. Defaults to
            ``work_dirs/<folder>_<name>`` of the config.
        processes (int): Processes of trainings and tests. Defaults to 1.
        workers (int, optional): Processes of stages on CPU cores. Defaults
            to one per core.
        until (str, optional): The last stage to run.
        redo (str, optional): A stage to run anew, with all that follows.
        scores (bool): Whether to score with true masks. Defaults to True.
        cfg_options (dict[str, Any], optional): Dotted key -> value.

    Returns:
        Pipeline: With its results; ``page`` is its gallery.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If it is malformed or its results are of another one.
        StageError: If a stage fails.
        WorkError: If the pipeline is running already.
    """
    path = Path(config)
    cfg = load_pipeline_config(path, cfg_options)
    work_dir = Path(work_dir or
                    f'work_dirs/{path.resolve().parent.name}_{path.stem}')
    make_folder(work_dir)
    workers = workers or os.cpu_count() or 1
    lock = FileLock(str(work_dir / '.lock'), timeout=0)
    try:
        with lock, _terminate_as_interrupt():
            remove_temporary(work_dir)  # What a killed run left.
            pipeline = Pipeline(cfg, work_dir, processes, workers, scores)
            if redo:
                pipeline.redo(redo)
            pipeline.run(until)
            # Here, because it imports what takes seconds.
            from .pipeline_gallery import write_pipeline_gallery
            pipeline.page = write_pipeline_gallery(pipeline)
    except Timeout as error:
        raise WorkError(f'Another run of this pipeline is at work in '
                           f'{work_dir}.') from error
    return pipeline
