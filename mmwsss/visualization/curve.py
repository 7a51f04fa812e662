"""mIoU over background thresholds as a picture."""
from pathlib import Path
from typing import Any

from .figure import legend_below, new_figure, save_figure


def plot_curve(path: str | Path,
               curve: dict[str, Any],
               references: dict[str, dict[str, Any]] | None = None,
               title: str | None = None) -> Path:
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
    figure, axes = new_figure()
    axes.plot(
        curve['thresholds'],
        curve['miou_curve'],
        color='tab:blue',
        lw=2,
        label='CAMs')
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
    legend_below(axes, columns=2)
    axes.set_title(
        title or f'{curve.get("split") or "evaluated split"}, '
        f'{curve["num_images"]} images',
        fontsize=10)
    return save_figure(figure, path)
