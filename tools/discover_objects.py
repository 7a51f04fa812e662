"""Write saliency maps and mask proposals of objects found without labels."""
import argparse

from mmwsss.apis.command_line import (
    add_options_argument,
    add_shard_argument,
    plain_errors,
)
from mmwsss.apis.discover_objects import discover_objects


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Finds objects in the training images of a config, or in '
        'a folder of images, without labels: by the rules of FOUND, TokenCut '
        'and MaskCut on a frozen network, or by a finder that tools/train.py '
        'trained with the same config. Writes '
        'OUT/saliency/{img_id}.png for methods that learn from saliency maps '
        'and OUT/proposals/{img_id}.json for mmwsss.RefineWithProposals. The '
        'same command continues what was interrupted.',
        epilog='example: python tools/discover_objects.py '
        'configs/discovery/tokencut_vit-tiny_voc-mini.py')
    parser.add_argument('config', help='path of a config with discovery')
    parser.add_argument(
        '--out',
        metavar='DIR',
        help='folder for the files (default: work_dirs/CONFIG_NAME)')
    parser.add_argument(
        '--checkpoint',
        metavar='PATH',
        help='of a finder that was trained: a checkpoint or a work folder '
        '(default: work_dirs/CONFIG_NAME)')
    parser.add_argument(
        '--images',
        metavar='DIR',
        help='folder of images, in place of those of the config')
    add_shard_argument(parser)
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='replace files, also those made with other settings')
    parser.add_argument(
        '--device', help='e.g. cpu or cuda:1 (default: a GPU if there is one)')
    add_options_argument(parser, 'discovery.finder.threshold=0.3')
    return parser.parse_args(argv)


def main() -> None:
    with plain_errors():
        result = discover_objects(**vars(parse_args()))
    print(f'{result.out}: {result.num_images} image(s), of which '
          f'{result.num_written} written' +
          (f'; nothing was found in {len(result.empty)}'
           if result.empty else ''))


if __name__ == '__main__':
    main()
