"""Score a folder of saliency maps against true masks of any classes."""
import argparse

from mmwsss.apis.command_line import plain_errors
from mmwsss.apis.score_saliency import evaluate_saliency


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Prints IoU, precision and recall of saliency maps '
        '{img_id}.png, where true masks show any class.',
        epilog='example: python tools/evaluate_saliency.py '
        'work_dirs/tokencut_vit-tiny_voc-mini/saliency --gt '
        'data/voc_mini/SegmentationClass --split '
        'data/voc_mini/ImageSets/Segmentation/train_bal.txt')
    parser.add_argument('saliency_dir', help='folder of saliency maps')
    parser.add_argument(
        '--gt', metavar='DIR', required=True, help='folder of true masks')
    parser.add_argument(
        '--split', metavar='FILE', required=True, help='list of image ids')
    parser.add_argument(
        '--threshold',
        type=int,
        default=127,
        metavar='VALUE',
        help='values above it are salient (default: 127)')
    parser.add_argument(
        '--out', metavar='FILE', help='write the numbers as JSON')
    return parser.parse_args(argv)


def main() -> None:
    with plain_errors():
        found = evaluate_saliency(**vars(parse_args()))
    print(f'{found["num_images"]} images: IoU {found["IoU"]:.1f}, precision '
          f'{found["precision"]:.1f}, recall {found["recall"]:.1f}, mean IoU '
          f'of the images {found["mean_IoU"]:.1f}; nothing is salient in '
          f'{found["nothing"]:.1f} % of them')


if __name__ == '__main__':
    main()
