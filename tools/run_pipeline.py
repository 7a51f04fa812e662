"""Run all stages of a paper: from tags to a trained segmentation model."""
import argparse

from mmengine.config import DictAction

from mmwsss.apis.pipeline import StageError
from mmwsss.apis.run_pipeline import run_pipeline


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
        action='store_true',
        help='measure nothing: for data without masks')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='change settings of the pipeline config')
    return parser.parse_args(argv)


def main() -> None:
    try:
        run_pipeline(parse_args())
    except (StageError, OSError, RuntimeError, ValueError) as error:
        raise SystemExit(f'\nerror: {error}') from error
    except KeyboardInterrupt:
        raise SystemExit(
            '\ninterrupted; run the same command again to continue') from None


if __name__ == '__main__':
    main()
