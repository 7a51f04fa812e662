"""What the command-line tools share: arguments and how they end."""
import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from mmengine.config import DictAction

from mmwsss.utils.errors import WorkError


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Say in one line what a person can mend; bugs keep their traceback.

    Errors of files and of arguments, and :class:`WorkError`, end the program
    with ``error: ...`` and exit status 1, Ctrl-C with 130.
    """
    try:
        yield
    except KeyError as error:
        raise SystemExit(f'\nerror: {error.args[0]}') from None
    except (OSError, ValueError, MemoryError, WorkError) as error:
        raise SystemExit(f'\nerror: {error}') from None
    except KeyboardInterrupt:
        print(
            '\ninterrupted; run the same command again to continue',
            file=sys.stderr)
        raise SystemExit(130) from None


def add_options_argument(parser: argparse.ArgumentParser,
                         example: str) -> None:
    """Add ``--cfg-options``.

    Args:
        parser (ArgumentParser): Gets the argument.
        example (str): ``key=value`` for its help.
    """
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help=f'change settings of the config, e.g. {example}')


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what training and testing share with mmseg's tools.

    Args:
        parser (ArgumentParser): Gets the arguments.
    """
    add_options_argument(
        parser, 'train_dataloader.batch_size=2 '
        'model.test_cfg.scales="(1.0,1.5)" (quote, no blanks)')
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how several processes are started; the scripts dist_*.sh and '
        'slurm_*.sh set it')
    add_trust_argument(parser)
    # torch.distributed.launch passes its rank in either spelling.
    parser.add_argument(
        '--local_rank',
        '--local-rank',
        type=int,
        default=0,
        help=argparse.SUPPRESS)


def add_shard_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--shard``, of all tools that write files of images.

    Args:
        parser (ArgumentParser): Gets the argument.
    """
    parser.add_argument(
        '--shard',
        metavar='I/N',
        help='do every N-th image only, from the I-th on (1/4 .. 4/4), so '
        "that N machines share --out; 'auto' also reads job arrays of SLURM "
        '(default: the process of torchrun or srun, if there are several)')


def add_trust_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust-checkpoint``, of all tools that read checkpoints.

    Args:
        parser (ArgumentParser): Gets the argument.
    """
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='read checkpoints that hold more than weights; loading these '
        'can run any code, so only for files of a source you trust')


def run_converter(description: str, convert: Callable[..., dict],
                  report: Callable[[str, dict[str, Any]], str]) -> None:
    """The whole of a tool that converts a checkpoint.

    Args:
        description (str): For ``--help``.
        convert (Callable): Converts ``(src, dst, trusted=...)`` and returns
            facts of the result.
        report (Callable): Says what was written, of ``(dst, facts)``.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        'src', help='downloaded checkpoint (.pth; .params of MXNet and '
        '.safetensors where they exist)')
    parser.add_argument('dst', help='file to write (.pth)')
    add_trust_argument(parser)
    args = parser.parse_args()
    with plain_errors():
        facts = convert(
            args.src, args.dst, trusted=args.trust_checkpoint)
    print(report(args.dst, facts))
