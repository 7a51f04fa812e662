"""Score CAMs in files at every background threshold."""
import argparse

from mmwsss.apis.command_line import plain_errors
from mmwsss.apis.score_cams import evaluate_cams


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Score CAMs in files, ours or converted ones, at '
        'every background threshold.',
        epilog='example: python tools/evaluate_cams.py cams '
        'configs/acr/acr_vit_shapes.py --train-images --out cams.json')
    parser.add_argument('cams', help='folder of CAM files')
    parser.add_argument(
        'config', help='config that names images, classes and masks')
    parser.add_argument(
        '--train-images',
        action='store_true',
        help="score on the config's training images instead of its test "
        'images; they need masks for that')
    parser.add_argument(
        '--split',
        metavar='FILE',
        help='score on another list of images, relative to the data root')
    parser.add_argument(
        '--threshold',
        type=float,
        help="the fixed threshold (default: that of the config's metric)")
    parser.add_argument(
        '--out',
        metavar='FILE',
        help='write the result as JSON, and the curve as a picture beside it')
    return parser.parse_args(argv)


def main() -> None:
    with plain_errors():
        evaluate_cams(**vars(parse_args()))


if __name__ == '__main__':
    main()
