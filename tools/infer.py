"""Class maps, masks and pictures of any images, folders or videos."""
import argparse

from mmengine.config import DictAction

from mmwsss.apis.cam_inferencer import infer
from mmwsss.apis.shards import add_shard_argument
from mmwsss.utils.checkpoint import add_trust_argument


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Look at images with a trained model. Writes cams/*.npz, '
        'masks/*.png and overlays/*.jpg; the same command continues what was '
        'interrupted.',
        epilog='example: python tools/infer.py '
        'configs/cam/cam_deit-tiny_voc-mini.py '
        'work_dirs/cam_deit-tiny_voc-mini dog.jpg holidays/ --out seen')
    parser.add_argument('config', help='path of the config')
    parser.add_argument(
        'checkpoint',
        help='path of the checkpoint, or of the work folder of a training '
        'whose last one is meant')
    parser.add_argument(
        'images', nargs='+', help='images, folders of images, or videos')
    parser.add_argument(
        '--out', metavar='DIR', required=True, help='folder for the results')
    tags = parser.add_mutually_exclusive_group()
    tags.add_argument(
        '--tags',
        metavar='NAMES',
        help='classes in the images, separated by commas: dog,sofa (default: '
        'predicted)')
    tags.add_argument(
        '--tags-file',
        metavar='FILE',
        help='classes in each image: .json or .csv, see docs/data.md')
    parser.add_argument(
        '--threshold',
        type=float,
        help="background score of the masks (default: the config's)")
    parser.add_argument(
        '--tag-threshold',
        type=float,
        help='probability from which a class is predicted to be present '
        "(default: the config's, 0.5 if it says nothing)")
    parser.add_argument(
        '--probs',
        action='store_true',
        help='also write probabilities of background and classes, '
        'probs/*.npz, of models that predict some')
    parser.add_argument(
        '--batch-size',
        type=int,
        default=4,
        metavar='N',
        help='images that go through the model at once, if they have one '
        'size after the test pipeline (default: 4)')
    parser.add_argument(
        '--frame-step',
        type=int,
        default=1,
        metavar='N',
        help='take every N-th frame of videos (default: 1)')
    add_shard_argument(parser)
    parser.add_argument(
        '--device', help='e.g. cpu or cuda:1 (default: a GPU if there is one)')
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='replace results, also those made with other settings')
    parser.add_argument(
        '--skip-broken',
        action='store_true',
        help='go on where an image cannot be read')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change settings of the config, e.g. '
        'model.test_cfg.scales="(0.5,1.0,1.5)"')
    add_trust_argument(parser)
    # What load_config reads besides.
    parser.set_defaults(launcher='none', work_dir=None, local_rank=0)
    return parser.parse_args(argv)


def main() -> None:
    try:
        result = infer(parse_args())
    except (OSError, ValueError, MemoryError) as error:
        raise SystemExit(f'\nerror: {error}') from None
    except KeyboardInterrupt:
        print('\ninterrupted; the same command continues')
        raise SystemExit(130) from None
    print(f'{result["out"]}: {result["num_images"]} images, of which '
          f'{result["num_broken"]} cannot be read')


if __name__ == '__main__':
    main()
