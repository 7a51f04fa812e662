"""Look at what a model is trained on."""
import argparse

from mmengine.config import DictAction

from mmwsss.apis.browse_dataset import browse_dataset


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write a page of training images as the network gets '
        'them: after augmentation, with their tags and, where the config '
        'loads them, pseudo masks, seeds, saliency and class maps.',
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
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change settings of the config, e.g. '
        'train_dataloader.dataset.mask_dir=work_dirs/masks')
    # What load_config reads besides.
    parser.set_defaults(launcher='none', local_rank=0, work_dir=None)
    return parser.parse_args(argv)


if __name__ == '__main__':
    try:
        browse_dataset(parse_args())
    except (OSError, ValueError, KeyError) as error:
        message = error.args[0] if isinstance(error, KeyError) else error
        raise SystemExit(f'\nerror: {message}') from error
