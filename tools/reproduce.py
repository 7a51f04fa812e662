"""Reproduce a paper: check, run all stages, compare with its numbers."""
import argparse

from mmwsss.apis.command_line import add_options_argument, plain_errors
from mmwsss.apis.reproduce import reproduce
from mmwsss.apis.reproduction_methods import DATASETS


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Looks for data and weights, says what the trainings '
        'cost, runs all stages of a method, and compares each with the '
        "paper's number. A run that was interrupted continues with the same "
        'command.',
        epilog='example: python tools/reproduce.py acr --check')
    parser.add_argument(
        'method',
        help='name of a method (any wrong name lists all), or the path of a '
        'pipeline config')
    parser.add_argument(
        '--dataset',
        choices=list(DATASETS),
        default='voc',
        help='for a name (default: voc)')
    parser.add_argument(
        '--check',
        action='store_true',
        help='only look for data and weights; fails if something is missing')
    parser.add_argument(
        '--seed', type=int, default=0, help='of all trainings (default: 0)')
    parser.add_argument(
        '--measure',
        type=int,
        default=0,
        metavar='STEPS',
        help='time so many steps of the first training beforehand')
    parser.add_argument(
        '--work-dir',
        help='folder for everything (default: '
        'work_dirs/reproduce/METHOD_DATASET_seedSEED)')
    parser.add_argument(
        '--processes',
        type=int,
        default=1,
        metavar='N',
        help='train and test on N processes, one per GPU, which share the '
        'images of each step (default: 1)')
    parser.add_argument(
        '--workers',
        type=int,
        metavar='N',
        help='processes of the tools that work on files (default: one per '
        'core)')
    parser.add_argument(
        '--until', metavar='STAGE', help='stop after this stage')
    parser.add_argument(
        '--redo',
        metavar='STAGE',
        help='delete the results of this stage and of all that need it, then '
        'run them anew')
    add_options_argument(
        parser, "variables.train_options='train_dataloader.num_workers=8'; "
        'the report says so')
    return parser.parse_args(argv)


def main() -> None:
    with plain_errors():
        report = reproduce(**vars(parse_args()))
    if report.missing:
        raise SystemExit(1)


if __name__ == '__main__':
    main()
