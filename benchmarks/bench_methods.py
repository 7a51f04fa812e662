"""What a training step of each method costs, against plain classification.

The models of the Shapes configs, images of 96 pixels, random weights, all
terms of the losses on. Each method's step is timed in turns with that of the
plain classifier on the same network, one view; medians of the ratios.
Parameters are all those of the model that trains at full size.

    OMP_NUM_THREADS=1 python benchmarks/bench_methods.py

The table is that of docs/methods.md.
"""
import argparse
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median

import torch
from common import machine
from mmengine.registry import MODELS
from prettytable import PrettyTable

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.small_models import (  # noqa: E402
    batch_of,
    build,
    load,
    set_phase,
    wrapper,
)

#: Method -> config of Shapes, the classifier it is compared with, full size.
METHODS = {
    'CAM, ResNet': ('cam/cam_r18_shapes', 'cam/cam_r18_shapes',
                    'cam/cam_r50_voc'),
    'CAM, ViT': ('cam/cam_vit_shapes', 'cam/cam_vit_shapes',
                 'cam/cam_vit_voc'),
    'ACR': ('acr/acr_vit_shapes', 'cam/cam_vit_shapes', 'acr/acr_vit_voc'),
    'SEAM': ('seam/seam_r18_shapes', 'cam/cam_r18_shapes',
             'seam/seam_resnet38_voc'),
    'VWL-L': ('vwl/vwl-l_r18_shapes', 'cam/cam_r18_shapes',
              'vwl/vwl-l_r101_voc'),
    'VWL-M': ('vwl/vwl-m_r18_shapes', 'cam/cam_r18_shapes',
              'vwl/vwl-m_r101_voc'),
    'FBR on AMN': ('fbr/fbr_r18-amn_shapes', 'cam/cam_r18_shapes',
                   'fbr/fbr_r50-amn_voc'),
    'FBR on EPS and PPC': ('fbr/fbr_r18-eps-ppc_shapes',
                           'cam/cam_r18_shapes',
                           'fbr/fbr_resnet38-eps-ppc_voc'),
    'GETAM': ('getam/getam_vit_shapes', 'cam/cam_vit_shapes',
              'getam/getam_vit_voc'),
    'MCTformer+': ('mctformer/mctformer-plus_vit_shapes',
                   'cam/cam_vit_shapes',
                   'mctformer/mctformer-plus_deit-small_voc'),
    'WeakTr': ('weaktr/weaktr_vit_shapes', 'cam/cam_vit_shapes',
               'weaktr/weaktr_deit-small_voc'),
    'ToCo': ('toco/toco_vit_shapes', 'cam/cam_vit_shapes',
             'toco/toco_vit_voc'),
    'CoSA': ('cosa/cosa_vit_shapes', 'cam/cam_vit_shapes',
             'cosa/cosa_vit_voc'),
}


class Step:
    """A training step of a config, to be called again and again.

    Args:
        name (str): The config, folder and stem.
        images (int): Of a batch.
    """

    def __init__(self, name: str, images: int) -> None:
        cfg = load(name)
        self.model = build(cfg).train()
        self.optim = wrapper(cfg, self.model)
        # Batches are changed in place, so each step takes a new one.
        self.batch = partial(
            batch_of, cfg, tags=[(0, 3), (5, )] * (images // 2))

    def __call__(self) -> float:
        """Seconds of one step, the second phase of methods that have two."""
        set_phase(second=True)
        batch = self.batch()
        start = time.process_time()
        self.model.train_step(batch, self.optim)
        return time.process_time() - start


def parameters(name: str) -> float:
    """Millions of parameters of a model at full size."""
    cfg = load(name)
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    return sum(p.numel() for p in model.parameters()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--methods', nargs='+', choices=list(METHODS),
                        default=list(METHODS))
    parser.add_argument('--steps', type=int, default=7)
    parser.add_argument('--images', type=int, default=4)
    args = parser.parse_args()
    print(machine(), flush=True)
    table = PrettyTable(
        ['method', 'config at full size', 'million parameters', 'ms per step',
         'times plain classification'])
    for method in args.methods:
        config, baseline, full = METHODS[method]
        step, plain = (Step(x, args.images) for x in (config, baseline))
        step(), plain()
        pairs = [(step(), plain()) for _ in range(args.steps)]
        table.add_row([
            method, Path(full).name, f'{parameters(full):.1f}',
            f'{1000 * median(a for a, _ in pairs):.0f}',
            f'{median(a / b for a, b in pairs):.1f}'
        ])
        print(table.get_string().splitlines()[-2], flush=True)
    print(table)


if __name__ == '__main__':
    main()
