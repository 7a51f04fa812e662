"""Convert a network trained with SEAM's code into a CAMSegmentor."""
import argparse

from mmwsss.models.converters.seam import convert_seam_file
from mmwsss.utils.checkpoint import add_trust_argument

if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description='Rename the parameters of a network that SEAM\'s code '
        'trained. The result is a checkpoint for '
        'configs/seam/seam_resnet38_voc.py.')
    parser.add_argument('src', help='downloaded checkpoint (.pth)')
    parser.add_argument('dst', help='file to write (.pth)')
    add_trust_argument(parser)
    args = parser.parse_args()
    try:
        meta = convert_seam_file(args.src, args.dst,
                                 args.trust_checkpoint)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f'error: {error}') from error
    print(f'Wrote {args.dst}, a checkpoint for '
          f'configs/seam/seam_resnet38_voc.py, from {meta["source"]} '
          f'(SHA-256 {meta["source_sha256"]}).')
