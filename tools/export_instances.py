"""Make one COCO file of a folder of instances."""
import argparse

from mmwsss.apis.command_line import add_options_argument, plain_errors
from mmwsss.apis.export_instances import export_instances


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Writes the instances of a folder as one COCO json, to '
        'train a detector such as Mask R-CNN on. Fragments of score 0 (too '
        'small) are left out.',
        epilog='example: python tools/export_instances.py '
        'work_dirs/irn/instances configs/affinity/irnet-instances_r50_voc.py '
        'instances.json --train-images')
    parser.add_argument(
        'folder', help='folder of instances, as tools/test.py --out writes it')
    parser.add_argument(
        'config', help='config whose test data names images and classes')
    parser.add_argument('out', help='the file to write')
    parser.add_argument(
        '--train-images',
        action='store_true',
        help="take the config's training images")
    parser.add_argument(
        '--split',
        metavar='FILE',
        help='another list of image ids, relative to the data root')
    parser.add_argument(
        '--min-score',
        type=float,
        default=0,
        metavar='S',
        help='leave out instances below this score (default: 0)')
    add_options_argument(
        parser, 'test_dataloader.dataset.data_root=data/other')
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()
    with plain_errors():
        images, instances = export_instances(**vars(args))
    print(f'{args.out}: {instances} instances in {images} images')


if __name__ == '__main__':
    main()
