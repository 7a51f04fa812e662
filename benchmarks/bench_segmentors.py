"""Size and cost of segmentation models in crops of 512 pixels.

    OMP_NUM_THREADS=1 python benchmarks/bench_segmentors.py

Parameters, multiplications and additions of a forward pass (torch's counter,
which knows matrix products and convolutions and not the samples of a
deformable attention), CPU time of a training step of one image with random
weights, and the memory of the process at its peak. Each config runs in a
process of its own. Nothing is compared.
"""
import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.small_models import batch_of, build, load, wrapper  # noqa: E402

CONFIGS = ('segmentation/deeplabv2_r101_voc', 'segmentation/emanet_r101_voc',
           'segmentation/segformer_mit-b2_voc',
           'segmentation/mask2former_r50_voc')


def measure(name: str, size: int) -> dict:
    """Numbers of one config.

    Args:
        name (str): Folder and stem.
        size (int): Side of the crop.

    Returns:
        dict: ``parameters``, ``flops``, ``seconds`` and ``gib``.
    """
    cfg = load(name)
    model = build(cfg)
    batch = batch_of(cfg, tags=((0, 3), ), size=size)
    image = model.data_preprocessor(
        batch_of(cfg, tags=((0, 3), ), size=size), False)['inputs']
    model.eval()
    # Of fused kernels the counter knows nothing.
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        samples = batch['data_samples']
        model.encode_decode(image, [s.metainfo for s in samples])
    model.train()
    for module in model.modules():  # One image has no statistics.
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eval()
    optim = wrapper(cfg, model)
    times = []
    for _ in range(3):
        start = time.process_time()
        model.train_step(
            batch_of(cfg, tags=((0, 3), ), size=size), optim)
        times.append(time.process_time() - start)
    return dict(
        parameters=sum(p.numel() for p in model.parameters()),
        flops=counter.get_total_flops(),
        seconds=sorted(times)[1],
        gib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('configs', nargs='*', default=CONFIGS)
    parser.add_argument('--size', type=int, default=512)
    parser.add_argument('--worker', action='store_true',
                        help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        torch.set_num_threads(1)
        print('\n' + json.dumps(measure(args.configs[0], args.size)))
        return
    print('| config | parameters, million | forward, GFLOPs | training step '
          'of one image, CPU seconds | peak memory of the process, GiB |\n'
          '|---|---|---|---|---|')
    for name in args.configs:
        done = subprocess.run(
            [sys.executable, '-W', 'ignore', __file__, name, '--size',
             str(args.size), '--worker'],
            capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr[-2000:])
        found = json.loads(done.stdout.splitlines()[-1])
        print(f'| {name.split("/")[-1]} | {found["parameters"] / 1e6:.1f} | '
              f'{found["flops"] / 1e9:.0f} | {found["seconds"]:.1f} | '
              f'{found["gib"]:.1f} |', flush=True)


if __name__ == '__main__':
    main()
