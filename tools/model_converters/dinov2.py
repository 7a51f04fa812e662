"""Convert a DINOv2 checkpoint, the official or timm's, into a backbone."""
import argparse

from mmwsss.models.converters.dinov2 import convert_dinov2_file
from mmwsss.utils.checkpoint import add_trust_argument

if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description='Rename the parameters of a DINOv2 ViT-S, ViT-B or ViT-L '
        'with or without registers, such as dinov2_vits14_reg4_pretrain.pth '
        'or timm\'s vit_small_patch14_reg4_dinov2. The result is used by '
        'init_cfg=dict(type="Pretrained", checkpoint=DST) of the backbone '
        'that is printed.')
    parser.add_argument('src',
                        help='downloaded checkpoint (.pth or .safetensors)')
    parser.add_argument('dst', help='file to write (.pth)')
    add_trust_argument(parser)
    args = parser.parse_args()
    try:
        meta = convert_dinov2_file(args.src, args.dst, args.trust_checkpoint)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f'error: {error}') from error
    print(f'Wrote {args.dst}, a checkpoint of\n  backbone=dict(')
    for name, value in meta['backbone'].items():
        print(f'      {name}={value!r},')
    print('      init_cfg=dict(type=\'Pretrained\', '
          f'checkpoint={args.dst!r}))')
