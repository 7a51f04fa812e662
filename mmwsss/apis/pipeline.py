"""All stages of a paper, one after the other."""
import ctypes
import hashlib
import json
import os
import platform
import shlex
import shutil
import signal
import socket
import string
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from mmengine.config import Config
from prettytable import PrettyTable

from mmwsss.utils.errors import WorkError
from mmwsss.utils.io import atomic_write, find_file
from mmwsss.version import __version__

from .run_checks import file_classes

PathLike = str | Path
STAGE_KEYS = {'command', 'score', 'outputs', 'metrics', 'rows'}
LOG_LINES = 15


class StageError(WorkError):
    """A stage that failed; the message names it and its log."""


@dataclass
class Stage:
    """One stage, its placeholders filled in.

    Attributes:
        name (str): Its name, also that of its folder.
        commands (list[str]): Shell-like command lines.
        score (str, optional): The command line that measures the result.
        outputs (dict[str, str]): Name to path of what it makes.
        metrics (str, optional): JSON file with the result.
        rows (dict[str, str]): Title of a row of the final table to the name
            of its metric.
        needs (list[str]): Stages whose outputs it reads, in order.
        inputs (list[str]): Those outputs' paths.
        key (str): Changes with the commands, the configs that they name and
            the stages it needs.
    """
    name: str
    commands: list[str]
    score: str | None
    outputs: dict[str, str]
    metrics: str | None
    rows: dict[str, str]
    needs: list[str] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    key: str = ''


# ------------------------------------------------------------------- config
def load_stages(cfg: Config, work_dir: Path, workers: int = 1) -> list[Stage]:
    """Read the stages of a pipeline config and fill in their placeholders.

    Args:
        cfg (Config): With ``stages``, see docs/pipelines.md.
        work_dir (Path): Folder of the pipeline.
        workers (int): For ``{workers}``. Defaults to 1.

    Returns:
        list[Stage]: Each after those whose outputs it names, otherwise in
        the order of the config.

    Raises:
        ValueError: If a stage is malformed or names outputs that no other
            stage makes.
    """
    raw = cfg.get('stages')
    if not isinstance(raw, dict) or not raw:
        raise ValueError(f'{cfg.filename} has no stages = dict(...), so it '
                         'is no pipeline config.')
    known = dict(
        cfg.get('variables') or {}, work_dir=str(work_dir), workers=workers)
    for name, stage in raw.items():
        _check_stage(name, stage, {'dir', *known})
    stages: list[Stage] = []
    left = dict(raw)
    while left:
        placed = {stage.name for stage in stages}
        # A stage that names nothing left to come; without any, the first
        # one says what it lacks.
        name = next((n for n, stage in left.items() if not (
            _named(stage) & set(raw)) - placed - {n}), next(iter(left)))
        stages.append(_load_stage(name, left.pop(name), stages, known))
    return stages


def _named(stage: dict) -> set[str]:
    """First parts of a stage's placeholders."""
    texts = [*_as_list(stage['command']), stage.get('score'),
             stage.get('metrics'), *stage['outputs'].values(),
             *(stage.get('rows') or {}).values()]
    return {
        place.partition('.')[0]
        for text in filter(None, texts)
        for _, place, _, _ in string.Formatter().parse(text) if place
    }


def _as_list(command: Any) -> list[str]:
    return [command] if isinstance(command, str) else list(command)


def _check_stage(name: str, raw: dict, taken: set[str]) -> None:
    """Raise ValueError where a stage is not as it must be."""
    needed = {'command', 'outputs'}
    if not needed <= set(raw) <= STAGE_KEYS:
        raise ValueError(
            f'Stage {name!r} needs command and outputs, and may have '
            f'{sorted(STAGE_KEYS - needed)}; it has {sorted(raw)}.')
    if not name.isidentifier() or name in taken:
        raise ValueError(f'Stage {name!r}: a name is letters, digits and _, '
                         f'and none of {sorted(taken)}.')
    if raw.get('rows') and not raw.get('metrics'):
        raise ValueError(f'Stage {name!r} has rows but no metrics file to '
                         'read them from.')


def fill_placeholders(text: str, stages: Sequence[Stage], where: str,
                      **known: Any) -> tuple[str, dict[str, list[str]]]:
    """Put paths where a text of a pipeline config names outputs.

    Args:
        text (str): With placeholders ``{stage.output}`` and those of
            ``known``.
        stages (Sequence[Stage]): Whose outputs may be named.
        where (str): Begins the error message.
        **known: Further placeholders.

    Returns:
        tuple[str, dict]: The text, and for each stage it names the paths.

    Raises:
        ValueError: If it names what is not there.
    """
    outputs = {s.name: s.outputs for s in stages}
    used: dict[str, list[str]] = {}
    for _, place, _, _ in string.Formatter().parse(text):
        if place is None or place in known:
            continue
        stage, _, output = place.partition('.')
        if output not in outputs.get(stage, {}):
            made = [f'{s}.{o}' for s, paths in outputs.items() for o in paths]
            raise ValueError(
                f'{where}: {{{place}}} is made by no stage before it; there '
                f'are {", ".join([*made, *known]) or "none"}.')
        used.setdefault(stage, []).append(outputs[stage][output])
    spaces = {name: SimpleNamespace(**paths)
              for name, paths in outputs.items()}
    return text.format_map({**spaces, **known}), used


def _load_stage(name: str, raw: dict, earlier: list[Stage],
                known: dict[str, Any]) -> Stage:
    needs: list[str] = []
    inputs: list[str] = []

    def fill(text: str) -> str:
        filled, used = fill_placeholders(
            text,
            earlier,
            f'Stage {name!r}',
            dir=os.path.join(known['work_dir'], name),
            **known)
        for stage, path in used.items():
            if stage not in needs:
                needs.append(stage)
            inputs.extend(p for p in path if p not in inputs)
        return filled

    stage = Stage(
        name=name,
        commands=[fill(command) for command in _as_list(raw['command'])],
        score=fill(raw['score']) if raw.get('score') else None,
        outputs={k: fill(v) for k, v in raw['outputs'].items()},
        metrics=fill(raw['metrics']) if raw.get('metrics') else None,
        rows={k: fill(v) for k, v in (raw.get('rows') or {}).items()},
        needs=needs,
        inputs=inputs)
    stage.key = _stage_key(stage, earlier)
    return stage


def _stage_key(stage: Stage, earlier: list[Stage]) -> str:
    """What makes a finished stage worth keeping."""
    configs = {}
    for command in stage.commands:
        for token in shlex.split(command)[1:]:  # The first is the tool.
            path = find_file(token)
            if token.endswith('.py') and path.is_file():
                content = Config.fromfile(str(path))._cfg_dict.to_dict()
                configs[token] = json.dumps(
                    content, sort_keys=True, default=str)
                # Names in files of tags: with others nothing is done yet.
                names = _file_names(content)
                if names:
                    configs[token] += json.dumps(names)
    facts = dict(
        commands=[_without(c, '--workers') for c in stage.commands],
        configs=configs,
        needs={s.name: s.key
               for s in earlier if s.name in stage.needs})
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _file_names(settings: Any) -> list[list]:
    """Class names that data sets of a config take from files of tags."""
    if isinstance(settings, (list, tuple)):
        return [x for inner in settings for x in _file_names(inner)]
    if not isinstance(settings, dict):
        return []
    if settings.get('type') == 'mmwsss.ImageLevelDataset' and not (
            settings.get('metainfo') or {}).get('classes'):
        try:
            names = file_classes(settings)
        except (OSError, ValueError):
            names = None  # The stage itself will say what is wrong.
        return [list(names)] if names else []
    return [x for inner in settings.values() for x in _file_names(inner)]


def _without(command: str, option: str) -> list[str]:
    """A command's tokens but for an option that changes no result."""
    tokens = shlex.split(command)
    while option in tokens:
        place = tokens.index(option)
        del tokens[place:place + 2]
    return tokens


# ---------------------------------------------------------------- execution
def command_line(command: str, processes: int = 1) -> list[str]:
    """What is executed for a command of a stage.

    Args:
        command (str): ``tools/x.py arguments ..``.
        processes (int): With more than one, ``tools/train.py`` and
            ``tools/test.py`` run on that many. Defaults to 1.

    Returns:
        list[str]: For ``subprocess``.
    """
    tokens = [
        str(find_file(t)) if t.split('/')[0] in ('tools', 'configs') else t
        for t in shlex.split(command)
    ]
    if processes > 1 and command.split()[0] in ('tools/train.py',
                                                'tools/test.py'):
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            port = probe.getsockname()[1]
        return [
            sys.executable, '-m', 'torch.distributed.run',
            f'--nproc_per_node={processes}', f'--master_port={port}', *tokens,
            '--launcher', 'pytorch'
        ]
    return [sys.executable, *tokens]


def _die_with_parent() -> None:
    """Let the kernel end a stage whose pipeline was killed (Linux)."""
    if platform.system() == 'Linux':
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _run(command: list[str], log: Path) -> int:
    """Run a command in a process group of its own, its output in a log."""
    environment = dict(os.environ, PYTHONUNBUFFERED='1')
    with open(log, 'ab') as output:
        output.write(f'\n$ {shlex.join(command)}\n'.encode())
        output.flush()
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
            preexec_fn=_die_with_parent)
        try:
            return process.wait()
        finally:
            if process.poll() is None:
                _end_group(process)


def _end_group(process: subprocess.Popen, patience: float = 15.) -> None:
    """End a process and what it started."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(patience)
            return
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            return


class Pipeline:
    """Runs stages, keeps what is done in ``results.json``.

    Args:
        cfg (Config): The pipeline config.
        work_dir (Path): Its folder.
        processes (int): For training and testing. Defaults to 1.
        workers (int): Of the tools that use processes. Defaults to 1.
        scores (bool): Whether results are measured; that takes true masks.
            Defaults to True.

    Attributes:
        page (Path, optional): The gallery, once it is written.

    Raises:
        ValueError: If the config is malformed.
    """

    def __init__(self,
                 cfg: Config,
                 work_dir: Path,
                 processes: int = 1,
                 workers: int = 1,
                 scores: bool = True) -> None:
        self.cfg = cfg
        self.work_dir = work_dir
        self.processes = processes
        self.scores = scores
        self.page: Path | None = None
        self.stages = load_stages(cfg, work_dir, workers)
        self.file = work_dir / 'results.json'
        self.results: dict[str, dict] = {}
        if self.file.is_file():
            try:
                self.results = {
                    entry['name']: entry
                    for entry in json.loads(self.file.read_text())['stages']
                }
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f'{self.file} is damaged ({type(error).__name__}: '
                    f'{error}), so nobody knows what is done. Restore it, or '
                    'delete it to begin anew; what stages have made is then '
                    'continued where they can.') from error

    # -------------------------------------------------------------- planning
    def dependents(self, name: str) -> set[str]:
        """A stage and all that directly or indirectly need it.

        Args:
            name (str): The stage.

        Returns:
            set[str]: Names.

        Raises:
            ValueError: If there is no such stage.
        """
        names = [stage.name for stage in self.stages]
        if name not in names:
            raise ValueError(f'There is no stage {name!r}, only '
                             f'{", ".join(names)}.')
        found = {name}
        for stage in self.stages:
            if found & set(stage.needs):
                found.add(stage.name)
        return found

    def finished(self, stage: Stage) -> bool:
        """Whether a stage has run as the config now says."""
        entry = self.results.get(stage.name, {})
        return (entry.get('status') == 'finished'
                and entry.get('key') == stage.key)

    def plan(self, until: str | None = None) -> list[Stage]:
        """The stages that have to run.

        A finished stage whose outputs were deleted since only runs again if
        another one needs them. One that failed before it made any output is
        begun anew, whatever has changed.

        Args:
            until (str, optional): Last stage wanted.

        Returns:
            list[Stage]: In order.

        Raises:
            ValueError: If a stage differs from the one that has run.
        """
        names = [stage.name for stage in self.stages]
        if until is not None:
            self.dependents(until)  # Complains about unknown names.
            names = names[:names.index(until) + 1]
        wanted: set[str] = set()
        for stage in reversed(self.stages[:len(names)]):
            there = all(Path(p).exists() for p in stage.outputs.values())
            needed = any(stage.name in later.needs for later in self.stages
                         if later.name in wanted)
            if not self.finished(stage) or (needed and not there):
                wanted.add(stage.name)
        for stage in self.stages:
            entry = self.results.get(stage.name)
            if stage.name in wanted and entry and \
                    entry['key'] != stage.key and (
                        entry['status'] == 'finished' or any(
                            Path(p).exists()
                            for p in entry['outputs'].values())):
                raise ValueError(
                    f'Stage {stage.name!r} was run with other commands, '
                    'configs or inputs than the pipeline has now. To run it '
                    'and all that follows from it anew, add --redo '
                    f'{stage.name} (deletes their results); to keep them, '
                    'choose another --work-dir.')
        return [s for s in self.stages if s.name in wanted]

    def redo(self, name: str) -> None:
        """Delete the results of a stage and of all that need it.

        Args:
            name (str): The stage.
        """
        for other in self.dependents(name):
            shutil.rmtree(self.work_dir / other, ignore_errors=True)
            self.results.pop(other, None)
        self.save()

    # ------------------------------------------------------------- execution
    def run(self, until: str | None = None) -> None:
        """Run what is not done yet.

        Args:
            until (str, optional): Last stage to run.

        Raises:
            StageError: If a stage fails; later ones are not begun.
            KeyboardInterrupt: After the running stage was ended.
        """
        todo = {stage.name for stage in self.plan(until)}
        for number, stage in enumerate(self.stages, 1):
            place = f'[{number}/{len(self.stages)}] {stage.name}'
            if stage.name in todo:
                self._run_stage(stage, place)
            elif self._unscored(stage):
                # It ran without scores, or is to be scored otherwise now.
                self._run_stage(stage, place, only_score=True)
            elif self.finished(stage):
                print(f'{place}: done before', flush=True)

    def _unscored(self, stage: Stage) -> bool:
        entry = self.results.get(stage.name, {})
        return bool(self.finished(stage) and self.scores and stage.score
                    and (entry['metrics'] is None
                         or entry['commands'][-1] != stage.score))

    def _run_stage(self,
                   stage: Stage,
                   place: str,
                   only_score: bool = False) -> None:
        earlier = self.results.get(stage.name, {})
        folder = self.work_dir / stage.name
        if earlier and earlier['key'] != stage.key:
            # It failed before it made anything: plan() has looked.
            shutil.rmtree(folder, ignore_errors=True)
            earlier = {}
        folder.mkdir(parents=True, exist_ok=True)
        log = self.work_dir / 'logs' / f'{stage.name}.log'
        log.parent.mkdir(exist_ok=True)
        print(f'{place}: running, log {log}', flush=True)
        commands = list(stage.commands)
        if stage.score and self.scores:
            commands.append(stage.score)
        kept, before = [], 0.
        if only_score:
            kept = earlier['seconds'][:len(stage.commands)]
            before = earlier['seconds_before']
        elif earlier.get('status') != 'finished':
            before = _spent(earlier)  # What it continues took time too.
        entry = self.results[stage.name] = dict(
            name=stage.name,
            status='running',
            key=stage.key,
            commands=commands,
            inputs=stage.inputs,
            outputs=stage.outputs,
            log=str(log),
            started=time.strftime('%Y-%m-%d %H:%M:%S'),
            seconds=kept,
            seconds_before=before,
            metrics=None)
        self.save()
        status = 'failed'
        begin = time.perf_counter()
        try:
            for command in commands[len(kept):]:
                begin = time.perf_counter()
                code = _run(command_line(command, self.processes), log)
                if code:
                    raise StageError(
                        f'Stage {stage.name!r} failed (exit status {code}) '
                        f'in: {command}\n{_tail(log)}\nThe whole log: {log}. '
                        'Settings that this asks for belong into '
                        f'{_config_of(command)}; --cfg-options of a pipeline '
                        'changes the pipeline alone. Then run the same '
                        'command again to continue from here.')
                entry['seconds'].append(
                    round(time.perf_counter() - begin, 2))
            missing = [
                p for p in stage.outputs.values() if not Path(p).exists()
            ]
            if missing:
                raise StageError(
                    f'Stage {stage.name!r} ended well but did not make '
                    f'{", ".join(missing)}. Do its command and its outputs '
                    f'in {self.cfg.filename} fit? The log: {log}.')
            entry['metrics'] = self._read_metrics(stage)
            status = 'finished'
        except KeyboardInterrupt:
            status = 'interrupted'
            raise
        finally:
            entry['status'] = status
            if status != 'finished':
                entry['seconds_before'] = round(
                    before + time.perf_counter() - begin, 2)
            self.save()
        rows = stage.rows if entry['metrics'] else {}
        print(f'{place}: {_duration(_spent(entry))}' + ''.join(
            f', {row} {self.value(stage.name, key)}'
            for row, key in rows.items()), flush=True)

    def _read_metrics(self, stage: Stage) -> dict | None:
        path = Path(stage.metrics) if stage.metrics else None
        if path is None or not path.is_file():
            return None
        try:
            metrics = json.loads(path.read_text())['metrics']
        except (ValueError, KeyError, TypeError) as error:
            raise StageError(
                f'Stage {stage.name!r}: {path} is no result of a tool '
                f'({type(error).__name__}: {error}).') from error
        lacking = [key for key in stage.rows.values() if key not in metrics]
        if lacking:
            raise StageError(
                f'Stage {stage.name!r}: {path} has no {lacking}, only '
                f'{sorted(metrics)}. Correct its rows in '
                f'{self.cfg.filename}.')
        return metrics

    # --------------------------------------------------------------- results
    def save(self) -> None:
        """Write ``results.json``."""
        content = dict(
            pipeline=self.cfg.filename,
            mmwsss_version=__version__,
            torch_version=torch.__version__,
            cpu_cores=os.cpu_count(),
            gpus=torch.cuda.device_count(),
            processes=self.processes,
            stages=[
                self.results[s.name] for s in self.stages
                if s.name in self.results
            ])
        with atomic_write(self.file) as temp:
            temp.write_text(json.dumps(content, indent=2) + '\n')

    def value(self, name: str, key: str) -> str:
        """A result of a stage, ready to be shown.

        Args:
            name (str): The stage.
            key (str): Name of the metric.

        Returns:
            str: '-' if it has none.
        """
        metrics = self.results.get(name, {}).get('metrics') or {}
        return f'{metrics[key]:.2f}' if key in metrics else '-'

    def fill(self, text: str, where: str) -> str:
        """Fill in placeholders that name outputs of stages.

        Args:
            text (str): E.g. ``{crf.masks}``.
            where (str): Begins the error message.

        Returns:
            str: The text.

        Raises:
            ValueError: If there is no such output.
        """
        return fill_placeholders(
            text, self.stages, where, work_dir=str(self.work_dir),
            **(self.cfg.get('variables') or {}))[0]

    def table(self) -> PrettyTable:
        """What each stage brought and took.

        Returns:
            PrettyTable: A row for each entry of a stage's ``rows``, and one
            without number for stages that have none.
        """
        table = PrettyTable(['stage', 'result', 'mIoU', 'time'])
        table.align = 'l'
        table.align['mIoU'] = table.align['time'] = 'r'
        for stage in self.stages:
            entry = self.results.get(stage.name, {})
            spent = _duration(_spent(entry))
            rows: Sequence[tuple[str, str | None]] = \
                list(stage.rows.items()) or [('', None)]
            for i, (title, key) in enumerate(rows):
                table.add_row([
                    '' if i else stage.name, title,
                    self.value(stage.name, key) if key else '',
                    '' if i else spent
                ])
        return table


    def report(self) -> str:
        """The table of results, and where everything is.

        Returns:
            str: Lines for a person.
        """
        lines = [str(self.table())]
        if self.scores and any(
                '*' in row for s in self.stages for row in s.rows):
            lines.append('* tuned on the masks it is scored with')
        if self.page is not None:
            lines.append(f'Gallery: {self.page}')
        return '\n'.join([*lines, f'Results: {self.file}'])


def _config_of(command: str) -> str:
    """The config that a command of a stage runs."""
    return next((t for t in shlex.split(command)[1:] if t.endswith('.py')),
                'the command of the stage')


def _tail(log: Path) -> str:
    """The last lines of a log, indented."""
    lines = log.read_text(errors='replace').splitlines()[-LOG_LINES:]
    return '\n'.join(f'    {line}' for line in lines)


def _spent(entry: dict) -> float:
    """Seconds of a stage, those of runs that did not finish included."""
    return sum(entry.get('seconds', ())) + entry.get('seconds_before', 0.)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02d}:{rest:02d}' if hours else \
        f'{minutes}:{rest:02d}'
