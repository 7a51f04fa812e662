"""Memory of a training step and of a prediction of every full-size config.

Nothing is computed: tensors live on torch's meta device, where the bytes of
all that are alive are counted, with weights, gradients, what the optimizer
keeps and what autograd saves (mmwsss/apis/estimate_cost.py, PeakMemory). Full
precision; all terms of the losses are on, memory banks are full, of a training
in two phases the second. A prediction looks at one image of 500 x 500 pixels
with two classes as the config's test does, test-time augmentation left out.

    python benchmarks/bench_memory.py
    python benchmarks/bench_memory.py configs/acr/acr_vit_voc.py \
        --options model.backbone.with_cp=True

The table is that of docs/cost.md.
"""
import argparse
import itertools
import logging
import sys
import warnings
from pathlib import Path

import torch
from mmengine.config import Config, DictAction

from mmwsss.apis.estimate_cost import GPUS, gpus_that_fit, peak_bytes

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.small_models import (  # noqa: E402
    batch_of,
    load,
    set_phase,
    without_values,
    wrapper,
)

IMAGE = 500


def full_size() -> list:
    """Configs of models that are trained on VOC or COCO."""
    found = []
    for path in sorted((ROOT / 'configs').glob('[!_]*/*.py')):
        if path.stem.endswith(('_voc', '_coco')) and path.parent.name not in (
                'refine', 'frozen'):
            cfg = Config.fromfile(path)
            # Mask2Former assigns queries by what they predict.
            if cfg.get('model') and cfg.get(
                    'train_dataloader') and 'mask2former' not in path.stem:
                found.append(path)
    return found


def build(cfg: Config) -> torch.nn.Module:
    """A model without values, its banks full."""
    model = without_values(cfg.model).to('meta')
    for module in model.modules():
        if hasattr(module, 'enqueue'):
            module._total.write(module.total, module.capacity)
    return model


def held(model: torch.nn.Module) -> list:
    return list(itertools.chain(model.parameters(), model.buffers()))


def step_peak(cfg: Config, images: int) -> int:
    """Bytes of a training step of so many images."""
    set_phase(second=True)
    model = build(cfg).train()
    optim = wrapper(cfg, model)
    # A step without gradients of use makes what the optimizer keeps.
    for group in optim.optimizer.param_groups:
        for param in group['params']:
            param.grad = torch.empty_like(param)
    optim.optimizer.step()
    optim.optimizer.zero_grad()
    kept = [
        x for state in optim.optimizer.state.values() for x in state.values()
        if isinstance(x, torch.Tensor)
    ]
    batch = batch_of(
        cfg, tags=[(3, 7)] * images, size=int(cfg.crop_size[0]))
    return peak_bytes(lambda: model.train_step(batch, optim),
                      held(model) + kept)


def prediction_peak(cfg: Config) -> int:
    """Bytes of a prediction of one image."""
    model = build(cfg).eval()
    batch = batch_of(cfg, tags=[(3, 7)], size=IMAGE, training=False)

    def run() -> None:
        with torch.no_grad():
            model.val_step(batch)

    return peak_bytes(run, held(model))


def gib(peak: int) -> str:
    return f'{peak / 2**30:.1f}'


def tell(path: Path, error: Exception) -> None:
    """What the meta device could not do."""
    print(f'{path.stem}: not counted, {error}'[:300], file=sys.stderr)


def row(path: Path, options: dict) -> list:
    """One line of the table."""
    cfg = load(f'{path.parent.name}/{path.stem}')
    if options:
        cfg.merge_from_dict(options)
    images = cfg.train_dataloader.batch_size
    one, every = step_peak(cfg, 1), step_peak(cfg, images)
    # Between them memory grows no faster than along a straight line.
    peaks = {
        n: one + (every - one) * (n - 1) / max(images - 1, 1)
        for n in range(1, images + 1) if images % n == 0
    }
    fits = [gpus_that_fit(peaks, images, size) for size in GPUS]
    try:
        prediction = gib(prediction_peak(cfg))
    except (NotImplementedError, RuntimeError) as error:
        # A random walk multiplies sparse matrices, which need values.
        tell(path, error)
        prediction = ''
    return [
        path.stem, f'{images} x {cfg.crop_size[0]} px',
        gib(every),
        gib(one), *('none' if n is None else str(n) for n in fits),
        prediction
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='*', type=Path, default=None)
    parser.add_argument(
        '--options', nargs='+', action=DictAction, metavar='KEY=VALUE')
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter('ignore')
    titles = [
        'config', 'images of a step', 'step, GiB', 'one image, GiB',
        *(f'{size} GB' for size in GPUS), 'prediction, GiB'
    ]
    print('| ' + ' | '.join(titles) + ' |')
    print('|---' * len(titles) + '|')
    for path in args.configs or full_size():
        try:
            cells = row(path, args.options)
        except (NotImplementedError, RuntimeError) as error:
            tell(path, error)
            continue
        print('| ' + ' | '.join(cells) + ' |', flush=True)


if __name__ == '__main__':
    main()
