"""How ACR's consistency terms shrink with the number of tokens.

Both terms are means over attention entries whose rows sum to one. This prints
them, unweighted, for one network at several input sizes, as they are and
times the number of patch tokens.

    python benchmarks/acr_terms_by_size.py \
        configs/acr/acr_deit-tiny_voc-mini.py [CHECKPOINT]
"""
import argparse
import logging

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmwsss.models.regularizers.all_pairs_consistency import consistency_losses
from mmwsss.registry import MODELS
from mmwsss.structures import AttentionRequest


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config')
    parser.add_argument('checkpoint', nargs='?')
    parser.add_argument(
        '--sizes', nargs='+', type=int, default=[128, 160, 224, 288, 384])
    parser.add_argument('--batches', type=int, default=4)
    args = parser.parse_args()
    logging.disable(logging.INFO)
    cfg = Config.fromfile(args.config)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    model.init_weights()
    if args.checkpoint:
        state = torch.load(
            args.checkpoint, map_location='cpu', weights_only=True)
        model.load_state_dict(state['state_dict'])
    model.eval()
    loader_cfg = cfg.val_dataloader
    loader_cfg.update(num_workers=0, persistent_workers=False)
    loader = Runner.build_dataloader(loader_cfg, seed=0)
    batches = [
        batch for batch, _ in zip(loader, range(args.batches))
    ]
    print(f'{"pixels":>6}{"tokens":>8}{"activation":>12}{"affinity":>12}'
          f'{"x tokens":>12}{"x tokens":>12}')
    for size in args.sizes:
        total = torch.zeros(2)
        for batch in batches:
            data = model.data_preprocessor(batch)
            image = F.interpolate(
                data['inputs'], size=(size, size), mode='bilinear')
            labels = image.new_zeros(len(image), model.num_classes)
            pair = model.forward_views(
                image, labels, AttentionRequest(matrices='mean'))
            view, other = pair.first, pair.second
            total += torch.stack(
                consistency_losses(view.attentions, other.attentions,
                                   view.num_prefix_tokens))
        act, aff = (total / len(batches)).tolist()
        n = view.grid[0] * view.grid[1]
        print(f'{size:>6}{n:>8}{act:>12.2e}{aff:>12.2e}'
              f'{act * n:>12.3f}{aff * n:>12.3f}')


if __name__ == '__main__':
    main()
