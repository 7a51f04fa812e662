"""Turn class maps into CRF scores, masks or refined class maps."""
import argparse

from mmengine.config import DictAction

from mmwsss.apis.refine import refine
from mmwsss.apis.shards import add_shard_argument
from mmwsss.pseudo_labels.pool import RefineError


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
        help='folder of class maps, as tools/test.py --out writes it '
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
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change settings of the config, e.g. '
        'refine_dataset.pipeline.2.fg_threshold=0.35')
    # What load_config reads besides.
    parser.set_defaults(launcher='none', work_dir=None, local_rank=0)
    return parser.parse_args(argv)


def main() -> None:
    try:
        result = refine(parse_args())
    except (OSError, ValueError, KeyError, RefineError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        raise SystemExit(f'\nerror: {message}') from None
    except KeyboardInterrupt:
        print('\ninterrupted; the same command continues')
        raise SystemExit(130) from None
    print(f'{result["out"]}: {result["num_images"]} images, of which '
          f'{result["num_written"]} written in {result["seconds"]:.1f} s' +
          (f'; {result["num_missing"]} of other shards are not there yet'
           if result['num_missing'] else ''))


if __name__ == '__main__':
    main()
