"""Write image-level labels of PASCAL VOC 2012 and check its lists."""
import argparse

from mmwsss.apis.command_line import plain_errors
from mmwsss.datasets.voc import SPLIT_SIZES, convert_voc


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Writes the tags of all VOC 2012 images to one JSON file, '
        'writes the list train_aug.txt where the SBD masks are there and the '
        'list is not, and checks that every listed image has its files.',
        epilog='Example: python tools/dataset_converters/voc.py '
        'data/VOCdevkit/VOC2012')
    parser.add_argument('root', help='VOC2012 or a folder above it')
    parser.add_argument(
        '--from',
        dest='source',
        choices=('xml', 'masks'),
        default='xml',
        help='take tags from Annotations/*.xml, difficult objects included '
        '(the protocol of the papers), or from the masks (default: xml)')
    parser.add_argument(
        '--mask-dir',
        default='SegmentationClassAug',
        help='folder of masks in root (default: SegmentationClassAug)')
    parser.add_argument(
        '--out',
        help='label file (default: image_labels.json in root, or '
        'image_labels_masks.json with --from masks)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with plain_errors():
        out, counts = convert_voc(args.root, args.source, args.mask_dir,
                                  args.out)
    print(f'\nwrote {out}')
    print(f'{"split":12}{"images":>8}{"without tag":>13}')
    for split, (number, bare) in counts.items():
        usual = SPLIT_SIZES.get(split, number)
        note = '' if number == usual else f'  (papers use {usual})'
        print(f'{split:12}{number:8}{bare:13}{note}')


if __name__ == '__main__':
    main()
