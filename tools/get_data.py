"""Fetch and prepare a public data set."""
import argparse
from pathlib import Path

from mmwsss.apis.command_line import plain_errors
from mmwsss.apis.get_data import get_voc2012
from mmwsss.datasets.voc import SPLIT_SIZES


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Fetches PASCAL VOC 2012 and the masks of SBD (3.4 GB in '
        'all) from the addresses that torchvision knows, unpacks them, and '
        'writes tags and lists. A broken run goes on where it was. Without a '
        'network it lists the files to bring.',
        epilog='example: python tools/get_data.py voc2012')
    parser.add_argument('name', choices=['voc2012'])
    parser.add_argument(
        '--root', default='data', help='data folder (default: data)')
    parser.add_argument(
        '--no-sbd',
        action='store_true',
        help='without the masks of SBD: 1,464 training images')
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()
    with plain_errors():
        out, counts = get_voc2012(Path(args.root), not args.no_sbd)
    print(f'\nwrote {out}')
    for split, (number, _) in counts.items():
        usual = SPLIT_SIZES.get(split, number)
        note = '' if number == usual else f'  (papers use {usual})'
        print(f'{split:12}{number:8}{note}')


if __name__ == '__main__':
    main()
