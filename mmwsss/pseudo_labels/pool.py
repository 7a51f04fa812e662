"""A pool of processes that runs a pipeline of transforms over samples."""
import errno
import math
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

import cv2
import torch
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmengine.utils import import_modules_from_strings

from mmwsss.registry import TRANSFORM_PACKAGES
from mmwsss.utils.errors import WorkError

#: Images that a worker gets at once.
CHUNK = 8


class RefineError(WorkError):
    """An image could not be processed; the message names it."""


def num_cores() -> int:
    """Number of cores that this process may use.

    Returns:
        int: At least 1.
    """
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _reason(error: BaseException) -> str:
    """An error in words, with what the reader can do where it is known."""
    text = f'{type(error).__name__}: {error}'
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC,
                                                      errno.EDQUOT):
        text += '. Make room on the disk; the same command then continues.'
    elif not isinstance(error, (OSError, ValueError, KeyError)):
        text += '\n' + traceback.format_exc()  # Most likely a bug.
    return text


def _prepare(pipeline: Sequence[dict], scope: str,
             imports: Sequence[str]) -> Callable[[dict], Any]:
    """Set a worker up: one thread, own signals, own pipeline."""
    # Ctrl-C reaches all processes of a terminal; the parent deals with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    import_modules_from_strings(list(imports))
    init_default_scope(scope)
    return Compose(pipeline)


def _attempt(run: Callable[[dict], Any], info: dict) -> str | None:
    """Process one sample; returns the reason if that fails."""
    try:
        if run(info) is None:
            raise ValueError('the pipeline gave None')
    except Exception as error:
        return _reason(error)
    return None


def _work(conn: Connection, pipeline: Sequence[dict], scope: str,
          imports: Sequence[str]) -> None:
    """Body of a worker: take samples, answer None or why one failed."""
    try:
        try:
            run = _prepare(pipeline, scope, imports)
        except Exception as error:
            conn.recv()
            conn.send(_reason(error))
            return
        while True:
            for info in conn.recv():
                conn.send(_attempt(run, info))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # The parent has all it wants, or is gone.


class _Worker:
    """A process and the samples it has not answered yet."""

    def __init__(self, context, arguments: tuple) -> None:
        self.conn, child = context.Pipe()
        self.process = context.Process(
            target=_work, args=(child, *arguments), daemon=True)
        self.process.start()
        # The pipe must break when the worker dies.
        child.close()
        self.waiting: list[str] = []

    def give(self, infos: Sequence[dict]) -> None:
        self.waiting = [info['img_id'] for info in infos]
        try:
            self.conn.send(infos)
        except OSError as error:
            raise self._died() from error

    def take(self) -> str:
        """Id of the sample that was answered last."""
        try:
            reason = self.conn.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error
        img_id = self.waiting.pop(0)
        if reason is not None:
            raise RefineError(f'Image {img_id} failed: {reason}')
        return img_id

    def _died(self) -> RefineError:
        self.process.join(5)
        code = self.process.exitcode
        how = f'ended with code {code}'
        if code is not None and code < 0:
            how = f'was killed ({signal.Signals(-code).name})'
        return RefineError(
            f'A worker {how} while it had image {self.waiting[0]}. If the '
            'memory was full, take fewer --workers; the same command '
            'continues.')

    def end(self) -> None:
        self.conn.close()
        self.process.terminate()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def run_pool(infos: Sequence[dict],
             pipeline: Sequence[dict],
             workers: int,
             scope: str = 'mmseg',
             imports: Sequence[str] = (),
             on_done: Callable[[str], None] = lambda img_id: None) -> None:
    """Run a pipeline over samples in several processes.

    The processes start from a clean one (not from a copy of this one with
    its threads and locks) and use one thread each. None outlives the call,
    however it ends.

    Args:
        infos (Sequence[dict]): Samples with ``img_id``.
        pipeline (Sequence[dict]): Configs of transforms. What they return is
            dropped.
        workers (int): Number of processes.
        scope (str): Default scope of the registries. Defaults to 'mmseg'.
        imports (Sequence[str]): Modules that register further transforms.
        on_done (Callable): Called in this process with each ``img_id``.

    Raises:
        RefineError: If an image fails or a process dies, naming the image.
    """
    methods = multiprocessing.get_all_start_methods()
    clean = 'forkserver' if 'forkserver' in methods else 'spawn'
    context = multiprocessing.get_context(clean)
    if clean == 'forkserver':
        # torch and mmseg are imported once instead of once per worker.
        context.set_forkserver_preload([__name__, *TRANSFORM_PACKAGES])
    workers = min(workers, len(infos))
    size = max(1, min(CHUNK, math.ceil(len(infos) / (4 * max(workers, 1)))))
    chunks = iter([infos[i:i + size] for i in range(0, len(infos), size)])
    pool: list[_Worker] = []
    try:
        for _ in range(workers):
            pool.append(_Worker(context, (pipeline, scope, imports)))
        by_conn = {worker.conn: worker for worker in pool}
        for worker in pool:
            worker.give(next(chunks, []))
        busy = [w.conn for w in pool if w.waiting]
        while busy:
            for conn in wait(busy):
                worker = by_conn[conn]
                on_done(worker.take())
                if not worker.waiting:
                    chunk = next(chunks, None)
                    if chunk is None:
                        busy.remove(conn)
                    else:
                        worker.give(chunk)
    finally:
        for worker in pool:
            worker.end()
