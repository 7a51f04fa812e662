"""Run all stages of a paper: from tags to a trained segmentation model."""
import argparse

from mmwsss.apis.command_line import add_options_argument, plain_errors
from mmwsss.apis.pipeline_run import run_pipeline


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Run all stages of a pipeline config. Stages that are '
        'finished are skipped, a stage that was interrupted continues.',
        epilog='example: python tools/run_pipeline.py '
        'configs/acr/pipeline_shapes.py')
    parser.add_argument('config', help='path of the pipeline config')
    parser.add_argument(
        '--work-dir',
        help='folder for everything that the stages make '
        '(default: work_dirs/FOLDER_CONFIG)')
    parser.add_argument(
        '--processes',
        type=int,
        default=1,
        metavar='N',
        help='train and test on N processes, one per GPU (default: 1)')
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
    parser.add_argument(
        '--no-scores',
        dest='scores',
        action='store_false',
        help='measure nothing: for data without masks')
    add_options_argument(parser, 'variables.seed=1')
    return parser.parse_args(argv)


def main() -> None:
    with plain_errors():
        pipeline = run_pipeline(**vars(parse_args()))
    print(pipeline.report())


if __name__ == '__main__':
    main()
