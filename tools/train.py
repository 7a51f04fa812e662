"""Train a model of a config, with the arguments of mmseg's tools/train.py."""
import argparse

from mmwsss.apis.command_line import add_run_arguments
from mmwsss.apis.run import leave, train


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Train a model.',
        epilog='example: python tools/train.py configs/acr/acr_vit_shapes.py')
    parser.add_argument('config', help='path of the config')
    parser.add_argument(
        '--work-dir',
        help='folder for checkpoints and logs; work_dirs/CONFIG_NAME if '
        'neither this nor the config says')
    parser.add_argument(
        '--resume',
        action='store_true',
        help='continue from the last checkpoint of the work folder, or from '
        'load_from of the config if set; starts anew if there is none')
    parser.add_argument(
        '--amp',
        action='store_true',
        help='train with automatic mixed precision')
    add_run_arguments(parser)
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()
    train(**vars(args))
    leave(args.launcher)


if __name__ == '__main__':
    main()
