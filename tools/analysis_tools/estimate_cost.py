"""Estimate what a chain costs on many GPUs or cores."""
import argparse

from mmwsss.apis.command_line import plain_errors
from mmwsss.apis.estimate_cost import IMAGES, estimate_cost


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Prints hours of every stage on N devices, from measured '
        'seconds per image and the lengths that the configs have.',
        epilog='example: python tools/analysis_tools/estimate_cost.py '
        '--dataset coco --devices 1 8 64')
    parser.add_argument(
        '--dataset',
        choices=list(IMAGES),
        default='voc',
        help='gives number of images and lengths (default: voc)')
    parser.add_argument(
        '--images', type=int, metavar='N', help='training images instead')
    parser.add_argument(
        '--val-images', type=int, metavar='N', help='val images instead')
    parser.add_argument(
        '--devices',
        type=int,
        nargs='+',
        default=[1, 2, 4, 8, 16, 32, 64],
        metavar='N',
        help='columns of the table (default: 1 2 4 8 16 32 64)')
    parser.add_argument(
        '--seconds',
        metavar='FILE',
        help='JSON of benchmarks/bench_stages.py --out, measured on your '
        'device (default: ours, on one CPU core)')
    parser.add_argument(
        '--efficiency',
        type=float,
        default=1.,
        metavar='E',
        help='what each device after the first adds to a training, in '
        'devices; 1 is ideal (default: 1)')
    parser.add_argument(
        '--cores-per-device',
        type=int,
        default=1,
        metavar='N',
        help='CPU cores beside each device, for the dense CRF (default: 1)')
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()
    with plain_errors():
        cost = estimate_cost(**vars(args))
    images = cost.num_images
    print(f'{args.dataset}: {images["train"]:,} training and '
          f'{images["val"]:,} val images. Measured on: {cost.device}.\n'
          'Columns: number of devices. Each after the first adds '
          f'{args.efficiency:g} devices to a training'
          f'{" (ideal)" if args.efficiency == 1 else ""}.\n')
    for i, row in enumerate(cost.rows):
        print('| ' + ' | '.join(row) + ' |')
        if i == 0:
            print('|---' * len(row) + '|')
    print('\nImages of a training step, which devices share equally: ' +
          ', '.join(f'{k} {v}' for k, v in cost.limits.items() if v) + '.')


if __name__ == '__main__':
    main()
