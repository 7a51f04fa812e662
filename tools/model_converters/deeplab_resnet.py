"""Convert a Caffe-style ResNet of DeepLab into a backbone of mmseg."""
import argparse

from mmwsss.models.converters.deeplab import convert_deeplab_file
from mmwsss.utils.checkpoint import add_trust_argument

if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description='Rename the parameters of a checkpoint such as '
        'deeplabv1_resnet101-coco. The result is used by '
        'init_cfg=dict(type="Pretrained", checkpoint=DST) of a '
        'ResNet(style="caffe").')
    parser.add_argument('src', help='downloaded checkpoint (.pth)')
    parser.add_argument('dst', help='file to write (.pth)')
    add_trust_argument(parser)
    args = parser.parse_args()
    try:
        meta = convert_deeplab_file(args.src, args.dst,
                                    args.trust_checkpoint)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f'error: {error}') from error
    print(f'Wrote {args.dst}, a ResNet of mmseg, from {meta["source"]} '
          f'(SHA-256 {meta["source_sha256"]}).')
