"""How many visual words a run uses, as a picture."""
from collections.abc import Sequence
from pathlib import Path

from .figure import legend_below, new_figure, save_figure


def plot_word_usage(path: str | Path,
                    usage: Sequence[tuple[int, float, float]],
                    num_words: int) -> Path:
    """Draw the use of the codebook over a training.

    Args:
        path (str | Path): The PNG file.
        usage (Sequence[tuple[int, float, float]]): Per logged step its
            number, the distinct words in a batch, and the entropy of their
            usage in nats.
        num_words (int): K, words of the codebook.

    Returns:
        Path: ``path``.
    """
    steps, alive, entropy = zip(*usage)
    figure, axes = new_figure(height=4.0)
    lines = axes.plot(
        steps, alive, color='tab:blue', lw=2, label='words in a batch')
    lines.append(
        axes.axhline(
            num_words, color='gray', lw=1, ls=':', label=f'all {num_words}'))
    axes.set_ylim(0, 1.05 * num_words)
    axes.set_xlabel('training step')
    axes.set_ylabel('distinct words')
    axes.grid(alpha=0.3)
    right = axes.twinx()
    lines += right.plot(
        steps, entropy, color='tab:orange', lw=2, label='entropy of their use')
    right.set_ylim(bottom=0)
    right.set_ylabel('entropy (nats)')
    legend_below(axes, columns=3, handles=lines)
    return save_figure(figure, path)
