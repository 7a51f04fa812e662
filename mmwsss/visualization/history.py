"""How results changed over a training, as a picture."""
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.ticker import MaxNLocator

from .figure import legend_below, new_figure, save_figure


def plot_history(path: str | Path,
                 curves: Mapping[str, Sequence[tuple[float, float]]],
                 unit: str = 'epoch',
                 switch: float | None = None) -> Path:
    """Draw the results of all validations of a training.

    Args:
        path (str | Path): The PNG file.
        curves (Mapping[str, Sequence[tuple[float, float]]]): Name to the
            moment and value of each validation, in percent; moments rise.
        unit (str): What moments count. Defaults to 'epoch'.
        switch (float, optional): Moment at which the second phase of the
            training begins. Defaults to None.

    Returns:
        Path: ``path``.
    """
    figure, axes = new_figure(height=4.0)
    for (name, points), marker in zip(curves.items(), 'osd^v' * len(curves)):
        axes.plot(*zip(*points), marker=marker, ms=4, lw=2, label=name)
    if switch is not None:
        axes.axvline(
            switch, color='gray', lw=1, ls=':', label='phase 2 begins')
    axes.set_ylim(0, 100)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(unit)
    axes.set_ylabel('percent')
    axes.grid(alpha=0.3)
    legend_below(axes, columns=2)
    return save_figure(figure, path)
