"""LabelMe: a JSON file per image."""
import os.path
from pathlib import Path
from typing import Any

from .images import ToolNames, nfc
from .json_lists import load_json
from .tag_file import Look, ReadOptions, TagCollector, TagFile, TagReader


class LabelMeReader(TagReader):
    """A folder of such files, or one; flags and labels of shapes count."""
    name = 'labelme'
    title = 'annotations of LabelMe'
    expects = ('a JSON file per image with "imagePath", "shapes" (with a '
               '"label") and "flags" (true or false)')
    folder = None

    def matches(self, look: Look) -> bool:
        if look.is_dir:
            file = look.first_json
            return file is not None and self.matches(Look(file))
        members = look.members
        return 'imagePath' in members or {'shapes', 'flags'} <= set(members)

    def read(self, path: Path, options: ReadOptions) -> TagFile:
        files = [path]
        if path.is_dir():
            files = sorted(
                p for p in path.rglob('*')
                if p.suffix.lower() == '.json' and not any(
                    part.startswith('.')
                    for part in p.relative_to(path).parts))
        if not files:
            raise ValueError(f'{path} holds no JSON file.')
        collector = TagCollector(path, options.root)
        names = ToolNames(options.root)
        base = path if path.is_dir() else path.parent
        known: set[str] = set()
        for file in files:
            content = load_json(file)
            if not isinstance(content, dict) or not isinstance(
                    content.get('imagePath'), str):
                raise ValueError(f"{file} has no 'imagePath', so it is none "
                                 'of LabelMe. Move other files away.')
            flags = content.get('flags') or {}
            tags = _labels(content, file)
            tags += [k for k, v in flags.items() if v]
            known.update(nfc(k.strip()) for k in flags)
            name = self._name(content['imagePath'], file, base, options)
            collector.add(name, tags, file.name, img_id=names.id(name))
        result = collector.finish(self.name)
        # Flags that nobody set are classes, too.
        result.classes = tuple(sorted(known | set(result.classes)))
        return result

    @staticmethod
    def _name(named: str, file: Path, base: Path,
              options: ReadOptions) -> str:
        """The image's path; in the file it is relative to the file."""
        image = Path(os.path.normpath(
            file.resolve().parent / named.replace('\\', '/')))
        for folder in (options.root, base):
            if folder is not None and Path(folder).resolve() in image.parents:
                return image.relative_to(Path(folder).resolve()).as_posix()
        return image.name


def _labels(content: Any, file: Path) -> list[str]:
    labels = []
    for shape in content.get('shapes') or ():
        label = shape.get('label') if isinstance(shape, dict) else None
        if not isinstance(label, str) or not label.strip():
            raise ValueError(f'A shape in {file} has no label.')
        labels.append(label)
    return labels
