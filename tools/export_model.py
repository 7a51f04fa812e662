"""Write a trained model as ONNX or TorchScript."""
import argparse

from mmwsss.apis.command_line import (
    add_options_argument,
    add_trust_argument,
    plain_errors,
)
from mmwsss.apis.export import export_model


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Writes a model for other programs: CAMs of all '
        'classes and tag scores of a classifier, logits of a segmentation '
        'model. The file is run once and compared with the model.',
        epilog='example: python tools/export_model.py '
        'configs/cam/cam_r18_shapes.py work_dirs/cam_r18_shapes --size 96 '
        '--out shapes.onnx')
    parser.add_argument('config', help='path of the config')
    parser.add_argument(
        'checkpoint',
        help='path of the checkpoint, or of the work folder of a training '
        'whose last one is meant')
    parser.add_argument(
        '--out', metavar='FILE', required=True, help='the file, e.g. x.onnx')
    parser.add_argument(
        '--size',
        type=int,
        nargs='+',
        required=True,
        metavar='N',
        help='height and width of the images, or one number for both')
    parser.add_argument(
        '--format',
        choices=['onnx', 'torchscript'],
        help='default: onnx for files ending in .onnx')
    add_options_argument(
        parser,
        'model.test_cfg.scales="(1.0,)" model.test_cfg.flip=False')
    add_trust_argument(parser)
    return parser.parse_args(argv)


def main() -> None:
    args = parse_args()
    with plain_errors():
        facts = export_model(**vars(args))
    compared = 'not run' if facts['differences'] is None else ', '.join(
        f'{name} within {d:.1e}' for name, d in facts['differences'].items())
    print(f'{args.out}: {", ".join(facts["outputs"])} ({compared})')


if __name__ == '__main__':
    main()
