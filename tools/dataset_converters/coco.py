"""Write image-level labels, split lists and masks of COCO 2014."""
import argparse

from mmwsss.apis.command_line import plain_errors
from mmwsss.datasets.coco import SPLIT_SIZES, convert_coco


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Writes the tags of all COCO 2014 images to '
        'image_labels.json, the lists of images to ImageSets/Segmentation and '
        'masks of classes to SegmentationClass, and checks that every image '
        'has its file. Images stay where they are. A broken run goes on '
        'where it was when started again.',
        epilog='Example: python tools/dataset_converters/coco.py '
        'data/coco2014')
    parser.add_argument(
        'root', help='folder with annotations, train2014 and val2014')
    parser.add_argument(
        '--no-masks',
        action='store_true',
        help='leave out the masks, which are only needed to measure')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with plain_errors():
        out, counts = convert_coco(args.root, masks=not args.no_masks)
    print(f'wrote {out}')
    print(f'{"split":14}{"images":>8}{"tags":>9}{"without tag":>13}')
    for split, (number, tags, bare) in counts.items():
        usual = SPLIT_SIZES.get(split, number)
        note = '' if number == usual else f'  (COCO 2014 has {usual})'
        print(f'{split:14}{number:8}{tags:9}{bare:13}{note}')


if __name__ == '__main__':
    main()
