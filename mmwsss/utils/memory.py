"""Errors of memory that say what to do."""
from collections.abc import Iterator
from contextlib import contextmanager

#: How torch says it, on CPU, CUDA and elsewhere.
_SAID = ('out of memory', "can't allocate memory", 'not enough memory',
         'cublas_status_alloc_failed')


@contextmanager
def explain_memory(what: str, advice: str) -> Iterator[None]:
    """Name what did not fit into memory, and the setting that helps.

    Linux may end a process that takes too much main memory without any
    error; then nothing can be said.

    Args:
        what (str): What was being worked on, e.g. an image and its size.
        advice (str): What to do.

    Raises:
        MemoryError: In place of any error of allocation.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        if isinstance(error, RuntimeError) and not any(
                words in text.lower() for words in _SAID):
            raise
        reason = (text.splitlines() or [type(error).__name__])[0]
        raise MemoryError(f'Not enough memory for {what}: {reason} '
                          f'{advice}') from error
