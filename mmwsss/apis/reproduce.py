"""Reproduce a paper, stage by stage: the work of tools/reproduce.py."""
import hashlib
import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mmwsss.utils.errors import WorkError
from mmwsss.utils.io import atomic_write, find_file
from mmwsss.utils.model_index import index_root
from mmwsss.utils.requirements import installed_version
from mmwsss.version import __version__

from .estimate_cost import in_words
from .pipeline import PathLike, Pipeline, Stage, StageError
from .pipeline_run import load_pipeline_config, run_pipeline
from .reproduction_cost import (
    TRAIN,
    TrainingCost,
    disk_gib,
    free_gib,
    gpus_needed,
    time_steps,
    training_config,
    training_costs,
)
from .reproduction_inputs import Check, check_inputs, configs_of, gpus
from .reproduction_methods import Method, Reference, find_method

FORMAT, VERSION = 'mmwsss-reproduction', 1
#: Points of mIoU within which a number counts as reproduced.
TOLERANCE = 1.0
LIBRARIES = ('torchvision', 'mmengine', 'mmcv', 'mmseg', 'mmpretrain', 'timm')
#: Rows that are no accuracy: the share of pixels without a label.
NO_SCORES = ('ignored', )
MARKDOWN_HEAD = (
    '| method | data | seed | numbers (paper: verdict) | hardware | time | '
    'version | settings |\n' + '|---' * 8 + '|')


@dataclass
class Comparison:
    """One row of the final table.

    Attributes:
        stage (str): Stage of the pipeline; '-' where none measures it.
        title (str): What was measured.
        paper (float, optional): Number of the paper, in percent.
        note (str): What the metafile notes on it.
        recorded (float, optional): Number of our own runs.
        ours (float, optional): Number of this run.
        difference (float, optional): Ours minus that of the paper or, without
            one, minus the recorded one.
        verdict (str): See :func:`verdict`.
    """
    stage: str
    title: str
    paper: float | None = None
    note: str = ''
    recorded: float | None = None
    ours: float | None = None
    difference: float | None = None
    verdict: str = ''


@dataclass
class ReproductionReport:
    """What a reproduction needed, cost and measured.

    Attributes:
        method (str): Its name.
        dataset (str): What it was trained on.
        pipeline (str): The pipeline config.
        seed (int): Of all trainings.
        work_dir (Path): Where everything is.
        checks (list[Check]): What the run needs.
        costs (list[TrainingCost]): Of its trainings.
        options (dict[str, Any]): Settings that were changed.
        variables (dict[str, str]): Of the pipeline, set by the method.
        processes (int): Of trainings and tests.
        comparison (list[Comparison]): The final table.
        stages (list[dict]): Name, status, seconds and metrics of each stage
            that was begun.
        settings (str): Digest of the pipeline and of all configs that it
            names, but for the seed.
    """
    method: str
    dataset: str
    pipeline: str
    seed: int
    work_dir: Path
    checks: list[Check] = field(default_factory=list)
    costs: list[TrainingCost] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    processes: int = 1
    comparison: list[Comparison] = field(default_factory=list)
    stages: list[dict[str, Any]] = field(default_factory=list)
    settings: str = ''

    @property
    def missing(self) -> list[Check]:
        """What has to be brought before a run."""
        return [check for check in self.checks if not check.ok]

    @property
    def finished(self) -> bool:
        """Whether all stages have run."""
        return bool(self.stages) and all(
            stage['status'] == 'finished' for stage in self.stages)

    @property
    def seconds(self) -> float:
        """Of all stages, those of interrupted runs included."""
        return sum(stage['seconds'] for stage in self.stages)

    def table(self) -> Table:
        """Stage, paper, this run, difference, verdict.

        Returns:
            Table: With a column of recorded numbers if there are any.
        """
        recorded = any(row.recorded is not None for row in self.comparison)
        columns = ['stage', 'number', 'paper',
                   *(['recorded'] if recorded else []), 'ours', 'difference',
                   'verdict']
        table = _table(f'{self.method} on {self.dataset}, mIoU in percent',
                       columns, right=('paper', 'recorded', 'ours',
                                       'difference'))
        for row in self.comparison:
            paper = _number(row.paper) + (f' ({row.note})' if row.note else '')
            table.add_row(*map(escape, (
                row.stage, row.title, paper,
                *([_number(row.recorded)] if recorded else []),
                _number(row.ours, 2), _number(row.difference, 2, '+'),
                row.verdict)))
        return table

    def as_dict(self) -> dict[str, Any]:
        """Everything that others need to judge the run.

        Returns:
            dict: Ready for JSON; no name of a person or a machine, no path
            outside of the repository.
        """
        content: dict[str, Any] = dict(
            format=FORMAT,
            version=VERSION,
            method=self.method,
            dataset=self.dataset,
            pipeline=self.pipeline,
            variables=self.variables,
            options={k: str(v) for k, v in self.options.items()},
            seed=self.seed,
            processes=self.processes,
            settings=self.settings,
            finished=self.finished,
            seconds=round(self.seconds, 1),
            mmwsss=__version__,
            commit=commit(),
            libraries=library_versions(),
            hardware=hardware())
        return dict(
            content,
            comparison=[asdict(row) for row in self.comparison],
            stages=self.stages)

    def markdown(self) -> str:
        """The run in one line of a Markdown table.

        Returns:
            str: A row below :data:`MARKDOWN_HEAD`.
        """
        numbers = '; '.join(
            f'{row.title} {row.ours:.1f}' +
            (f' ({row.paper:.1f}: {row.verdict})'
             if row.paper is not None else '')
            for row in self.comparison if row.ours is not None)
        facts = hardware()
        cells = [
            self.method, self.dataset, str(self.seed),
            numbers or 'nothing measured',
            ', '.join(g['name'] for g in facts['gpus']) or
            f'{facts["cpu"]}, {facts["cores"]} cores',
            in_words(self.seconds / 3600), f'{__version__} {commit() or ""}',
            self.settings + (' changed: ' + ' '.join(
                f'{k}={v}' for k, v in self.options.items())
                             if self.options else '')
        ]
        return '| ' + ' | '.join(c.strip().replace('|', '/')
                                 for c in cells) + ' |'

    def write(self) -> list[Path]:
        """Write ``reproduction.json`` and ``reproduction.md``.

        Returns:
            list[Path]: Both, in the work folder.
        """
        files = {
            'reproduction.json': json.dumps(self.as_dict(), indent=2),
            'reproduction.md': f'{MARKDOWN_HEAD}\n{self.markdown()}'
        }
        for name, text in files.items():
            with atomic_write(self.work_dir / name) as temp:
                temp.write_text(text + '\n', encoding='utf-8')
        return [self.work_dir / name for name in files]


def _number(value: float | None, digits: int = 1, sign: str = '') -> str:
    return '-' if value is None else f'{value:{sign}.{digits}f}'


def _table(title: str, columns: Sequence[str],
           right: Sequence[str] = ()) -> Table:
    table = Table(title=title, title_justify='left')
    for column in columns:
        table.add_column(
            column, justify='right' if column in right else 'left',
            overflow='fold')
    return table


# --------------------------------------------------------------- comparison
def verdict(ours: float | None,
            paper: float | None,
            recorded: float | None = None,
            changed: bool = False) -> str:
    """A number in words.

    Args:
        ours (float, optional): Of this run, in percent.
        paper (float, optional): Of the paper.
        recorded (float, optional): Of our own runs; counts where the paper
            has none. Defaults to None.
        changed (bool): Whether settings were changed. Defaults to False.

    Returns:
        str: 'reproduced' within :data:`TOLERANCE` points of the paper,
        'better' above, 'lower' below; 'as recorded', 'above the record' and
        'below the record' likewise; 'no paper number' without either, 'not
        measured' without a result.
    """
    target = recorded if paper is None else paper
    if ours is None:
        return 'not measured'
    if target is None:
        return 'no paper number'
    # Two digits, as numbers are shown: 1.00 is within.
    difference = round(ours - target, 2)
    words = ('lower', 'reproduced', 'better') if paper is not None else (
        'below the record', 'as recorded', 'above the record')
    word = words[1 + (difference > TOLERANCE) - (difference < -TOLERANCE)]
    return f'{word}, settings changed' if changed else word


def compare(method: Method,
            rows: Mapping[str, tuple[str, str]],
            scores: Mapping[str, Mapping[str, Any]],
            changed: bool = False) -> list[Comparison]:
    """Put the numbers of a run beside those of the paper.

    Args:
        method (Method): With its numbers.
        rows (Mapping[str, tuple[str, str]]): Title of a row of the pipeline
            -> its stage and the name of its metric.
        scores (Mapping[str, Mapping]): Stage -> its metrics.
        changed (bool): Whether settings were changed. Defaults to False.

    Returns:
        list[Comparison]: The rows in their order, then what the paper
        reports and no stage measures.
    """
    paper = {r.row: r for r in method.paper if r.row}
    recorded = {r.row: r.value for r in method.recorded if r.row}
    table = []
    for title, (stage, key) in rows.items():
        if key in NO_SCORES:
            continue
        reference: Reference | None = paper.get(title)
        theirs = reference.value if reference else None
        ours = (scores.get(stage) or {}).get(key)
        target = recorded.get(title) if theirs is None else theirs
        table.append(
            Comparison(
                stage=stage,
                title=title,
                paper=theirs,
                note=reference.note if reference else '',
                recorded=recorded.get(title),
                ours=ours,
                difference=None if ours is None or target is None else
                round(ours - target, 2),
                verdict=verdict(ours, theirs, recorded.get(title), changed)))
    for reference in method.paper:
        if reference.row is None:
            table.append(
                Comparison('-', reference.title, reference.value,
                           reference.note,
                           verdict='no stage measures it'))
    return table


# -------------------------------------------------------------------- facts
def commit() -> str | None:
    """The commit of the repository that runs.

    Returns:
        str | None: Ten digits, with ``+`` where files were changed since;
        None outside of a repository.
    """
    root = index_root()
    if not (root / '.git').exists():
        return None
    try:
        head, changes = (subprocess.run(
            ['git', '-C', str(root), *words], capture_output=True, text=True,
            check=True).stdout.strip() for words in (
                ['rev-parse', '--short=10', 'HEAD'],
                ['status', '--porcelain', '--untracked-files=no']))
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ('+' if changes else '')


def library_versions() -> dict[str, str]:
    """Versions of Python, torch and what it all builds on.

    Returns:
        dict[str, str]: Name -> version; those that are not there are left
        out.
    """
    versions = dict(
        python=platform.python_version(),
        torch=torch.__version__,
        numpy=np.__version__)
    for name in LIBRARIES:
        spec = importlib.util.find_spec(name)
        found = installed_version(spec.origin) if spec else None
        if found:
            versions[name] = found
    if torch.version.cuda:
        versions['cuda'] = torch.version.cuda
    versions['crf'] = 'pydensecrf' if importlib.util.find_spec(
        'pydensecrf') else 'torch'
    return versions


def hardware() -> dict[str, Any]:
    """What the run ran on.

    Returns:
        dict: ``cpu``, ``cores`` and ``gpus``.
    """
    cpu = platform.processor() or platform.machine()
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as file:
            cpu = next(line.split(':')[1].strip() for line in file
                       if line.startswith('model name'))
    except (OSError, StopIteration):
        pass
    return dict(
        cpu=cpu,
        cores=os.cpu_count() or 1,
        gpus=[dict(name=name, memory_gib=round(memory, 1))
              for name, memory in gpus()])


def settings_digest(cfg: Config, configs: Sequence[str]) -> str:
    """Digest of all settings of a run but its seed.

    Args:
        cfg (Config): The pipeline.
        configs (Sequence[str]): Configs that it names.

    Returns:
        str: 16 hexadecimal digits. Two runs with the same ones differ in
        their seeds, their code and their hardware only.
    """
    variables = {k: v for k, v in (cfg.get('variables') or {}).items()
                 if k != 'seed'}
    facts = dict(
        variables=variables,
        stages=cfg._cfg_dict.to_dict().get('stages'),
        configs={
            name: Config.fromfile(find_file(name))._cfg_dict.to_dict()
            for name in configs
        })
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# ---------------------------------------------------------------------- run
def split_steps(cfg: Config, processes: int,
                work_dir: Path) -> dict[str, Any]:
    """Let several processes share the images of each training step.

    With the batch size of a config every one of them would take as many as
    the only one did, which is another recipe.

    Args:
        cfg (Config): The pipeline.
        processes (int): Of trainings.
        work_dir (Path): Of the pipeline.

    Returns:
        dict[str, Any]: Options of the pipeline; none for one process.

    Raises:
        ValueError: If a training cannot be shared equally.
    """
    options: dict[str, Any] = {}
    if processes == 1:
        return options
    for stage in Pipeline(cfg, work_dir).stages:
        raw = cfg.stages[stage.name].command
        lines = [raw] if isinstance(raw, str) else list(raw)
        for i, command in enumerate(stage.commands):
            found = training_config(command)
            if found is None:
                continue
            settings = Config.fromfile(find_file(found[0]))
            settings.merge_from_dict(found[1])
            images = settings.train_dataloader.batch_size
            if images % processes:
                raise ValueError(
                    f'{processes} processes cannot share a step of stage '
                    f'{stage.name!r} equally: it has {images} image(s). '
                    'Larger steps would be another recipe. Take a number '
                    'that divides the steps of all trainings, or 1.')
            lines[i] += ('' if '--cfg-options' in lines[i] else
                         ' --cfg-options')
            lines[i] += (' train_dataloader.batch_size='
                         f'{images // processes}')
        if any(line.startswith(TRAIN) for line in lines):
            options[f'stages.{stage.name}.command'] = \
                lines[0] if isinstance(raw, str) else lines
    return options


def reproduce(method: str,
              dataset: str = 'voc',
              *,
              check: bool = False,
              seed: int = 0,
              work_dir: PathLike | None = None,
              processes: int = 1,
              workers: int | None = None,
              until: str | None = None,
              redo: str | None = None,
              measure: int = 0,
              cfg_options: Mapping[str, Any] | None = None
              ) -> ReproductionReport:
    """Check, estimate, run and compare one method.

    Args:
        method (str): Its name in the metafiles, or the path of a pipeline
            config.
        dataset (str): 'voc', 'coco', 'voc-mini' or 'shapes'. Defaults to
            'voc'.
        check (bool): Whether to stop after looking for data and weights.
            Defaults to False.
        seed (int): Of all trainings. Defaults to 0.
        work_dir (str | Path, optional): Folder for everything. Defaults to
            ``work_dirs/reproduce/{method}_{dataset}_seed{seed}``.
        processes (int): Of trainings and tests, which share the images of a
            step. Defaults to 1.
        workers (int, optional): Processes of stages on CPU cores. Defaults
            to one per core.
        until (str, optional): The last stage to run.
        redo (str, optional): A stage to run anew, with all that follows.
        measure (int): Steps of the first training to be timed beforehand.
            Defaults to 0, none.
        cfg_options (Mapping[str, Any], optional): Dotted key of the pipeline
            -> value. The report says that settings were changed.

    Returns:
        ReproductionReport: After a check with ``missing``, after a run with
        ``comparison``, which is written as well.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If there is no such method, or a setting does not fit.
        WorkError: If data or weights are missing, or a stage fails. What was
            measured until then is written.
    """
    console = _console()
    found = find_method(method, dataset)
    changed = dict(cfg_options or {})
    seed = changed.pop('variables.seed', seed)
    folder = Path(work_dir or 'work_dirs/reproduce/'
                  f'{found.name}_{found.dataset}_seed{seed}')
    options = {
        **{f'variables.{k}': v for k, v in found.variables.items()},
        'variables.seed': seed,
        **changed
    }
    path = str(find_file(found.pipeline))
    cfg = load_pipeline_config(path, options)
    options.update(split_steps(cfg, processes, folder))
    cfg = load_pipeline_config(path, options)
    stages = Pipeline(cfg, folder).stages
    report = ReproductionReport(
        method=found.name,
        dataset=found.dataset,
        pipeline=found.pipeline,
        seed=seed,
        work_dir=folder,
        options=changed,
        variables=found.variables,
        processes=processes,
        settings=settings_digest(cfg, configs_of(stages)))

    report.checks = check_inputs(stages)
    console.print(_check_table(report.checks))
    if report.missing:
        console.print(_what_to_do(report.missing), markup=False,
                      soft_wrap=True)
    if check:
        return report
    if report.missing:
        raise WorkError(f'{len(report.missing)} thing(s) that '
                        f'{found.name} needs are missing, see above. Nothing '
                        'was run.')

    report.costs = training_costs(stages, found.dataset)
    if measure:
        _measure(report, stages, measure)
    console.print(_cost_table(report.costs))
    for line in _cost_notes(report, stages):
        console.print(line, markup=False, soft_wrap=True)

    try:
        run_pipeline(
            path,
            work_dir=folder,
            processes=processes,
            workers=workers,
            until=until,
            redo=redo,
            cfg_options=options)
    except (StageError, KeyboardInterrupt):
        _fill(report, found, Pipeline(cfg, folder))
        raise
    _fill(report, found, Pipeline(cfg, folder))
    _show(report, console)
    return report


def _console() -> Console:
    """Wide enough for paths where nobody looks at a terminal."""
    return Console() if sys.stdout.isatty() else Console(width=150)


def _check_table(checks: Sequence[Check]) -> Table:
    table = _table('What the run needs', ['', 'kind', 'where', 'found'])
    for check in checks:
        table.add_row('ok' if check.ok else 'MISSING',
                      *map(escape, (check.what, check.where, check.found)))
    return table


def _what_to_do(missing: Sequence[Check]) -> str:
    """Commands for what is missing, each once."""
    remedies = dict.fromkeys(check.remedy for check in missing)
    lines = []
    for remedy in remedies:
        places = [c.where for c in missing if c.remedy == remedy]
        lines += [f'  {remedy}', f'      for {", ".join(places)}']
    return '\n'.join(('To get what is missing:', *lines))


def _measure(report: ReproductionReport, stages: Sequence[Stage],
             steps: int) -> None:
    """Time the first training, whose data are there."""
    command = next((c for stage in stages for c in stage.commands
                    if training_config(c)), None)
    if command is None:
        return
    config, options = training_config(command)
    first = report.costs[0]
    first.seconds, peak = time_steps(config, options, steps)
    first.memory = first.memory if peak is None else peak


def _cost_table(costs: Sequence[TrainingCost]) -> Table:
    table = _table(
        'Trainings', ['stage', 'config', 'images of a step', 'steps',
                      'one step', 'in all', 'memory of a step'],
        right=('images of a step', 'steps', 'one step', 'in all',
               'memory of a step'))
    for cost in costs:
        known = cost.seconds is not None
        table.add_row(*map(escape, (
            cost.stage, cost.config, str(cost.batch_size), f'{cost.steps:,}',
            f'{cost.seconds:.3f} s' if known else 'unknown',
            in_words(cost.seconds * cost.steps / 3600) if known else 'unknown',
            'unknown' if cost.memory is None else f'{cost.memory:.1f} GiB')))
    return table


def _cost_notes(report: ReproductionReport,
                stages: Sequence[Stage]) -> list[str]:
    """What a table cannot say."""
    notes = []
    if any(cost.seconds is None for cost in report.costs):
        notes.append(
            'Nobody measured how long a step takes on this machine'
            f'{" for all of them" if report.costs[0].seconds else ""}: '
            '--measure 20 times the first training, '
            'benchmarks/bench_stages.py all stages of ACR (docs/cost.md).')
    for name, memory in gpus():
        for cost in report.costs:
            number = gpus_needed(cost, memory)
            if number != 1:
                notes.append(
                    f'Stage {cost.stage} may not fit into {name} '
                    f'({memory:.0f} GiB). ' + (
                        f'--processes {number} on as many GPUs share its '
                        'steps; ' if number else '') +
                    'model.backbone.with_cp=True takes less memory '
                    '(docs/cost.md).')
    if report.costs:
        first = report.costs[0]
        images = max(first.batch_size, _images_of(report.checks))
        need = disk_gib(stages, images, report.dataset)
        free = free_gib(report.work_dir)
        notes.append(
            f'CAMs and CRF probabilities take about {need:.1f} GiB before '
            'they are compressed, checkpoints come on top; the disk of '
            f'{report.work_dir} has {free:.0f} GiB left.' +
            (' That is too little.' if free < need else ''))
    return notes


def _images_of(checks: Sequence[Check]) -> int:
    """Images of the longest list."""
    sizes = [int(check.found.split()[0].replace(',', ''))
             for check in checks if check.what == 'list' and check.ok]
    return max(sizes, default=0)


def _fill(report: ReproductionReport, method: Method,
          pipeline: Pipeline) -> None:
    """Read what the stages brought, and write it."""
    report.stages = [
        dict(
            name=entry['name'],
            status=entry['status'],
            started=entry['started'],
            seconds=round(
                sum(entry['seconds']) + entry.get('seconds_before', 0.), 1),
            metrics=entry['metrics']) for entry in (
                pipeline.results[s.name] for s in pipeline.stages
                if s.name in pipeline.results)
    ]
    report.stages += [
        dict(name=s.name, status='not begun', started=None, seconds=0.,
             metrics=None) for s in pipeline.stages
        if s.name not in pipeline.results
    ]
    report.comparison = compare(
        method, {
            title: (s.name, key)
            for s in pipeline.stages for title, key in s.rows.items()
        }, {s['name']: s['metrics'] or {} for s in report.stages},
        bool(report.options))
    report.write()


def _show(report: ReproductionReport, console: Console) -> None:
    console.print(report.table())
    notes = [f'One seed ({report.seed}); "ours" is this run.']
    if report.options:
        notes.append(
            'Settings were changed: ' + ' '.join(
                f'{k}={v}' for k, v in report.options.items()) +
            '. The numbers are those of the recipe only if these change '
            'speed alone.')
    notes += [
        f'Took {in_words(report.seconds / 3600)}. To send back: '
        f'{report.work_dir / "reproduction.json"}, and this row:', '',
        report.markdown()
    ]
    console.print('\n'.join(notes), markup=False, soft_wrap=True)
