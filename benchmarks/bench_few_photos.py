"""How many photographs do frozen features need? A table on voc_mini.

Runs configs/frozen/pipeline_voc-mini.py (or another one, --pipeline) on random
subsets of the training images and scores the model on the validation images,
with and without image-level labels. Finished runs are not run again.

    python benchmarks/bench_few_photos.py --sizes 30 60 150 345 --seeds 0 1
"""
import argparse
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
from mmengine.config import Config
from prettytable import PrettyTable

ROOT = Path(__file__).resolve().parents[1]
LISTS = 'ImageSets/Segmentation'


def child(base: str, changes: str) -> str:
    """A config that inherits another one."""
    return f'_base_ = {str(ROOT / base)!r}\n{changes}\n'


def write_configs(folder: Path, pipeline: str, ann_file: Path) -> Path:
    """The configs of a pipeline, on other training images.

    Args:
        folder (Path): Where to.
        pipeline (str): Pipeline config.
        ann_file (Path): List of the training images.

    Returns:
        Path: The pipeline config.
    """
    variables = Config.fromfile(ROOT / pipeline).variables
    name = repr(str(ann_file))
    train = f'train_dataloader = dict(dataset=dict(ann_file={name}))'
    changes = dict(
        classifier=train,
        affinity_config=train,
        label_config=f'refine_dataset = dict(ann_file={name})\n{train}',
        segmentor='train_dataloader = dict(dataset=dict(dataset=dict('
        f'ann_file={name})))')
    paths = {}
    for key, change in changes.items():
        paths[key] = str(folder / f'{key}.py')
        Path(paths[key]).write_text(child(variables[key], change))
    paths['scored_on'] = f'{paths["classifier"]} --train-images'
    path = folder / 'pipeline.py'
    path.write_text(child(pipeline, f'variables = dict(**{paths!r})'))
    return path


def run(size: int, seed: int, args: argparse.Namespace) -> dict:
    """One subset: mIoU with and without labels, before and after PAMR."""
    folder = args.work_dir.resolve() / f'{size}_seed{seed}'
    folder.mkdir(parents=True, exist_ok=True)
    data_root = Path(Config.fromfile(ROOT / Config.fromfile(
        ROOT / args.pipeline).variables.classifier).data_root)
    ids = (data_root / LISTS / f'{args.split}.txt').read_text().split()
    random.Random(seed).shuffle(ids)
    ann_file = folder / 'train.txt'
    ann_file.write_text('\n'.join(sorted(ids[:size])) + '\n')
    pipeline = write_configs(folder, args.pipeline, ann_file)
    subprocess.run([
        sys.executable, str(ROOT / 'tools/run_pipeline.py'), str(pipeline),
        '--work-dir', str(folder / 'stages'), '--workers', '1',
        '--cfg-options', f'variables.seed={seed}'
    ], check=True)
    results = json.loads((folder / 'stages/results.json').read_text())
    metrics = {s['name']: s['metrics'] for s in results['stages']}
    return {
        (stage, step): metrics[stage][f'mIoU_subset_{step}']
        for stage in ('test', 'test_labels')
        for step in ('FrozenAffinity', 'PAMR')
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--sizes', type=int, nargs='+',
                        default=[30, 60, 150, 345])
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1])
    parser.add_argument('--split', default='train_bal')
    parser.add_argument('--pipeline',
                        default='configs/frozen/pipeline_voc-mini.py')
    parser.add_argument('--work-dir', type=Path,
                        default=Path('work_dirs/few_photos'))
    args = parser.parse_args()
    table = PrettyTable([
        'photographs', 'with labels', '+ PAMR', 'without labels', '+ PAMR '
    ])
    for size in args.sizes:
        found = [run(size, seed, args) for seed in args.seeds]
        table.add_row([size] + [
            ', '.join(f'{f[key]:.1f}' for f in found) +
            f': {np.mean([f[key] for f in found]):.1f}'
            for key in (('test_labels', 'FrozenAffinity'),
                        ('test_labels', 'PAMR'), ('test', 'FrozenAffinity'),
                        ('test', 'PAMR'))
        ])
        print(table, flush=True)


if __name__ == '__main__':
    main()
