"""Folders of files of images that runs share, continue and never mix.

A file appears whole or not at all, so a run may end at any moment and the same
command continues it. Nobody else may write to the folder meanwhile, but for
other shards of the same run, and files of other settings are refused.
"""
import contextlib
import json
import logging
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from mmengine.logging import print_log

from .io import atomic_write, make_folder, remove_temporary
from .shards import Shard

#: Held by a run that does all images, and by shards while they begin.
LOCK = '.run.lock'
#: What the files of a folder are made with.
SETTINGS = 'settings.json'
#: How a folder came about, written when it is complete.
MANIFEST = 'manifest.json'
#: Seconds that a shard waits for others that begin.
PATIENCE = 120.


class RunFolder:
    """The folder of a run.

    Args:
        folder (Path): It is made.
        paths (Mapping[str, Sequence[Path]]): Image id -> its files, of all
            images, in their order.
        settings (dict): What decides the content of the files.
        shard (Shard): Which images this run does. Defaults to all.
        overwrite (bool): Whether files are made anew, also those of other
            settings. Defaults to False.

    Attributes:
        ids (list[str]): The images of this run.
    """

    def __init__(self,
                 folder: Path,
                 paths: Mapping[str, Sequence[Path]],
                 settings: dict[str, Any],
                 shard: Shard = Shard(),
                 overwrite: bool = False) -> None:
        self.folder = Path(folder)
        self.paths = paths
        self.settings = plain(settings)
        self.shard = shard
        self.overwrite = overwrite
        self.ids = shard.of(list(paths))

    @contextlib.contextmanager
    def claimed(self) -> Iterator[list[str]]:
        """Have the folder, or this shard of it, for oneself.

        Yields:
            list[str]: Images whose files are not all there.

        Raises:
            ValueError: If another run works on these images, or the folder
                holds files of other settings.
        """
        make_folder(self.folder)
        with contextlib.ExitStack() as stack:
            if self.shard.count == 1:
                self._take(stack, LOCK)
                for other in sorted(self.folder.glob('.shard-*.lock')):
                    # Left behind, or of one at work?
                    self._take(stack, other.name).release()
                todo = self._begin()
            else:
                self._take(stack, f'.shard-{self.shard.index}-of-'
                           f'{self.shard.count}.lock')
                try:
                    # Shards begin one after the other.
                    with FileLock(str(self.folder / LOCK), timeout=PATIENCE):
                        todo = self._begin()
                except Timeout as error:
                    raise self._busy() from error
            try:
                yield todo
            finally:
                self._clean()

    def is_done(self, img_id: str) -> bool:
        """Whether all files of an image are there.

        Args:
            img_id (str): Its name.

        Returns:
            bool: They are whole if they are there.
        """
        return all(path.is_file() for path in self.paths[img_id])

    def missing(self, skipped: Sequence[str] = ()) -> list[str]:
        """Images of all shards that are not done.

        Args:
            skipped (Sequence[str]): Those that have no files.

        Returns:
            list[str]: Their names.
        """
        skipped = set(skipped)
        return [
            i for i in self.paths if i not in skipped and not self.is_done(i)
        ]

    def start(self) -> None:
        """Take the manifests away: the folder is incomplete from now on."""
        for folder in self._folders():
            (folder / MANIFEST).unlink(missing_ok=True)

    def _folders(self) -> set[Path]:
        inner = {p.parent for ps in self.paths.values() for p in ps}
        return {self.folder, *inner}

    def _busy(self) -> ValueError:
        return ValueError(f'Another run is writing to {self.folder}. Wait for '
                          'it, or choose another --out.')

    def _take(self, stack: contextlib.ExitStack, name: str) -> FileLock:
        lock = FileLock(str(self.folder / name), timeout=0)
        try:
            return stack.enter_context(lock)
        except Timeout as error:
            raise self._busy() from error

    def _begin(self) -> list[str]:
        self._clean()
        self._check_settings()
        return [i for i in self.ids if not self.is_done(i)]

    def _clean(self) -> None:
        """Take away what killed runs were just writing, of these images."""
        if self.shard.count == 1:
            for folder in sorted(self._folders()):
                remove_temporary(folder)
            return
        stems: dict[Path, set[str]] = {}
        for img_id in self.ids:
            for path in self.paths[img_id]:
                stems.setdefault(path.parent, set()).add(path.stem)
        for folder, names in stems.items():
            for temp in folder.glob('.*.tmp-*') if folder.is_dir() else ():
                if temp.name[1:].rpartition('.tmp-')[0] in names:
                    temp.unlink(missing_ok=True)

    def _check_settings(self) -> None:
        """Note the settings in a new folder, refuse one with others."""
        note, paths = self.folder / SETTINGS, self.paths
        if self.overwrite and self.shard.count > 1 and note.is_file():
            with contextlib.suppress(ValueError):
                if not differences(
                        json.loads(note.read_text()), self.settings):
                    # Begun anew by another shard: only one's own.
                    paths = {i: paths[i] for i in self.ids}
        exist = [p for ps in paths.values() for p in ps if p.exists()]
        again = 'Choose another --out, or replace the files with --overwrite.'
        if self.overwrite:
            self._remove(note, exist)
        elif note.is_file():
            try:
                there = json.loads(note.read_text())
            except ValueError as error:
                raise ValueError(f'{note} is not JSON ({error}). '
                                 f'{again}') from error
            lines = differences(there, self.settings)
            if lines:
                raise ValueError(
                    f'{self.folder} was made with other settings:\n' +
                    '\n'.join(lines[:8]) + f'\n{again}')
        elif exist:
            raise ValueError(
                f'{self.folder} holds {len(exist)} file(s) of these images, '
                f'such as {exist[0].name}, but no {SETTINGS} that says how '
                f'they were made. {again}')
        with atomic_write(note) as temp:
            temp.write_text(json.dumps(self.settings, indent=2) + '\n')

    def _remove(self, note: Path, files: Sequence[Path]) -> None:
        """Make room for new files."""
        # The note goes first: whenever this is cut off, the rest is either
        # refused or new.
        note.unlink(missing_ok=True)
        for path in files:
            path.unlink()
        ours = [p for ps in self.paths.values() for p in ps]
        suffixes = {p.suffix for p in ours}
        left = [
            p for f in {p.parent for p in ours} for p in f.glob('[!.]*')
            if p.suffix in suffixes and p.name not in (MANIFEST, SETTINGS)
        ]
        if left:
            print_log(
                f'{self.folder} keeps {len(left)} file(s) of other images, '
                f'such as {left[0].name}, which --overwrite does not replace.',
                logger='current',
                level=logging.WARNING)


def start_over(folder: Path) -> None:
    """Begin to write all files of a folder, whatever is in it.

    Args:
        folder (Path): It is made; its manifest and what a killed run was
            just writing go.

    Raises:
        NotADirectoryError: If a file is in its place.
    """
    make_folder(folder)
    (folder / MANIFEST).unlink(missing_ok=True)
    remove_temporary(folder)


@contextlib.contextmanager
def sigterm_raises() -> Iterator[None]:
    """Let SIGTERM end the program in good order, like Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def plain(value: Any) -> Any:
    """What a value looks like after a trip through JSON.

    Args:
        value (Any): What JSON does not know becomes text.

    Returns:
        Any: Dicts, lists, text and numbers.
    """
    return json.loads(json.dumps(value, default=str))


def differences(old: Any, new: Any, where: str = '') -> list[str]:
    """Where two JSON values differ.

    Args:
        old (Any): One.
        new (Any): The other.
        where (str): Dotted key of both. Defaults to ''.

    Returns:
        list[str]: A line each.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        keys = list(dict.fromkeys([*old, *new]))
        pairs = [(old.get(k), new.get(k), f'{where}.{k}') for k in keys]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(
            new):
        pairs = [(a, b, f'{where}.{i}')
                 for i, (a, b) in enumerate(zip(old, new))]
    else:
        return [] if old == new else [
            f'  {where[1:]}: {old!r} there, {new!r} now'
        ]
    return [line for a, b, at in pairs for line in differences(a, b, at)]
