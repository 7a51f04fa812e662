"""Look at the visual words of a VWL model."""
import argparse

from mmwsss.apis.browse_words import browse_words
from mmwsss.apis.command_line import (
    add_options_argument,
    add_trust_argument,
    plain_errors,
)


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write a page that shows, for each visual word in use, '
        'the patches of the training images most similar to it.',
        epilog='example: python tools/analysis_tools/browse_words.py '
        'configs/vwl/vwl-l_r18_shapes.py work_dirs/vwl-l_r18_shapes')
    parser.add_argument('config', help='path of the config')
    parser.add_argument(
        'checkpoint',
        help='path of the checkpoint, or of the work folder of a training '
        'whose last one is meant')
    parser.add_argument(
        '--out',
        metavar='DIR',
        help='folder of the page (default: words, beside the checkpoint)')
    parser.add_argument(
        '--words',
        type=int,
        metavar='N',
        help='show only the N most used words (default: all in use)')
    parser.add_argument(
        '--patches',
        type=int,
        default=12,
        metavar='M',
        help='patches per word, each of another image (default: 12)')
    add_options_argument(
        parser,
        'train_dataloader.dataset.indices=500 for the first 500 images')
    add_trust_argument(parser)
    return parser.parse_args(argv)


def main() -> None:
    with plain_errors():
        browse_words(**vars(parse_args()))


if __name__ == '__main__':
    main()
