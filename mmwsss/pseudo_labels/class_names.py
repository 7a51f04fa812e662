"""Class names of files and data, compared before numbers get mixed up.

Files hold class numbers. What they mean is known from names that were noted
when the files were made: in manifests and in checkpoints.
"""
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmwsss.utils.run_folder import MANIFEST


def plain_name(name: str) -> str:
    """A name without what people write differently for one class."""
    return ''.join(c for c in str(name).lower() if c not in ' _-/')


def without_background(names: Sequence[str]) -> list[str]:
    """Names of classes alone, whether the background is listed or not."""
    names = [str(name) for name in names]
    return names[1:] if names and plain_name(
        names[0]) == 'background' else names


def same_classes(first: Sequence[str], second: Sequence[str]) -> bool:
    """Whether two lists name the same classes in the same order.

    Args:
        first (Sequence[str]): Names, with or without background.
        second (Sequence[str]): Likewise.

    Returns:
        bool: Case, blanks and the like do not count.
    """
    return [plain_name(n) for n in without_background(first)
            ] == [plain_name(n) for n in without_background(second)]


def describe_difference(first: Sequence[str], second: Sequence[str],
                        first_title: str, second_title: str) -> str:
    """Show two lists of names, and where they part.

    Args:
        first (Sequence[str]): Names, with or without background.
        second (Sequence[str]): Likewise.
        first_title (str): Whose they are.
        second_title (str): Whose they are.

    Returns:
        str: Lines of text.
    """
    a, b = without_background(first), without_background(second)
    width = max(len(first_title), len(second_title))
    lines = [f'  {title:{width}}  {", ".join(names)}'
             for title, names in ((first_title, a), (second_title, b))]
    if sorted(map(plain_name, a)) == sorted(map(plain_name, b)):
        lines.append('  These are the same names in another order.')
    else:
        known = [set(map(plain_name, names)) for names in (a, b)]
        only = [[n for n in names if plain_name(n) not in other]
                for names, other in ((a, known[1]), (b, known[0]))]
        lines += [
            f'  only {title}: {", ".join(names[:10])}'
            for title, names in ((first_title, only[0]),
                                 (second_title, only[1])) if names
        ]
    return '\n'.join(lines)


def noted_classes(folder: str | Path) -> list[str] | None:
    """For which classes a folder of CAMs or masks was made.

    Args:
        folder (str | Path): The folder.

    Returns:
        list[str] | None: None if its manifest is missing or does not say.
    """
    try:
        content: Any = json.loads((Path(folder) / MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    names = content.get('classes') if isinstance(content, dict) else None
    return list(names) if isinstance(names, list) and names else None


def check_stage_classes(folder: str | Path,
                        classes: Sequence[str]) -> None:
    """Make sure that files of an earlier stage mean the same classes.

    Args:
        folder (str | Path): Of CAMs or masks.
        classes (Sequence[str]): Of the data.

    Raises:
        ValueError: If its manifest names others; shows both lists.
    """
    noted = noted_classes(folder)
    if noted is not None and not same_classes(noted, classes):
        raise ValueError(
            f'The files in {folder} were made for other classes than the '
            'data has:\n' +
            describe_difference(noted, classes, 'of the files',
                                'of the data') +
            '\nClass numbers would be taken for other classes. Make the '
            'files anew, or give the data the classes of the files '
            "(metainfo=dict(classes=('background', ...)) in the dataset).")
