"""Thresholds on CAMs that follow how their scores are distributed."""
import numpy as np
import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn

#: Bins of the histograms of scores, which lie in [0, 1].
NUM_BINS = 256
#: As scikit-learn's ``GaussianMixture`` has them.
TOLERANCE, MAX_STEPS, REGULARIZATION = 1e-3, 100, 1e-6


def fit_mixture(values: np.ndarray, counts: np.ndarray,
                means: np.ndarray) -> tuple[np.ndarray, ...]:
    """A mixture of one-dimensional Gaussians, by expectation-maximization.

    It starts with equal weights and variances of 1, and stops where the mean
    log-likelihood changes by less than 1e-3, or after 100 steps.

    Args:
        values (np.ndarray): (B,).
        counts (np.ndarray): How often each occurs, (B,), not all 0.
        means (np.ndarray): Of the Gaussians at the start, (M,).

    Returns:
        tuple[np.ndarray]: Responsibilities (B, M), then weights, means and
        variances, (M,) each.
    """
    counts = counts.astype(np.float64)
    means = means.astype(np.float64)
    weights = np.full(len(means), 1 / len(means))
    variances = np.ones(len(means))
    before = -np.inf
    for _ in range(MAX_STEPS):
        logs = (np.log(weights) - 0.5 * np.log(2 * np.pi * variances) -
                0.5 * (values[:, None] - means)**2 / variances)
        top = logs.max(axis=1, keepdims=True)
        norm = top + np.log(np.exp(logs - top).sum(axis=1, keepdims=True))
        shares = np.exp(logs - norm)
        likelihood = (counts * norm[:, 0]).sum() / counts.sum()
        sums = counts[:, None] * shares
        total = sums.sum(axis=0) + 10 * np.finfo(np.float64).eps
        means = (sums * values[:, None]).sum(axis=0) / total
        variances = (sums * (values[:, None] - means)**2).sum(
            axis=0) / total + REGULARIZATION
        weights = total / total.sum()
        if abs(likelihood - before) < TOLERANCE:
            break
        before = likelihood
    return shares, weights, means, variances


def mixture_thresholds(
        histogram: np.ndarray,
        min_score: float = 0.05) -> tuple[float, float] | None:
    """Where the low scores end and the high ones begin (CoSA).

    Three Gaussians are fitted to the scores above ``min_score``, starting at
    the lowest, the median and the highest. Each score belongs to the most
    likely of them.

    Args:
        histogram (np.ndarray): How many scores each of B equal bins of [0, 1]
            holds, (B,).
        min_score (float): Scores up to it are left out. Defaults to 0.05.

    Returns:
        tuple[float, float] | None: The highest score of the first Gaussian
        and the lowest of the third; None where one of both has none, or the
        former is not below the latter.
    """
    values = (np.arange(len(histogram)) + 0.5) / len(histogram)
    kept = (values > min_score) & (histogram > 0)
    values, counts = values[kept], histogram[kept]
    if len(values) < 3:
        return None
    median = values[np.searchsorted(np.cumsum(counts), counts.sum() / 2)]
    shares = fit_mixture(values, counts,
                         np.array([values[0], median, values[-1]]))[0]
    owner = shares.argmax(axis=1)
    if not (owner == 0).any() or not (owner == 2).any():
        return None
    low, high = values[owner == 0].max(), values[owner == 2].min()
    return (float(low), float(high)) if low < high else None


class AdaptiveThresholds(nn.Module):
    """Background scores that move with the scores of the last batches.

    (CoSA, https://arxiv.org/abs/2402.17891, section on dynamic thresholds.)
    In every step the best scores of all positions of the batch go into a
    histogram, those of the last batches are joined, and the thresholds take a
    small step towards :func:`mixture_thresholds`. Histograms count the scores
    of all processes; they and the thresholds are buffers, so a resumed run
    goes on exactly.

    Args:
        bg_threshold (float): At the start. Defaults to 0.25.
        fg_threshold (float): At the start. Defaults to 0.7.
        history (int): Batches that count. Defaults to 100.
        min_score (float): See :func:`mixture_thresholds`. Defaults to 0.05.
        keep (float): What a threshold keeps of itself. Defaults to 0.99.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(self,
                 bg_threshold: float = 0.25,
                 fg_threshold: float = 0.7,
                 history: int = 100,
                 min_score: float = 0.05,
                 keep: float = 0.99) -> None:
        super().__init__()
        if not 0 <= bg_threshold < fg_threshold:
            raise ValueError(
                f'bg_threshold ({bg_threshold}) must lie in '
                f'[0, fg_threshold), and fg_threshold is {fg_threshold}.')
        if history < 1 or not 0 <= keep <= 1:
            raise ValueError(
                'adaptive_thresholds needs history >= 1 and keep in [0, 1], '
                f'got {history} and {keep}.')
        self.min_score = min_score
        self.keep = keep
        self.register_buffer(
            'histograms', torch.zeros(history, NUM_BINS, dtype=torch.int64))
        self.register_buffer('total', torch.tensor(0))
        #: Those of the background and of classes.
        self.register_buffer(
            'thresholds',
            torch.tensor([bg_threshold, fg_threshold], dtype=torch.float64))

    @torch.no_grad()
    def update(self, scores: Tensor) -> tuple[float, float]:
        """Take the scores of a batch in.

        Args:
            scores (Tensor): In [0, 1], of any shape.

        Returns:
            tuple[float, float]: ``bg_threshold`` and ``fg_threshold`` now. A
            GPU is asked for them, once.
        """
        bins = (scores.flatten() * NUM_BINS).long().clamp(0, NUM_BINS - 1)
        counts = torch.zeros_like(self.histograms[0])
        counts.scatter_add_(0, bins, torch.ones_like(bins))
        all_reduce(counts)
        place = self.total % len(self.histograms)
        self.histograms.index_copy_(0, place[None], counts[None])
        self.total += 1
        found = mixture_thresholds(
            self.histograms.sum(dim=0).cpu().numpy(), self.min_score)
        if found is not None:
            self.thresholds.lerp_(
                self.thresholds.new_tensor(found), 1 - self.keep)
        low, high = self.thresholds.tolist()
        return low, high
