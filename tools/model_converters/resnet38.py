"""Convert a ResNet-38 checkpoint of MXNet, PSA or SEAM into a backbone."""
from mmwsss.apis.command_line import run_converter
from mmwsss.models.converters.resnet38 import convert_resnet38_file


def report(dst: str, facts: dict) -> str:
    return (f'Wrote {dst}, a checkpoint of mmwsss.ResNet38, '
            f'from {facts["source"]} (SHA-256 {facts["source_sha256"]}).')


def main() -> None:
    run_converter(
        'Make the ResNet-38 in a checkpoint, such as MXNet\'s '
        'ilsvrc-cls_rna-a1_cls1000_ep-0001.params or one of PSA or SEAM, '
        'usable by init_cfg=dict(type="Pretrained", checkpoint=DST) of '
        'mmwsss.ResNet38.',
        convert_resnet38_file, report)


if __name__ == '__main__':
    main()
