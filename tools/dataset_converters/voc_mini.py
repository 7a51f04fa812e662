"""Cut the small data set voc_mini out of PASCAL VOC 2012 and SBD."""
import argparse

from mmwsss.apis.command_line import plain_errors
from mmwsss.datasets.voc_mini import convert_voc_mini


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Writes images of at most 320 pixels, their masks, their '
        'image-level labels and the lists of voc_mini, on which the configs '
        'with voc-mini in their names train. The same command continues what '
        'was interrupted.',
        epilog='Example: python tools/dataset_converters/voc_mini.py '
        'data/VOCdevkit/VOC2012')
    parser.add_argument(
        'root',
        help='VOC2012 or a folder above it, with SegmentationClassAug (SBD), '
        'as tools/get_data.py voc2012 prepares it')
    parser.add_argument(
        '--out',
        default='data/voc_mini',
        metavar='DIR',
        help='folder for the result (default: data/voc_mini)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with plain_errors():
        counts = convert_voc_mini(args.root, args.out)
    print(f'\n{args.out}:')
    for name, number in counts.items():
        print(f'{name:16}{number:6} images')


if __name__ == '__main__':
    main()
