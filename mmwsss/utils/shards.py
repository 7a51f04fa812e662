"""Several machines that work on one folder without stepping on each other.

Each takes every n-th image. Files of images appear whole or not at all, so
machines need no other agreement than which images are whose; the folder gets
its manifest from whoever finds it complete.
"""
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Shard(NamedTuple):
    """A share of the images.

    Attributes:
        index (int): Which, from 1.
        count (int): Of how many.
        source (str): Where this stands, for messages.
    """
    index: int = 1
    count: int = 1
    source: str = ''

    def of(self, items: Sequence[Any]) -> list[Any]:
        """The share of a list.

        Args:
            items (Sequence): The whole, the same for all shards.

        Returns:
            list: Every ``count``-th.
        """
        return list(items)[self.index - 1::self.count]

    def __str__(self) -> str:
        return f'{self.index}/{self.count}'


def parse_shard(text: str | None,
                environment: Mapping[str, str] | None = None) -> Shard:
    """Which images this process does.

    Args:
        text (str, optional): ``i/n``, ``'auto'`` or None.
        environment (Mapping[str, str], optional): Defaults to that of this
            process.

    Returns:
        Shard: 1/1 for all images.

    Raises:
        ValueError: If the text is neither, or 'auto' finds nothing.
    """
    environment = os.environ if environment is None else environment
    if text is not None and text != 'auto':
        match = re.fullmatch(r'\s*(\d+)\s*/\s*(\d+)\s*', text)
        shard = Shard(*map(int, match.groups()), '--shard') if match else None
        if shard is None or not 1 <= shard.index <= shard.count:
            raise ValueError(f'--shard is {text!r}; it must be I/N with I '
                             "from 1 to N, e.g. 1/4, or 'auto'.")
        return shard

    def number(key: str, other: int) -> int:
        value = environment.get(key, '')
        return int(value) if re.fullmatch(r'-?\d+', value) else other

    # Started n times by torchrun or srun; without a step of srun, SLURM_NTASKS
    # only says how many there may be.
    if 'TORCHELASTIC_RUN_ID' in environment or (
            text and 'WORLD_SIZE' in environment and 'RANK' in environment):
        rank, size = number('RANK', 0), number('WORLD_SIZE', 1)
        source = 'torchrun'
    elif 'SLURM_STEP_NUM_TASKS' in environment or (
            text and 'SLURM_NTASKS' in environment):
        rank = number('SLURM_PROCID', 0)
        size = number('SLURM_STEP_NUM_TASKS', number('SLURM_NTASKS', 1))
        source = 'SLURM'
    else:
        rank, size, source = 0, 1, ''
    if text and 'SLURM_ARRAY_TASK_ID' in environment:
        # An array may also stand for seeds or settings, so only if asked.
        step = max(number('SLURM_ARRAY_TASK_STEP', 1), 1)
        first = number('SLURM_ARRAY_TASK_MIN', 0)
        place = (number('SLURM_ARRAY_TASK_ID', 0) - first) // step
        rank, size = place * size + rank, size * number(
            'SLURM_ARRAY_TASK_COUNT', 1)
        source = "SLURM's job array"
    if text and not source:
        raise ValueError('--shard auto finds neither torchrun nor SLURM in '
                         'the environment; say --shard I/N.')
    if not 0 <= rank < size:
        raise ValueError(f'{source} says this is process {rank} of {size}; '
                         'say --shard I/N.')
    return Shard(rank + 1, size, source)
