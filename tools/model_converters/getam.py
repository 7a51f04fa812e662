"""Convert a network trained with GETAM's code into an EndToEndSegmentor."""
from functools import partial

from mmwsss.apis.command_line import run_converter
from mmwsss.models.converters.checkpoint_file import convert_file
from mmwsss.models.converters.getam import convert_getam


def report(dst: str, facts: dict) -> str:
    return (f'Wrote {dst}, a checkpoint for the config in configs/getam '
            'with the same backbone, '
            f'from {facts["source"]} (SHA-256 {facts["source_sha256"]}).')


def main() -> None:
    run_converter(
        'Rename the parameters of a network that GETAM\'s code trained. The '
        'result is a checkpoint for the config in configs/getam with the '
        'same backbone.',
        partial(convert_file, convert=convert_getam), report)


if __name__ == '__main__':
    main()
