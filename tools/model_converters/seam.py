"""Convert a network trained with SEAM's code into a CAMSegmentor."""
from functools import partial

from mmwsss.apis.command_line import run_converter
from mmwsss.models.converters.checkpoint_file import convert_file
from mmwsss.models.converters.seam import convert_seam


def report(dst: str, facts: dict) -> str:
    return (f'Wrote {dst}, a checkpoint for '
            'configs/seam/seam_resnet38_voc.py, '
            f'from {facts["source"]} (SHA-256 {facts["source_sha256"]}).')


def main() -> None:
    run_converter(
        'Rename the parameters of a network that SEAM\'s code trained. The '
        'result is a checkpoint for configs/seam/seam_resnet38_voc.py.',
        partial(convert_file, convert=convert_seam), report)


if __name__ == '__main__':
    main()
