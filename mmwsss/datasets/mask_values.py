"""What the values of true masks stand for, and whether they make sense.

Masks hold 0 for the background, c + 1 for class c and 255 for what is not
measured. Many programs write other values, such as 0 and 255 for one class,
which then is "not measured" everywhere.
"""
from collections import Counter
from typing import Any, Callable, Dict, List, Mapping, Sequence, Set, Tuple

import numpy as np

IGNORE = 255
#: Images that show a class must be so few that chance may explain it.
FEW = 2


def parse_mask_values(entries: Sequence[str],
                      classes: Sequence[str]) -> Dict[int, int]:
    """What values of masks stand for.

    Args:
        entries (Sequence[str]): ``VALUE=NAME``; the name is that of a class,
            ``background`` or ``ignore``. Several values may have one name.
        classes (Sequence[str]): The K class names without background.

    Returns:
        dict[int, int]: Value in the files -> value here. 0 and 255 are among
        them: unless named, they stay background and ignored.

    Raises:
        ValueError: If an entry is malformed or names no class, or a value
            stands there twice.
    """
    known = {name: c + 1 for c, name in enumerate(classes)}
    known = {'background': 0, 'ignore': IGNORE, **known}
    values: Dict[int, int] = {}
    for entry in entries:
        value, sign, name = str(entry).partition('=')
        name = name.strip()
        if not (sign and value.strip().isdigit()
                and 0 <= int(value) <= 255):
            raise ValueError(f'Mask value {entry!r}: write VALUE=NAME with a '
                             'value in 0..255, e.g. 255=defect.')
        if name not in known:
            raise ValueError(f'Mask value {entry!r}: there is no class '
                             f'{name!r} among {", ".join(known)}.')
        if int(value) in values:
            raise ValueError(f'Mask value {int(value)} is named twice.')
        values[int(value)] = known[name]
    return {0: 0, IGNORE: IGNORE, **values}


def translate_mask(mask: np.ndarray, values: Mapping[int, int],
                   img_id: str) -> np.ndarray:
    """A mask in the values that are used here.

    Args:
        mask (np.ndarray): uint8 (h, w).
        values (Mapping[int, int]): Of :func:`parse_mask_values`.
        img_id (str): Named in errors.

    Returns:
        np.ndarray: uint8 (h, w).

    Raises:
        ValueError: If the mask holds a value that is not named.
    """
    table = np.full(256, -1, np.int64)
    table[list(values)] = list(values.values())
    result = table[mask]
    if result.min(initial=0) < 0:
        bad = np.unique(mask[result < 0]).tolist()
        raise ValueError(
            f'The mask of image {img_id} holds {bad[:5]}, for which '
            '--mask-values (mask_values of the dataset) has no name; named '
            f'are {sorted(values)}.')
    return result.astype(np.uint8)


def check_tags_shown(tags: Mapping[str, Sequence[int]],
                     classes: Sequence[str],
                     read: Callable[[str], np.ndarray],
                     where: object,
                     advice: str = '') -> List[str]:
    """Make sure that masks show the classes that images are tagged with.

    Reads no more masks than it takes to see every class once.

    Args:
        tags (Mapping[str, Sequence[int]]): Image id -> classes.
        classes (Sequence[str]): The K class names without background.
        read (Callable): Gives the mask (h, w) of an image id.
        where (object): Where the masks are, for messages.
        advice (str): Ends the error message. Defaults to a general one.

    Returns:
        list[str]: Classes that no mask shows, of so few images that chance
        may explain it: a tiny object, a wrong tag. They cannot be measured.

    Raises:
        ValueError: If a class never occurs in the masks of the images
            that are tagged with it; names the values that do occur.
    """
    by_class: Dict[int, List[str]] = {}
    for img_id, labels in tags.items():
        for label in labels:
            by_class.setdefault(int(label), []).append(img_id)
    values: Dict[str, np.ndarray] = {}
    seen: Set[int] = set()
    for label, ids in by_class.items():
        for img_id in ids:
            if label in seen:
                break
            if img_id not in values:
                values[img_id] = np.flatnonzero(
                    np.bincount(read(img_id).ravel(), minlength=256))
                seen |= {int(v) - 1 for v in values[img_id]}
    lacking = {c: ids for c, ids in by_class.items() if c not in seen}
    wrong = {
        c: ids
        for c, ids in lacking.items() if len(ids) > FEW or
        seen.isdisjoint(by_class) or any(_only_ignored(values[i])
                                         for i in ids)
    }
    if wrong:
        raise ValueError(
            unmeasured_message(
                {classes[c]: (c + 1, len(ids)) for c, ids in wrong.items()},
                Counter(int(v) for found in values.values() for v in found),
                where, advice))
    return [classes[c] for c in lacking]


def _only_ignored(values: np.ndarray) -> bool:
    """Whether a mask marks something, but only as not measured."""
    return IGNORE in values and set(values.tolist()) <= {0, IGNORE}


def unmeasured_message(lacking: Mapping[str, Tuple[int, int]],
                       values: Mapping[int, Any],
                       where: object,
                       advice: str = '') -> str:
    """Say which classes cannot be measured, and what the masks hold.

    Args:
        lacking (Mapping[str, tuple[int, int]]): Class name -> its value in
            masks, number of images tagged with it.
        values (Mapping[int, int]): Value in the masks -> number of masks.
        where (object): Where the masks are.
        advice (str): Ends the message. Defaults to a general one.

    Returns:
        str: Some sentences.
    """
    names = ', '.join(f'{name!r} (value {value}, {count} tagged image(s))'
                      for name, (value, count) in list(lacking.items())[:5])
    more = f' and {len(lacking) - 5} more' if len(lacking) > 5 else ''
    found = ', '.join(f'{v} in {n}' for v, n in sorted(values.items())[:12])
    text = (f'The masks in {where} never show {names}{more}, so this cannot '
            f'be measured. The masks that were looked at hold the values '
            f'{found or "of no pixel"} mask(s); 0 is background, c + 1 class '
            'c, 255 not measured.')
    if values.get(IGNORE):
        name = next(iter(lacking))
        return text + (
            f' If 255 stands for {name!r}, say so: --mask-values '
            f"'255={name}' of tools/dataset_converters/custom.py, "
            f"mask_values=['255={name}'] of the dataset." + advice)
    return text + (' If other values stand for the classes, name them with '
                   '--mask-values VALUE=CLASS ... of '
                   'tools/dataset_converters/custom.py, mask_values of the '
                   'dataset; else mend tags or masks.' + advice)
