"""Convert a Caffe-style ResNet of DeepLab into a backbone of mmseg."""
from functools import partial

from mmwsss.apis.command_line import run_converter
from mmwsss.models.converters.checkpoint_file import convert_file
from mmwsss.models.converters.deeplab import convert_deeplab_resnet


def report(dst: str, facts: dict) -> str:
    return (f'Wrote {dst}, a ResNet of mmseg, '
            f'from {facts["source"]} (SHA-256 {facts["source_sha256"]}).')


def main() -> None:
    run_converter(
        'Rename the parameters of a checkpoint such as '
        'deeplabv1_resnet101-coco. The result is used by '
        'init_cfg=dict(type="Pretrained", checkpoint=DST) of a '
        'ResNet(style="caffe").',
        partial(convert_file, convert=convert_deeplab_resnet), report)


if __name__ == '__main__':
    main()
