"""Look at what a model is trained on."""
import argparse

from mmwsss.apis.browse_dataset import browse_dataset
from mmwsss.apis.command_line import add_options_argument, plain_errors


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write a page of training images as the network gets '
        'them: after augmentation, with their tags and, where the config '
        'loads them, pseudo masks, seeds, saliency and CAMs.',
        epilog='example: python tools/analysis_tools/browse_dataset.py '
        'configs/cam/cam_r18_shapes.py')
    parser.add_argument('config', help='path of the config')
    parser.add_argument(
        '--out',
        metavar='DIR',
        help='folder of the page (default: dataset, in the work folder of '
        'the config)')
    parser.add_argument(
        '--number',
        type=int,
        default=24,
        metavar='N',
        help='images to show, spread over the data set (default: 24)')
    parser.add_argument(
        '--views',
        type=int,
        default=2,
        metavar='N',
        help='draws of the augmentation per image (default: 2)')
    parser.add_argument(
        '--raw',
        action='store_true',
        help='show the files, without the pipeline')
    parser.add_argument(
        '--test-images',
        action='store_true',
        help='show the test images, with true masks where there are some')
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        help='decides the augmentation (default: 0)')
    add_options_argument(
        parser, 'train_dataloader.dataset.mask_dir=work_dirs/masks')
    return parser.parse_args(argv)


def main() -> None:
    with plain_errors():
        browse_dataset(**vars(parse_args()))


if __name__ == '__main__':
    main()
