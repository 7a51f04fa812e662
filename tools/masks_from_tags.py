"""Masks and a segmentation model from photographs and their labels."""
import argparse

from mmwsss.apis.command_line import plain_errors
from mmwsss.apis.custom_config import parse_columns
from mmwsss.apis.photo_masks import DEFAULT_PIPELINE, FEW, masks_from_tags
from mmwsss.datasets.tags import FORMATS


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Makes masks of photographs of which only is known what '
        'they show, and a segmentation model for new ones. Networks stay '
        'frozen, so a laptop is enough. The same command continues what was '
        'interrupted.',
        epilog='example: python tools/masks_from_tags.py photos/tags.csv '
        '--out seen')
    parser.add_argument(
        'tags',
        help='image-level labels: csv, Excel or JSON file, export of an '
        'annotation tool, or folder with one folder of photographs per '
        'class; see docs/data.md')
    parser.add_argument(
        '--out', metavar='DIR', required=True, help='folder for everything')
    parser.add_argument(
        '--images',
        metavar='DIR',
        help='folder of the photographs (default: that of the labels)')
    parser.add_argument(
        '--format',
        choices=[f for f in FORMATS if f != 'npy'],
        help='format of the labels (default: look at them)')
    parser.add_argument(
        '--columns',
        nargs='+',
        default=[],
        metavar='KEY=NAME',
        help='how columns are called, e.g. image=Path labels=Finding')
    parser.add_argument(
        '--classes',
        nargs='+',
        metavar='NAME',
        help='only these classes, in this order (default: all)')
    parser.add_argument(
        '--masks',
        metavar='DIR',
        help='true masks of some photographs, to measure with')
    parser.add_argument(
        '--mask-suffix',
        metavar='END',
        help='what masks are called after the name of their photograph, '
        'e.g. _mask.png')
    parser.add_argument(
        '--mask-values',
        nargs='+',
        metavar='VALUE=NAME',
        help='what values of masks stand for, e.g. 255=defect; see '
        'docs/data.md')
    parser.add_argument(
        '--no-class',
        nargs='+',
        default=[],
        metavar='NAME',
        help='labels that say that nothing is there, e.g. good')
    parser.add_argument(
        '--window',
        nargs=2,
        type=float,
        metavar=('LOW', 'HIGH'),
        help='which values become black and white in photographs of more '
        'than 8 bits, e.g. 0 4095')
    parser.add_argument(
        '--pipeline',
        default=DEFAULT_PIPELINE,
        metavar='CONFIG',
        help='which networks and stages (default: %(default)s)')
    parser.add_argument(
        '--device',
        help='cpu, cuda or cuda:N (default: a GPU if there is one)')
    parser.add_argument(
        '--seed', type=int, default=0, help='of the trainings (default: 0)')
    parser.add_argument(
        '--workers',
        type=int,
        metavar='N',
        help='processes that work on files (default: one per core)')
    parser.add_argument(
        '--no-check',
        action='store_true',
        help='do not read every photograph first')
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()
    with plain_errors():
        made = masks_from_tags(
            args.tags,
            args.out,
            images=args.images,
            masks=args.masks,
            format=args.format,
            classes=args.classes,
            columns=parse_columns(args.columns),
            pipeline=args.pipeline,
            device=args.device,
            seed=args.seed,
            workers=args.workers,
            check_images=not args.no_check,
            no_class=args.no_class,
            mask_values=args.mask_values,
            mask_suffix=args.mask_suffix,
            window=args.window)
    print(f'\nmasks of {len(made.data.labels)} photographs: {made.masks}')
    if made.page is not None:
        print(f'page to look at: {made.page}')
    if made.few:
        print(f'There are fewer than {FEW} photographs. With so few a model '
              'finds out badly what is in a new one (docs/frozen.md has '
              'numbers), so tell it, with --tags or --tags-file:')
    else:
        print('new photographs (add --tags or --tags-file where you know '
              'what they show):')
    print(f'  {made.infer_command()}')


if __name__ == '__main__':
    main()
