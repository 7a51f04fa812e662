"""Convert a network trained with GETAM's code into an EndToEndSegmentor."""
import argparse

from mmwsss.models.converters.getam import convert_getam_file
from mmwsss.utils.checkpoint import add_trust_argument

if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description='Rename the parameters of a network that GETAM\'s code '
        'trained. The result is a checkpoint for the config in configs/getam '
        'with the same backbone.')
    parser.add_argument('src', help='downloaded checkpoint (.pth)')
    parser.add_argument('dst', help='file to write (.pth)')
    add_trust_argument(parser)
    args = parser.parse_args()
    try:
        meta = convert_getam_file(args.src, args.dst,
                                  args.trust_checkpoint)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f'error: {error}') from error
    print(f'Wrote {args.dst}, a checkpoint for the config in configs/getam '
          f'with the same backbone, from {meta["source"]} '
          f'(SHA-256 {meta["source_sha256"]}).')
