"""CAMs, masks and pictures of any images, folders or videos."""
import argparse
from pathlib import Path

from mmwsss.apis.cam_inferencer import describe_tags, infer
from mmwsss.apis.command_line import (
    add_options_argument,
    add_shard_argument,
    add_trust_argument,
    plain_errors,
)

#: Images whose tags are printed.
SHOWN = 20


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
    add_options_argument(parser, 'model.test_cfg.scales="(0.5,1.0,1.5)"')
    add_trust_argument(parser)
    return parser.parse_args(argv)


def main() -> None:
    args = vars(parse_args())
    tags, file = args.pop('tags'), args.pop('tags_file')
    if tags is not None:
        tags = [tag.strip() for tag in tags.split(',') if tag.strip()]
    elif file is not None:
        tags = Path(file)
    lines = []

    def note(result: dict) -> None:
        if len(lines) < SHOWN and 'error' not in result:
            lines.append(describe_tags(result))

    with plain_errors():
        result = infer(**args, tags=tags, on_result=note)
    print('\n'.join(lines))
    if result.num_images - result.num_broken > len(lines):
        print('...')
    print(f'{result.out}: {result.num_images} images, of which '
          f'{result.num_broken} cannot be read')


if __name__ == '__main__':
    main()
