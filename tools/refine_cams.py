"""Turn CAMs into CRF scores, masks or refined CAMs."""
import argparse

from mmwsss.apis.command_line import (
    add_options_argument,
    add_shard_argument,
    plain_errors,
)
from mmwsss.apis.refine import refine_cams


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Runs the pipeline of the config's refine_dataset over "
        'all its images in several processes. The same command continues '
        'what was interrupted.',
        epilog='example: python tools/refine_cams.py CONFIG --cams '
        'work_dirs/cams --out work_dirs/masks')
    parser.add_argument('config', help='path of a config with refine_dataset')
    parser.add_argument(
        '--cams',
        metavar='DIR',
        help='folder of CAMs, as tools/test.py --out writes it '
        '(default: what the config says)')
    parser.add_argument(
        '--out',
        metavar='DIR',
        help='folder for the results (default: work_dirs/CONFIG_NAME)')
    parser.add_argument(
        '--workers',
        type=int,
        metavar='N',
        help='number of processes (default: one per core)')
    add_shard_argument(parser)
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='replace results, also those made with other settings')
    add_options_argument(parser, 'refine_dataset.pipeline.2.fg_threshold=0.35')
    return parser.parse_args(argv)


def main() -> None:
    with plain_errors():
        result = refine_cams(**vars(parse_args()))
    print(f'{result.out}: {result.num_images} images, of which '
          f'{result.num_written} written in {result.seconds:.1f} s' +
          (f'; {result.num_missing} of other shards are not there yet'
           if result.num_missing else ''))


if __name__ == '__main__':
    main()
