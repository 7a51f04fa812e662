"""Compute features of frozen networks ahead, on one or several machines."""
import argparse

from mmwsss.apis.cache_features import cache_features
from mmwsss.apis.command_line import (
    add_options_argument,
    add_shard_argument,
    plain_errors,
)


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Computes the features that the frozen networks of a '
        'config make of the training images and writes those that are not '
        'there yet to their caches (cache_dir). Trainings and tests compute '
        'them by themselves where they are missing; this tool is for several '
        'machines.',
        epilog='example: python tools/cache_features.py '
        'data/photos/linear_lite2-dinov2-small.py --shard 1/3')
    parser.add_argument('config', help='path of the config')
    add_shard_argument(parser)
    parser.add_argument(
        '--device', help='e.g. cpu or cuda:1 (default: a GPU if there is one)')
    add_options_argument(parser, 'model.backbone.networks.0.cache_dir=DIR')
    return parser.parse_args(argv)


def main() -> None:
    with plain_errors():
        done = cache_features(**vars(parse_args()))
    print(f'{done.num_images} image(s), {done.num_written} new map(s) in '
          f'{", ".join(done.folders)}')


if __name__ == '__main__':
    main()
