"""Test a checkpoint, with the arguments of mmseg's tools/test.py."""
import argparse

from mmwsss.apis.command_line import add_run_arguments
from mmwsss.apis.run import leave, test


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Test a checkpoint; write its CAMs with --out.',
        epilog='example: python tools/test.py configs/acr/acr_vit_shapes.py '
        'work_dirs/acr_vit_shapes/epoch_8.pth --out cams')
    parser.add_argument('config', help='path of the config')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        help='path of the checkpoint, or of the work folder of a training '
        'whose last one is meant; left out where a config trains nothing')
    parser.add_argument(
        '--work-dir',
        help='folder for the results; work_dirs/CONFIG_NAME if neither this '
        'nor the config says')
    parser.add_argument(
        '--out',
        metavar='DIR',
        help='write CAMs (or what the config has hooks for: masks, '
        'instances) to DIR')
    parser.add_argument(
        '--train-images',
        action='store_true',
        help='test on the training images without reading their masks, to '
        'write (--out) what the next stage needs of them')
    parser.add_argument(
        '--show', action='store_true', help='show predictions in windows')
    parser.add_argument(
        '--show-dir', metavar='DIR', help='write predictions as pictures')
    parser.add_argument(
        '--wait-time',
        type=float,
        default=2,
        help='seconds that a window stays (default: 2)')
    parser.add_argument(
        '--tta',
        action='store_true',
        help="test-time augmentation as the config's tta_model says")
    add_run_arguments(parser)
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()
    test(**vars(args))
    leave(args.launcher)


if __name__ == '__main__':
    main()
