"""What readers of tags take and give."""
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import (
    Any,
)

from mmwsss.utils.io import read_text
from mmwsss.utils.json_stream import first_element, iter_members

from .images import PathLike, image_id, nfc


@dataclass
class TagFile:
    """What a file says about images.

    Attributes:
        path (Path): The file or folder.
        format (str): One of ``FORMATS``.
        classes (tuple[str, ...]): Names without background: as declared, or
            all that occur, sorted.
        declared (bool): Whether the file lists its classes, not only tags.
        tags (dict[str, tuple[str, ...]]): Image id -> tags, in the order of
            the file.
        lines (dict[str, int]): Image id -> line, in files that have lines.
        unknown (dict[str, tuple[str, ...]]): Image id -> classes of which
            nobody knows whether the image shows them; images of which all
            is known are left out.
        notes (list[str]): What a person should know about the reading.
    """
    path: Path
    format: str
    classes: tuple[str, ...]
    declared: bool
    tags: dict[str, tuple[str, ...]]
    lines: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, tuple[str, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def where(self, img_id: str) -> str:
        """Where an image stands, for messages."""
        line = self.lines.get(img_id)
        return f'{self.path}' if line is None else f'{self.path}, line {line}'


@dataclass(frozen=True)
class ReadOptions:
    """What a person said about a file.

    Attributes:
        root (str | Path, optional): The image folder.
        image (str, optional): Name of the column or key of the image.
        labels (tuple[str, ...]): Names of the columns or keys of the tags.
    """
    root: PathLike | None = None
    image: str | None = None
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls,
           root: PathLike | None = None,
           columns: Mapping[str, Any] | None = None) -> 'ReadOptions':
        """From a mapping with the keys ``image`` and ``labels``.

        Args:
            root (str | Path, optional): The image folder.
            columns (Mapping, optional): ``image``: a name; ``labels``: a
                name or several.

        Returns:
            ReadOptions: The same.

        Raises:
            ValueError: If there is another key.
        """
        columns = dict(columns or {})
        image, labels = columns.pop('image', None), columns.pop('labels', ())
        if columns:
            raise ValueError(f'columns has the key {next(iter(columns))!r}; '
                             "known are 'image' and 'labels'.")
        if isinstance(labels, str):
            labels = (labels, )
        return cls(root, image and nfc(image), tuple(map(nfc, labels)))


class Look:
    """A first look at a file or folder, as cheap as possible.

    Args:
        path (Path): It exists.
    """
    #: Arrays and members that tell a JSON format at once.
    DECISIVE = frozenset({
        'images', 'annotations', 'items', 'shapes', 'imagePath',
        '_via_settings', '_via_img_metadata', '_via_data'
    })

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_dir = path.is_dir()
        self.suffix = '' if self.is_dir else path.suffix.lower()

    @cached_property
    def names(self) -> list[str]:
        """Names in a folder, without hidden ones."""
        if not self.is_dir:
            return []
        return sorted(p.name for p in self.path.iterdir()
                      if not p.name.startswith('.')
                      and p.name != '__MACOSX')

    @cached_property
    def first_json(self) -> Path | None:
        """A JSON file in a folder, else in one of the folders in it."""
        folders = [self.path / n for n in self.names
                   if (self.path / n).is_dir()]
        for folder in (self.path, *folders) if self.is_dir else ():
            for file in sorted(folder.iterdir()):
                if file.suffix.lower() == '.json' and \
                        not file.name.startswith('.'):
                    return file
        return None

    @cached_property
    def members(self) -> dict[str, Any]:
        """The first members of a JSON object; of arrays ``[element]``."""
        found: dict[str, Any] = {}
        if self.suffix != '.json':
            return found
        count = 0
        try:
            for key, index, item in iter_members(self.path):
                count += 1
                if key in found:
                    if count > 1000:  # No need to read it all.
                        break
                    continue
                found[key] = item if index is None else [item]
                if len(found) == 20 or (key in self.DECISIVE and isinstance(
                        item, dict)):
                    break
        except ValueError:
            pass  # Who reads the file will say what is wrong.
        return found

    @cached_property
    def entry(self) -> dict[str, Any]:
        """The first object of a JSON list; else empty."""
        if self.suffix != '.json':
            return {}
        first = first_element(self.path)
        return first if isinstance(first, dict) else {}

    @cached_property
    def header(self) -> str:
        """The first line of a text file that is not empty."""
        if self.suffix not in ('.csv', '.tsv'):
            return ''
        try:
            return read_text(self.path).lstrip('\r\n').split('\n', 1)[0]
        except ValueError:
            return ''  # Who reads the file will say what is wrong.


class TagReader(ABC):
    """Reads one format of tags.

    Subclasses are listed in :data:`~mmwsss.datasets.tags.READERS`.
    """
    #: What ``format`` calls it.
    name: str
    #: What people call it, for messages.
    title: str
    #: What such a file holds, for messages.
    expects: str
    #: Whether it is a folder (True), a file (False) or either (None).
    folder: bool | None = False

    @abstractmethod
    def matches(self, look: Look) -> bool:
        """Whether a file or folder looks like this format.

        Args:
            look (Look): The first look.

        Returns:
            bool: True does not promise that it can be read.
        """

    @abstractmethod
    def read(self, path: Path, options: ReadOptions) -> TagFile:
        """Read all of it.

        Args:
            path (Path): It exists.
            options (ReadOptions): What a person said about it.

        Returns:
            TagFile: Names of images and classes are NFC.

        Raises:
            ValueError: If it is not what the format says; with the place.
        """


class TagCollector:
    """Gathers the tags of images, entry by entry.

    Entries of one image are united, which is noted. Two files that would be
    one image are refused.

    Args:
        path (Path): What is read.
        root (str | Path, optional): The image folder.

    Attributes:
        repeated (set[str]): Images with several entries.
        notes (list[str]): See :class:`TagFile`.
    """

    def __init__(self, path: Path, root: PathLike | None = None) -> None:
        self.path, self.root = path, root
        self.tags: dict[str, dict[str, None]] = {}
        self.unknown: dict[str, dict[str, None]] = {}
        self.lines: dict[str, int] = {}
        self.notes: list[str] = []
        self._names: dict[str, tuple[str, str]] = {}
        self.repeated: set[str] = set()

    def add(self,
            name: str,
            tags: Iterable[str],
            where: str,
            unknown: Iterable[str] = (),
            line: int | None = None,
            img_id: str | None = None) -> str:
        """Add what an entry says.

        Args:
            name (str): The image, as the entry names it.
            tags (Iterable[str]): Class names.
            where (str): Where the entry stands, for messages.
            unknown (Iterable[str]): Classes that nobody knows about.
            line (int, optional): Number of the line.
            img_id (str, optional): The image's id. Defaults to what
                :func:`image_id` makes of the name.

        Returns:
            str: The image's id.

        Raises:
            ValueError: If the name is none, or another file has the id.
        """
        if img_id is None:
            try:
                img_id = image_id(name, self.root)
            except ValueError as error:
                raise ValueError(f'{where} of {self.path}: {error}.') \
                    from error
        file = str(PurePosixPath(nfc(name.strip().replace('\\', '/'))))
        first, there = self._names.setdefault(img_id, (file, where))
        if first != file:
            raise ValueError(
                f'The image {img_id!r} stands twice in {self.path}, as '
                f'{first!r} ({there}) and as {file!r} ({where}). Are these '
                'two files? Rename one of them; else name it the same way.')
        if img_id in self.tags:
            self.repeated.add(img_id)
        elif line is not None:
            self.lines[img_id] = line
        self.tags.setdefault(img_id, {}).update(
            dict.fromkeys(nfc(t.strip()) for t in tags))
        self.unknown.setdefault(img_id, {}).update(
            dict.fromkeys(nfc(t.strip()) for t in unknown))
        return img_id

    def finish(self,
               format: str,
               classes: Sequence[str] | None = None) -> TagFile:
        """All together.

        Args:
            format (str): Name of the format.
            classes (Sequence[str], optional): The classes that the file
                declares. Defaults to all tags, sorted.

        Returns:
            TagFile: What the file says.
        """
        if self.repeated:
            some = ', '.join(sorted(self.repeated)[:3])
            self.notes.append(
                f'{len(self.repeated)} image(s) have several entries, whose '
                f'tags are united: {some}'
                f'{", .." if len(self.repeated) > 3 else ""}.')
        unknown = {
            i: tuple(n for n in names if n not in self.tags[i])
            for i, names in self.unknown.items()
        }
        used = {n for names in self.tags.values() for n in names}
        used.update(n for names in unknown.values() for n in names)
        return TagFile(
            self.path,
            format,
            tuple(sorted(used)) if classes is None else tuple(classes),
            classes is not None,
            {i: tuple(names) for i, names in self.tags.items()},
            self.lines,
            {i: names for i, names in unknown.items() if names},
            self.notes)
