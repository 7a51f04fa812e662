"""Convert a ResNet-38 checkpoint of MXNet, PSA or SEAM into a backbone."""
import argparse

from mmwsss.models.converters.resnet38 import convert_resnet38_file
from mmwsss.utils.checkpoint import add_trust_argument

if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description='Make the ResNet-38 in a checkpoint, such as MXNet\'s '
        'ilsvrc-cls_rna-a1_cls1000_ep-0001.params or one of PSA or SEAM, '
        'usable by init_cfg=dict(type="Pretrained", checkpoint=DST) of '
        'mmwsss.ResNet38.')
    parser.add_argument('src', help='downloaded checkpoint (.params or .pth)')
    parser.add_argument('dst', help='file to write (.pth)')
    add_trust_argument(parser)
    args = parser.parse_args()
    try:
        meta = convert_resnet38_file(args.src, args.dst,
                                     args.trust_checkpoint)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f'error: {error}') from error
    print(f'Wrote {args.dst}, a checkpoint of mmwsss.ResNet38, from '
          f'{meta["source"]} (SHA-256 {meta["source_sha256"]}).')
