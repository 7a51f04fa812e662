"""Write masks for an annotation tool, to be looked at and corrected."""
import argparse
from pathlib import Path

from mmwsss.apis.command_line import plain_errors
from mmwsss.apis.mask_exchange import class_names, export_masks


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Writes the masks {img_id}.png of a folder as one file '
        'for COCO, CVAT or Label Studio, or as a file per image for LabelMe. '
        'tools/import_masks.py brings corrected ones back. Ignored pixels '
        '(255) get the label __ignore__.',
        epilog='example: python tools/export_masks.py work_dirs/photos/masks '
        'photos masks.json --to label_studio --classes '
        'data/photos/image_labels.json')
    parser.add_argument('masks', help='folder of masks')
    parser.add_argument('images', help='folder of the images')
    parser.add_argument('out', help='file to write; for LabelMe a folder')
    parser.add_argument(
        '--to',
        required=True,
        choices=['coco', 'labelme', 'cvat', 'label_studio'],
        help='the tool')
    parser.add_argument(
        '--classes',
        required=True,
        nargs='+',
        metavar='NAME',
        help="names of the classes in their order, or a label file, a text "
        "file with a name per line, or 'voc'")
    parser.add_argument(
        '--polygons',
        action='store_true',
        help='outlines in place of pixels (LabelMe always gets outlines)')
    parser.add_argument(
        '--tolerance',
        type=float,
        default=1.,
        metavar='PIXELS',
        help='how far an outline may be from the mask; 0 is exact, with many '
        'points (default: 1)')
    parser.add_argument(
        '--url',
        metavar='PREFIX',
        help="for Label Studio: what stands before the names of the images "
        "(default: '/data/local-files/?d=')")
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()
    with plain_errors():
        images, regions = export_masks(
            Path(args.masks), Path(args.out), args.to, Path(args.images),
            class_names(args.classes), args.polygons, args.tolerance,
            args.url)
    print(f'{args.out}: {regions} regions in {images} images')
    if args.to == 'label_studio':
        print(f'{Path(args.out).with_suffix(".xml")}: the labelling interface '
              'of the project')


if __name__ == '__main__':
    main()
