"""What all plots have in common."""
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmwsss.utils.io import atomic_write


def new_figure(height: float = 4.8) -> tuple[Figure, Axes]:
    """An empty plot.

    Args:
        height (float): In inches; the width is 6.4. Defaults to 4.8.

    Returns:
        tuple[Figure, Axes]: The figure and its only axes.
    """
    # No pyplot: it would choose the process-wide backend.
    figure = Figure(figsize=(6.4, height), dpi=120, layout='constrained')
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def legend_below(axes: Axes, columns: int, **kwargs: Any) -> None:
    """A legend below the axes, where it hides no curve.

    Args:
        axes (Axes): Of the plot.
        columns (int): Of the legend.
        **kwargs: For matplotlib's ``legend``.
    """
    axes.legend(
        fontsize=8,
        loc='upper center',
        bbox_to_anchor=(0.5, -0.15),
        ncol=columns,
        **kwargs)


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a plot.

    Args:
        figure (Figure): The plot.
        path (str | Path): The PNG file.

    Returns:
        Path: ``path``.
    """
    path = Path(path)
    with atomic_write(path) as temp:
        figure.savefig(temp, format='png')
    return path
