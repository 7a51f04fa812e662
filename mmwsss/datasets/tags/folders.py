"""A folder of images per class."""
from pathlib import Path

from .images import IMAGE_SUFFIXES, find_images
from .tag_file import Look, ReadOptions, TagFile, TagReader


class FoldersReader(TagReader):
    """``dog/1.jpg``; ``background/`` holds images without any class."""
    name = 'folders'
    title = 'a folder of images per class'
    expects = 'folders that are called like the classes, with images'
    folder = True

    def matches(self, look: Look) -> bool:
        return any((look.path / n).is_dir() for n in look.names)

    def read(self, path: Path, options: ReadOptions) -> TagFile:
        images = find_images(path)
        loose = [file for file in images.values() if '/' not in file]
        if loose:
            raise ValueError(
                f'{len(loose)} image(s) lie in {path} itself, e.g. '
                f'{loose[0]!r}, not in the folder of a class. Move them '
                'there; images without any class go into a folder called '
                'background.')
        if not images:
            raise ValueError(f'{path} holds no image '
                             f'({", ".join(IMAGE_SUFFIXES)}) in any folder.')
        tags = {}
        for img_id in images:
            name = img_id.split('/')[0]
            tags[img_id] = () if name.lower() == 'background' else (name, )
        classes = tuple(sorted({n for names in tags.values()
                                for n in names}))
        if not classes:
            raise ValueError(f'{path} holds no folder of a class but '
                             'background.')
        return TagFile(path, self.name, classes, True, tags)
