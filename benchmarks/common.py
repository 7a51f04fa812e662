"""What the benchmarks share: models, timing in turns, tables."""
import logging
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from mmengine.registry import init_default_scope

from mmwsss.registry import MODELS

WIDTHS = {'deit-tiny': 192, 'deit-small': 384, 'base': 768, 'hybrid': 768}


def machine() -> str:
    """One line about what this runs on."""
    model = platform.processor() or platform.machine()
    try:
        with open('/proc/cpuinfo') as f:
            model = next(
                x.split(':')[1].strip() for x in f if 'model name' in x)
    except (OSError, StopIteration):
        pass
    return (f'torch {torch.__version__}, {torch.get_num_threads()} threads, '
            f'{model}')


def build_classifier(backbone: str,
                     size: int,
                     localizer: dict | None = None,
                     **model: Any) -> torch.nn.Module:
    """A 20-class CAMSegmentor with random weights.

    Args:
        backbone (str): ``'hybrid'`` or an arch of ``AttentionViT``.
        size (int): Input size.
        localizer (dict, optional): Defaults to GETAM.
        **model: Further arguments of ``CAMSegmentor``.

    Returns:
        nn.Module: The model.
    """
    init_default_scope('mmseg')
    logging.disable(logging.INFO)
    torch.manual_seed(0)
    hybrid = backbone == 'hybrid'
    return MODELS.build(
        dict(
            type='mmwsss.CAMSegmentor',
            backbone=dict(
                type='mmwsss.HybridViT' if hybrid else 'mmwsss.AttentionViT',
                arch='base' if hybrid else backbone,
                img_size=size),
            cls_head=dict(
                type='mmwsss.ClassTokenHead',
                num_classes=20,
                in_channels=WIDTHS[backbone]),
            localizer=localizer or dict(type='mmwsss.GETAM'),
            **model))


def timed(first: Callable, second: Callable,
          repeats: int) -> tuple[Any, Any, tuple[float, float, float]]:
    """Run two functions in turns after one warm-up each.

    Args:
        first (Callable): The reference.
        second (Callable): Ours.
        repeats (int): Counted runs of each.

    Returns:
        tuple: Both results and (median seconds of the first, of the second,
        median of the ratios pair by pair).
    """
    a, b = first(), second()
    times = []
    for _ in range(repeats):
        pair = []
        for func in (first, second):
            start = time.perf_counter()
            func()
            pair.append(time.perf_counter() - start)
        times.append(pair)
    return a, b, (statistics.median(x for x, _ in times),
                  statistics.median(y for _, y in times),
                  statistics.median(x / y for x, y in times))


def ratio_table(title: str, rows, names=('published', 'ours')) -> None:
    """Print a table of (case, seconds, seconds, ratio, max. error)."""
    print(f'\n{title}')
    print(f'{"":28}{names[0]:>12}{names[1]:>12}{"ratio":>9}{"error":>11}')
    for case, a, b, ratio, error in rows:
        print(f'{case:28}{a * 1e3:>9.1f} ms{b * 1e3:>9.1f} ms'
              f'{ratio:>8.2f}x{error:>11.1e}')
