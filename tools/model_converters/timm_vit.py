"""Convert a ViT checkpoint of timm into a backbone of ours."""
from mmwsss.apis.command_line import run_converter
from mmwsss.models.converters.timm_vit import convert_checkpoint


def report(dst: str, facts: dict) -> str:
    architecture = dict(facts['architecture'])
    kind = architecture.pop('type')
    return '\n'.join([
        f'Wrote {dst}, a checkpoint of mmwsss.{kind}:',
        *(f'  {name}: {value}' for name, value in architecture.items())
    ])


def main() -> None:
    run_converter(
        'Rename the parameters of a checkpoint such as '
        'vit_base_r50_s16_384 (hybrid) or vit_base_patch16_384. '
        'The result is used by init_cfg=dict(type="Pretrained", '
        'checkpoint=DST) of the backbone.',
        convert_checkpoint, report)


if __name__ == '__main__':
    main()
