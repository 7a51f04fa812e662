"""Where a training step makes the host wait, and what takes its time.

    python benchmarks/profile_step.py seam/seam_r18_shapes --device cuda
    python benchmarks/profile_step.py getam/getam_vit_shapes --device pretended

On a GPU: every place that waits for it, with how often, then the kernels that
take longest. On the pretended one of tests/fake_gpu.py: launches and waits by
place, and no times. Weights are random, images are made up; the step that is
looked at is the last of several, since the first ones measure and make tables.
"""
import argparse
import collections
import logging
import sys
import time
import traceback
import warnings
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.fake_gpu import FakeGPU  # noqa: E402
from tests.small_models import (  # noqa: E402
    batch_of,
    build,
    load,
    set_phase,
    wrapper,
)


def place() -> str:
    """The innermost line of ours that is running."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if 'mmwsss' in path.parts and path != Path(__file__):
            return f'{"/".join(path.parts[-3:])}:{frame.lineno}'
    return 'mmengine or torch'


def waits_of(step) -> collections.Counter:
    """Places that wait for a CUDA device, with how often."""
    found: collections.Counter = collections.Counter()

    def note(message, category, *_, **__) -> None:
        if 'synchroniz' in str(message):
            found[place()] += 1

    with warnings.catch_warnings():
        warnings.simplefilter('always')
        warnings.showwarning = note
        torch.cuda.set_sync_debug_mode('warn')
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode('default')
    return found


def on_cuda(args: argparse.Namespace, step) -> None:
    """Waits, time and the longest kernels of a step."""
    table = Table('waits', 'where', title='The host waits for the device')
    for where, number in waits_of(step).most_common(args.rows):
        table.add_row(str(number), where)
    Console().print(table)
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(args.steps):
        step()
    torch.cuda.synchronize()
    seconds = (time.perf_counter() - start) / args.steps
    with profile(activities=[ProfilerActivity.CPU,
                             ProfilerActivity.CUDA]) as record:
        step()
        torch.cuda.synchronize()
    print(record.key_averages().table(
        sort_by='self_cuda_time_total', row_limit=args.rows))
    print(f'{1000 * seconds:.1f} ms per step of {args.batch_size} images')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument(
        'config', help='folder and stem, e.g. seam/seam_r18_shapes')
    parser.add_argument(
        '--device', choices=['cuda', 'pretended'], default='pretended')
    parser.add_argument('--batch-size', type=int, default=4, metavar='N')
    parser.add_argument(
        '--size', type=int, metavar='PIXELS', help='default: small')
    parser.add_argument('--steps', type=int, default=10, metavar='N')
    parser.add_argument('--rows', type=int, default=15, metavar='N')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    logging.disable(logging.INFO)
    cfg = load(args.config.removeprefix('configs/').removesuffix('.py'))
    set_phase(second=True)
    size = {} if args.size is None else dict(size=args.size)
    batch = dict(tags=[(0, 1)] * args.batch_size, **size)
    if args.device == 'pretended':
        with FakeGPU() as gpu:
            model = build(cfg).to(gpu.device).train()
            optim = wrapper(cfg, model)
            model.train_step(batch_of(cfg, **batch), optim)
            with gpu.counting() as counts:
                model.train_step(batch_of(cfg, **batch), optim)
        print(counts.report())
        return
    if not torch.cuda.is_available():
        raise SystemExit('error: torch finds no CUDA device here; '
                         '--device pretended counts launches and waits.')
    model = build(cfg).cuda().train()
    optim = wrapper(cfg, model)

    def step() -> None:
        model.train_step(batch_of(cfg, **batch), optim)

    for _ in range(3):
        step()
    on_cuda(args, step)


if __name__ == '__main__':
    main()
