"""Make masks of what was drawn or corrected in an annotation tool."""
import argparse
from pathlib import Path

from mmwsss.apis.command_line import plain_errors
from mmwsss.apis.mask_exchange import class_names, import_masks


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Reads COCO, "CVAT for images", Label Studio (JSON) or a '
        'folder of LabelMe, and writes masks {img_id}.png: 0 background, '
        'c + 1 class c, 255 where the label is __ignore__. Where regions '
        'overlap, the later one is on top (in CVAT the one with the higher '
        'z_order, in COCO the smaller one).',
        epilog='example: python tools/import_masks.py export.json photos '
        'data/photos/SegmentationClass --classes '
        'data/photos/image_labels.json')
    parser.add_argument('annotations', help='export of the tool')
    parser.add_argument('images', help='folder of the images')
    parser.add_argument('out', help='folder to write masks to')
    parser.add_argument(
        '--classes',
        required=True,
        nargs='+',
        metavar='NAME',
        help="names of the classes in their order, or a label file, a text "
        "file with a name per line, or 'voc'")
    parser.add_argument(
        '--format',
        choices=['coco', 'labelme', 'cvat', 'label_studio'],
        help='of the annotations (default: look at them)')
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='replace masks that are there')
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()
    with plain_errors():
        result = import_masks(
            Path(args.annotations), Path(args.out), Path(args.images),
            class_names(args.classes), args.format, args.overwrite)
    print(f'{args.out}: {len(result.ids)} masks')
    for note in result.notes:
        print(f'note: {note}')


if __name__ == '__main__':
    main()
