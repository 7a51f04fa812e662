"""What the values of true masks stand for, and whether they make sense.

Masks hold 0 for the background, c + 1 for class c and 255 for what is not
measured. Many programs write other values, such as 0 and 255 for one class,
which then is "not measured" everywhere.
"""
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import (
    Any,
)

import numpy as np

IGNORE = 255
#: Stands for the only tag of each image.
TAG = -2
#: Images that show a class must be so few that chance may explain it.
FEW = 2
#: A grey level, or a colour (red, green, blue).
Value = int | tuple[int, int, int]


def parse_mask_values(entries: Sequence[str],
                      classes: Sequence[str],
                      rewrite: bool = False) -> dict[Value, int]:
    """What values of masks stand for.

    Args:
        entries (Sequence[str]): ``VALUE=NAME``; the name is that of a class,
            ``background`` or ``ignore``. Several values may have one name.
        classes (Sequence[str]): The K class names without background.
        rewrite (bool): Whether masks are rewritten, with the tags of their
            images at hand. Then the name may be ``tag``, the only tag of
            each image, and the value a colour, ``R,G,B``.
            Defaults to False.

    Returns:
        dict[int | tuple, int]: Value in the files -> value here, ``TAG`` for
        ``tag``. Grey values have 0 and 255 among them, colours black: unless
        named, they stay background and ignored.

    Raises:
        ValueError: If an entry is malformed or names no class, a value
            stands there twice, or colours and grey values are mixed.
    """
    known = {name: c + 1 for c, name in enumerate(classes)}
    known = {'background': 0, 'ignore': IGNORE, **known}
    if rewrite:
        known.setdefault('tag', TAG)
    values: dict[Value, int] = {}
    for entry in entries:
        value, sign, name = str(entry).partition('=')
        name = name.strip()
        parts = [p.strip() for p in value.split(',')]
        if not (sign and len(parts) in (1, 3) and all(
                p.isdecimal() and int(p) <= 255 for p in parts)):
            raise ValueError(f'Mask value {entry!r}: write VALUE=NAME with a '
                             'value in 0..255, e.g. 255=defect, or a colour, '
                             'e.g. 128,0,0=defect.')
        if len(parts) == 3 and not rewrite:
            raise ValueError(
                f'Mask value {entry!r}: masks of colours are read by '
                'tools/dataset_converters/custom.py --mask-values, which '
                'writes them as masks of class indices.')
        if name not in known:
            raise ValueError(f'Mask value {entry!r}: there is no class '
                             f'{name!r} among {", ".join(known)}.')
        key = tuple(map(int, parts)) if len(parts) == 3 else int(value)
        if key in values:
            raise ValueError(f'Mask value {value.strip()} is named twice.')
        values[key] = known[name]
    colors = sum(isinstance(key, tuple) for key in values)
    if colors and colors < len(values):
        raise ValueError('Mask values: name either grey values or colours, '
                         'not both.')
    if colors:
        return {(0, 0, 0): 0, **values}
    return {0: 0, IGNORE: IGNORE, **values}


def translate_mask(mask: np.ndarray,
                   values: Mapping[Value, int],
                   img_id: str,
                   tags: Sequence[int] = ()) -> np.ndarray:
    """A mask in the values that are used here.

    Args:
        mask (np.ndarray): uint8 (h, w), or RGB (h, w, 3) if the values are
            colours.
        values (Mapping[int | tuple, int]): Of :func:`parse_mask_values`.
        img_id (str): Named in errors.
        tags (Sequence[int]): Classes of the image, for values that stand for
            its tag. Defaults to ().

    Returns:
        np.ndarray: uint8 (h, w).

    Raises:
        ValueError: If the mask holds a value that is not named, or one that
            stands for the image's tag, of which it has none or several.
    """
    if mask.ndim == 3:
        result = np.full(mask.shape[:2], -1, np.int64)
        for color, value in values.items():
            result[(mask == np.uint8(color)).all(-1)] = value
    else:
        table = np.full(256, -1, np.int64)
        table[list(values)] = list(values.values())
        result = table[mask]
    by_tag = result == TAG
    if by_tag.any():
        if len(tags) != 1:
            raise ValueError(
                f'The mask of image {img_id} holds a value that stands for '
                f'its tag, of which it has {len(tags)}, not one. Write its '
                'mask with a value per class, or mend its tags.')
        result[by_tag] = tags[0] + 1
    if result.min(initial=0) < 0:
        # Of colours the commonest: edges may be blurred.
        found, counts = np.unique(mask[result < 0], axis=0,
                                  return_counts=True)
        bad = found[np.argsort(-counts, kind='stable')].tolist()
        raise ValueError(
            f'The mask of image {img_id} holds {bad[:5]}, for which '
            '--mask-values (mask_values of the dataset) has no name; named '
            f'are {sorted(values)}.' +
            (' Blurred edges? Save masks without smoothing.'
             if mask.ndim == 3 and len(bad) > 5 else ''))
    return result.astype(np.uint8)


def check_tags_shown(tags: Mapping[str, Sequence[int]],
                     classes: Sequence[str],
                     read: Callable[[str], np.ndarray],
                     where: object,
                     advice: str = '') -> list[str]:
    """Make sure that masks show the classes that images are tagged with.

    Reads no more masks than it takes to see every class once, in an image
    that is tagged with it and, where there are enough, with nothing else. So
    classes that masks number in another order are found out.

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
    by_class: dict[int, list[str]] = {}
    alone: dict[int, list[str]] = {}
    for img_id, labels in tags.items():
        for label in labels:
            by_class.setdefault(int(label), []).append(img_id)
            if len(labels) == 1:
                alone.setdefault(int(label), []).append(img_id)
    # Images of one tag tell best: those of several show some of their classes
    # even where masks number them in another order.
    by_class.update((c, ids) for c, ids in alone.items() if len(ids) > FEW)
    values: dict[str, np.ndarray] = {}
    seen: set[int] = set()
    for label, ids in by_class.items():
        for img_id in ids:
            if img_id not in values:
                values[img_id] = np.flatnonzero(
                    np.bincount(read(img_id).ravel(), minlength=256))
            if label + 1 in values[img_id]:
                seen.add(label)
                break
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


def unmeasured_message(lacking: Mapping[str, tuple[int, int]],
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
        if len(lacking) > 1:
            text += (' If 255 stands for the class that an image is tagged '
                     "with, say so: --mask-values '255=tag' of "
                     'tools/dataset_converters/custom.py.')
        return text + (
            f' If 255 stands for {name!r}, say so: --mask-values '
            f"'255={name}' of tools/dataset_converters/custom.py, "
            f"mask_values=['255={name}'] of the dataset." + advice)
    return text + (' If other values stand for the classes, or these for '
                   'others, name them with '
                   '--mask-values VALUE=CLASS ... of '
                   'tools/dataset_converters/custom.py, mask_values of the '
                   'dataset; else mend tags or masks.' + advice)
