"""A folder of images per class."""
from pathlib import Path

from .images import IMAGE_SUFFIXES, find_images
from .table import plain
from .tag_file import Look, ReadOptions, TagFile, TagReader

#: Folders of other layouts, letters and digits alone.
NO_CLASSES = ('train', 'training', 'val', 'valid', 'validation', 'test',
              'testing', 'images', 'imgs', 'masks', 'labels', 'annotations',
              'jpegimages', 'segmentationclass', 'segmentationobject',
              'groundtruth', 'gt')


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
        wrong = [name for name in classes if plain(name) in NO_CLASSES]
        if wrong:
            raise ValueError(
                f'{path} holds the folder {wrong[0]!r}, which sounds like a '
                'part of a data set, not like a class. Name the folder in '
                'which the folders of the classes lie, and move masks away. '
                'If it is a class, rename it.')
        if not classes:
            raise ValueError(f'{path} holds no folder of a class but '
                             'background.')
        return TagFile(path, self.name, classes, True, tags)
