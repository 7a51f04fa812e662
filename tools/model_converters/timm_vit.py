"""Convert a ViT checkpoint of timm into a backbone of ours."""
import argparse

from mmwsss.utils.convert import convert_checkpoint


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Rename the parameters of a checkpoint such as '
        'vit_base_r50_s16_384 (hybrid) or vit_base_patch16_384. '
        'The result is used by init_cfg=dict(type="Pretrained", '
        'checkpoint=DST) of the backbone.')
    parser.add_argument('src', help='downloaded checkpoint (.pth)')
    parser.add_argument('dst', help='file to write (.pth)')
    return parser.parse_args()


def main() -> None:
    """Convert and say what was found."""
    args = parse_args()
    try:
        meta = convert_checkpoint(args.src, args.dst)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f'error: {error}') from error
    facts = dict(meta['architecture'])
    print(f'Wrote {args.dst}, a checkpoint of mmwsss.{facts.pop("type")}:')
    for name, value in facts.items():
        print(f'  {name}: {value}')


if __name__ == '__main__':
    main()
