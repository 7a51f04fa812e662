"""Samplers whose draws carry the randomness of their augmentation."""
from collections.abc import Iterator
from itertools import islice

import numpy as np
from mmengine.dataset import DefaultSampler

from mmwsss.registry import DATA_SAMPLERS


class Draw(int):
    """A dataset index that knows which random numbers it is due.

    It is an ``int`` and works wherever an index does. A dataset that finds
    ``draw_seed`` on its index seeds the random generators with it before it
    runs the pipeline, so the augmentation of the n-th draw of an epoch is the
    same for any number of workers and processes and after a resume.

    Args:
        index (int): Index into the dataset.
        draw_seed (int): Seed in [0, 2**32).
    """

    def __new__(cls, index: int, draw_seed: int) -> 'Draw':
        draw = super().__new__(cls, index)
        draw.draw_seed = draw_seed
        return draw

    # Wrappers such as ConcatDataset and RepeatDataset compute inner indices.
    def __sub__(self, other: int) -> 'Draw':
        return Draw(int(self) - other, self.draw_seed)

    def __mod__(self, other: int) -> 'Draw':
        return Draw(int(self) % other, self.draw_seed)

    def __reduce__(self):
        # Keeps the seed when the index travels to a worker process.
        return Draw, (int(self), self.draw_seed)


@DATA_SAMPLERS.register_module()
class SeededSampler(DefaultSampler):
    """mmengine's ``DefaultSampler`` with one seed per draw.

    The seed is a hash of (run seed, epoch, position in the global order), so
    2 processes see exactly the augmented images that 1 process sees for the
    same global batch, and a resumed run sees what the unbroken one would
    have.

    Args:
        dataset (Sized): The dataset.
        shuffle (bool): Whether to shuffle each epoch. Defaults to True.
        seed (int, optional): Run seed; mmengine passes its own.
            Defaults to None.
        round_up (bool): Whether to repeat samples so that all processes draw
            equally many. Defaults to True.
    """

    def __iter__(self) -> Iterator[Draw]:
        for i, index in enumerate(super().__iter__()):
            position = i * self.world_size + self.rank
            sequence = np.random.SeedSequence(
                (self.seed, self.epoch, position))
            yield Draw(index, int(sequence.generate_state(1)[0]))


@DATA_SAMPLERS.register_module()
class InfiniteSeededSampler(SeededSampler):
    """``SeededSampler`` that goes on with the next epoch, for iteration loops.

    Its data loader never ends, so workers live on and batches run across
    epochs. A resumed run jumps to its place without loading what was drawn
    before.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._skip = 0

    def __iter__(self) -> Iterator[Draw]:
        self.epoch, skip = divmod(self._skip, self.num_samples)
        while True:
            yield from islice(super().__iter__(), skip, None)
            self.epoch += 1
            skip = 0

    def skip(self, num_samples: int) -> None:
        """Leave out draws of this process; mmengine calls it on resume.

        Args:
            num_samples (int): Draws to leave out, from the start of the run.
        """
        self._skip = num_samples

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: the epoch follows from the position."""
