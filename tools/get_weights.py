"""Fetch the initial weights that configs need."""
import argparse

from mmwsss.apis.command_line import plain_errors
from mmwsss.apis.get_weights import get_weights


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Says which initial weights configs need and which are '
        'there, and fetches and converts the others through the libraries '
        'that know their addresses and digests (torchvision, timm, '
        'mmpretrain). A broken download goes on where it was. Without a '
        'network it lists the files to bring.',
        epilog='example: python tools/get_weights.py '
        'configs/cam/pipeline_voc.py configs/acr/acr_vit_voc.py')
    parser.add_argument(
        'configs', nargs='+', help='configs of models or pipelines')
    parser.add_argument(
        '--list', action='store_true', help='say it, fetch nothing')
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()
    with plain_errors():
        found = get_weights(args.configs, not args.list)
    if not found:
        print('These configs need no initial weights.')
    for weights in found:
        origin = f'  ({weights.origin})' if weights.origin else ''
        print(f'{weights.state:8} {weights.path}{origin}')
    left = [w for w in found if w.bring]
    if left:
        print('\nNot there, and not fetched:')
        for weights in left:
            print(f'  {weights.path}: {weights.bring}')
        raise SystemExit('\nBring these files, then run the same command '
                         'again.')


if __name__ == '__main__':
    main()
