"""Compute features of frozen networks ahead, on one or several machines."""
import argparse

from mmwsss.apis.cache_features import cache_features
from mmwsss.apis.run import add_common_arguments
from mmwsss.apis.shards import add_shard_argument


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
    add_common_arguments(parser)
    parser.set_defaults(work_dir=None)
    return parser.parse_args(argv)


def main() -> None:
    try:
        done = cache_features(parse_args())
    except (OSError, RuntimeError, ValueError) as error:
        raise SystemExit(f'\nerror: {error}') from None
    except KeyboardInterrupt:
        raise SystemExit(
            '\ninterrupted; run the same command again to continue') from None
    print(f'{done.num_images} image(s), {done.num_written} new map(s) in '
          f'{", ".join(done.folders)}')


if __name__ == '__main__':
    main()
