"""Convert a DINOv2 checkpoint, the official or timm's, into a backbone."""
from mmwsss.apis.command_line import run_converter
from mmwsss.models.converters.dinov2 import convert_dinov2_file


def report(dst: str, facts: dict) -> str:
    lines = [f'Wrote {dst}, a checkpoint of', '  backbone=dict(']
    lines += [f'      {k}={v!r},' for k, v in facts['backbone'].items()]
    return '\n'.join([
        *lines, "      init_cfg=dict(type='Pretrained', "
        f'checkpoint={dst!r}))'
    ])


def main() -> None:
    run_converter(
        'Rename the parameters of a DINOv2 ViT-S, ViT-B or ViT-L with or '
        'without registers, such as dinov2_vits14_reg4_pretrain.pth or '
        'timm\'s vit_small_patch14_reg4_dinov2. The result is used by '
        'init_cfg=dict(type="Pretrained", checkpoint=DST) of the backbone '
        'that is printed.',
        convert_dinov2_file, report)


if __name__ == '__main__':
    main()
