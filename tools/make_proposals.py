"""Write mask proposals: regions of even colour, without a network."""
import argparse

from mmwsss.apis.command_line import plain_errors
from mmwsss.apis.make_proposals import DISTANCES, MIN_AREA, make_proposals


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Writes regions of even colour (mean shift) of every '
        'image of a folder as mask proposals, for mmwsss.RefineWithProposals. '
        'A stand-in to try that step with: the proposals of Segment Anything '
        'go in the same way and know objects. A broken run goes on where it '
        'was when started again.',
        epilog='example: python tools/make_proposals.py '
        'data/shapes/JPEGImages work_dirs/proposals/shapes')
    parser.add_argument('images', help='folder of images')
    parser.add_argument('out', help='folder to write {img_id}.json to')
    parser.add_argument(
        '--distances',
        nargs='+',
        type=float,
        default=DISTANCES,
        metavar='D',
        help='colours that are joined, once for each (default: 12 24 40)')
    parser.add_argument(
        '--min-area',
        type=int,
        default=MIN_AREA,
        metavar='PIXELS',
        help='leave out smaller regions (default: 30)')
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()
    with plain_errors():
        counts = make_proposals(**vars(args))
    print(f'{args.out}: {sum(counts)} proposals of {len(counts)} images '
          'written')


if __name__ == '__main__':
    main()
