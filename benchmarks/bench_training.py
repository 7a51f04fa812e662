"""How should a classifier be trained whose CAMs are read? A table on voc_mini.

Trains configs as they are, or with frozen lower layers and other learning
rates, and scores their CAMs. A variant FROZEN/RATE sets
``model.backbone.frozen_stages`` (or ``none``) and the learning rate; heads
learn ten times as fast. Without --final two thirds of the training images
train and the others are scored, so that nothing is chosen on validation
images. Finished runs are not run again.

    python benchmarks/bench_training.py configs/cam/cam_lite2-160_voc-mini.py \
        --variants 99/1e-4 6/1e-4 5/1e-4 none/1e-4 none/3e-5 --seeds 0
    python benchmarks/bench_training.py configs/cam/cam_lite2-160_voc-mini.py \
        configs/seam/seam_lite2-160_voc-mini.py --final --maps --seeds 0 1 2
"""
import argparse
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev

from common import machine
from prettytable import PrettyTable

ROOT = Path(__file__).resolve().parents[1]
LISTS = ROOT / 'data/voc_mini/ImageSets/Segmentation'
#: Share of the training images that are scored instead of trained on.
HELD_OUT = 1 / 3
COLUMNS = {
    'tuned': 'mIoU_subset',
    'fixed': 'mIoU_subset_fixed',
    'all classes, tuned': 'mIoU',
    'mFP': 'mFP',
    'mFN': 'mFN',
    's per step': 'seconds'
}


def lists(folder: Path) -> tuple[Path, Path]:
    """Write the lists of the images that train and that are scored."""
    ids = sorted((LISTS / 'train_bal.txt').read_text().split())
    random.Random(0).shuffle(ids)
    count = round(len(ids) * HELD_OUT)
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / 'train.txt', folder / 'scored.txt'
    for path, part in zip(paths, (ids[count:], ids[:count])):
        path.write_text('\n'.join(part) + '\n')
    return paths


def score(work_dir: Path) -> dict | None:
    """What a finished run measured, and its median step in seconds."""
    for path in sorted(work_dir.glob('*/vis_data/scalars.json'))[::-1]:
        lines = [json.loads(x) for x in path.read_text().splitlines()]
        times = sorted(x['time'] for x in lines if 'loss' in x)
        if lines and 'mIoU_subset' in lines[-1]:
            return dict(lines[-1], seconds=times[len(times) // 2])
    return None


def call(tool: str, *args: object) -> None:
    """Run a tool of this repository on one thread."""
    subprocess.run([sys.executable, f'tools/{tool}.py', *map(str, args)],
                   cwd=ROOT,
                   check=True,
                   stdout=subprocess.DEVNULL,
                   env=dict(os.environ, OMP_NUM_THREADS='1'))


def run(config: str, variant: str, seed: int,
        args: argparse.Namespace) -> dict:
    """Train and score one variant of a config with one seed."""
    name = Path(config).stem + (f'_{variant}' if variant else '')
    work_dir = (args.out / ('val' if args.final else 'held-out') /
                f'{name.replace("/", "_")}_s{seed}').resolve()
    if score(work_dir) is None:
        # One process does all the work, so that runs can be timed.
        options = [
            f'{loader}_dataloader.{option}' for loader in ('train', 'val')
            for option in ('num_workers=0', 'persistent_workers=False')
        ]
        options.append(f'randomness.seed={seed}')
        if variant:
            frozen, rate = variant.split('/')
            options += [
                'model.backbone.frozen_stages='
                f'{-1 if frozen == "none" else frozen}',
                f'optim_wrapper.optimizer.lr={rate}'
            ]
        if not args.final:
            train, scored = lists(args.out.resolve())
            options += [
                f'train_dataloader.dataset.ann_file={train}',
                f'val_dataloader.dataset.ann_file={scored}'
            ]
        call('train', config, '--work-dir', work_dir, '--cfg-options',
             *options, *args.options)
    count = len((LISTS / 'train_bal.txt').read_text().split())
    if args.maps and len(list((work_dir / 'maps').glob('*.npz'))) < count:
        call('test', config, work_dir, '--train-images', '--out',
             work_dir / 'maps')
    return score(work_dir)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+')
    parser.add_argument(
        '--variants', nargs='+', default=[''], metavar='FROZEN/RATE')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--final', action='store_true',
                        help='train on the whole list, score val_bal')
    parser.add_argument('--maps', action='store_true',
                        help='also save the CAMs of the training images')
    parser.add_argument('--options', nargs='+', default=[],
                        metavar='KEY=VALUE', help='further --cfg-options')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/training'))
    args = parser.parse_args()
    print(machine(), flush=True)
    table = PrettyTable(['config', 'variant', *COLUMNS])
    for config in args.configs:
        for variant in args.variants:
            found = []
            for seed in args.seeds:
                found.append(run(config, variant, seed, args))
                print(Path(config).stem, variant, seed,
                      {c: round(found[-1][k], 2) for c, k in COLUMNS.items()},
                      flush=True)
            table.add_row([Path(config).stem, variant or 'as it is'] + [
                cell([x[key] for x in found]) for key in COLUMNS.values()
            ])
    print(table)


def cell(values: list[float]) -> str:
    """Single values, then mean and standard deviation."""
    text = ', '.join(f'{v:.1f}' for v in values)
    if len(values) > 1:
        text += f': {mean(values):.1f} ± {stdev(values):.1f}'
    return text


if __name__ == '__main__':
    main()
