"""Score a folder of masks against true ones."""
import argparse

from mmwsss.apis.command_line import add_options_argument, plain_errors
from mmwsss.apis.score_masks import evaluate_masks, result_table, summary


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Prints mIoU, IoU per class, over- and under-activation '
        '(mFP, mFN) of the masks {img_id}.png in a folder.',
        epilog='examples: python tools/evaluate_masks.py work_dirs/masks '
        '--config CONFIG   or   python tools/evaluate_masks.py '
        'work_dirs/masks --gt SegmentationClass --split train.txt --classes '
        'voc')
    parser.add_argument('mask_dir', help='folder of masks')
    parser.add_argument(
        '--config',
        help='takes images, true masks and class names from its '
        'refine_dataset, else from its test data')
    parser.add_argument(
        '--train-images',
        action='store_true',
        help="score on the config's training images; they need masks for "
        'that')
    parser.add_argument('--gt', metavar='DIR', help='folder of true masks')
    parser.add_argument(
        '--split',
        metavar='FILE',
        help='list of image ids; with --config, in place of its list and '
        'relative to its data root')
    parser.add_argument(
        '--classes',
        metavar='FILE',
        help="class names, one per line, or 'voc'")
    parser.add_argument(
        '--mask-values',
        nargs='+',
        metavar='VALUE=NAME',
        help='with --gt: what values of the true masks stand for, e.g. '
        '255=defect; names are those of classes, background or ignore')
    parser.add_argument(
        '--report-classes',
        nargs='+',
        metavar='NAME',
        help='also print the mean IoU of these classes, e.g. where the '
        'others are too rare to mean anything')
    parser.add_argument(
        '--out', metavar='FILE', help='write the numbers as JSON')
    add_options_argument(
        parser, 'test_dataloader.dataset.data_root=data/other')
    return parser.parse_args(argv)


def main() -> None:
    with plain_errors():
        result = evaluate_masks(**vars(parse_args()))
    print(f'\n{result_table(result)}\n{summary(result)}')


if __name__ == '__main__':
    main()
