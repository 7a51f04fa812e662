"""mIoU over background thresholds as a picture."""
from pathlib import Path
from typing import Any, Dict, Optional, Union

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmwsss.utils.io import atomic_write


def plot_curve(path: Union[str, Path],
               curve: Dict[str, Any],
               references: Optional[Dict[str, Dict[str, Any]]] = None,
               title: Optional[str] = None) -> Path:
    """Draw a threshold curve with its best and its fixed threshold.

    Args:
        path (str | Path): The PNG file.
        curve (dict): ``CAMIoUMetric.curve``.
        references (dict[str, dict], optional): Further curves by name, e.g.
            of the untrained model.
        title (str, optional): None says split and number of images.

    Returns:
        Path: ``path``.
    """
    # No pyplot: it would choose the process-wide backend.
    figure = Figure(figsize=(6.4, 4.8), dpi=120, layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(
        curve['thresholds'],
        curve['miou_curve'],
        color='tab:blue',
        lw=2,
        label='class maps')
    for i, (name, other) in enumerate((references or {}).items()):
        axes.plot(
            other['thresholds'],
            other['miou_curve'],
            color=f'C{2 + i}',
            ls='--',
            label=name)
    axes.plot(
        curve['threshold'],
        curve['mIoU'],
        'o',
        color='tab:blue',
        label=f'best: {curve["mIoU"]:.1f} at t = {curve["threshold"]:.2f} '
        '(tuned on the labels)')
    axes.plot(
        curve['fixed_threshold'],
        curve['mIoU_fixed'],
        's',
        color='tab:orange',
        label=f'fixed: {curve["mIoU_fixed"]:.1f} at '
        f't = {curve["fixed_threshold"]:.2f}')
    for key, name, style in (('mIoU_all_background', 'all background', ':'),
                             ('mIoU_tag_fill', 'first tag everywhere', '-.')):
        if key in curve:
            axes.axhline(
                curve[key],
                color='gray',
                lw=1,
                ls=style,
                label=f'{name}: {curve[key]:.1f}')
    axes.set_xlabel('background threshold t')
    axes.set_ylabel('mIoU (%)')
    axes.set_ylim(bottom=0)
    axes.set_xlim(min(curve['thresholds']), max(curve['thresholds']) + 1e-6)
    axes.grid(alpha=0.3)
    # Below the axes, where it hides no curve.
    axes.legend(
        fontsize=8, loc='upper center', bbox_to_anchor=(0.5, -0.13), ncol=2)
    axes.set_title(
        title or f'{curve.get("split") or "evaluated split"}, '
        f'{curve["num_images"]} images',
        fontsize=10)
    path = Path(path)
    with atomic_write(path) as temp:
        figure.savefig(temp, format='png')
    return path
