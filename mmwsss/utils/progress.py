"""How far a long run over images is."""
import sys
import time
from typing import Any

from mmengine.logging import print_log
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn
from rich.progress import Progress as Bar


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
            self.bar = Bar(
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
