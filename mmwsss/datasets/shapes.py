"""Shapes: a generated data set with the failure modes of WSSS.

Every object is a figure with one brightly coloured part, the *most
discriminative part*. Body and limbs have the same forms in all classes, so a
classifier finds mainly that part: partial activation. Some classes usually
stand on a background of their own, as trains do on rails, so a classifier
also finds that background: co-occurrence. Both errors can be measured,
because the parts are saved as masks too.

Bodies are *tinted* or *plain*. A tinted body carries weak evidence of its
class, a pale tint of the class's colour that fades towards the tail; and in a
share of the objects the discriminative part is missing, covered, or wears the
colour of another class. So CAMs find the front of an object, and methods can
find the whole. A plain body carries no evidence at all: what no label tells,
no method finds.

Saliency maps come with it, as a class-agnostic detector with typical failures
would make them: see :func:`draw_saliency`.
"""
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from filelock import FileLock
from mmengine.logging import print_log
from mmseg.datasets import PascalVOCDataset
from PIL import Image

from mmwsss.pseudo_labels.mask_file import labels_from_mask
from mmwsss.registry import DATASETS
from mmwsss.utils.read_images import read_mask

from .image_labels import write_image_labels
from .image_level import ImageLevelDataset

CLASSES = ('ring', 'star', 'cross', 'triangle', 'chess', 'bars')
PALETTE = PascalVOCDataset.METAINFO['palette'][:len(CLASSES) + 1]
#: Class -> the background it usually stands on.
COMPANIONS = {'ring': 'rails', 'star': 'dots'}
_VERSION = 5  # Raise it whenever the drawing changes.
_CLASS_LESS = 0.04


class Bodies(NamedTuple):
    """What differs between tinted and plain bodies.

    Attributes:
        tint: Range of the tint's strength, in grey levels of the colour
            channel that it changes most, beside the discriminative part.
        tail: Its share that is left at the other end of the body.
        cast: Largest random colour of a body, in grey levels.
        hidden: Share of the objects without a visible discriminative part.
        borrowed: Share of the discriminative parts in the colour of another
            class.
        correlation: Share of a companioned class's images that show its
            background.
        stray: Share of the other images that show rails or dots.
    """
    tint: tuple[float, float]
    tail: float
    cast: float
    hidden: float
    borrowed: float
    correlation: float
    stray: float


#: What ``bodies`` may be.
BODIES = {
    'tinted': Bodies((26, 38), 0.4, 6, 0.15, 0.05, 0.5, 0.2),
    'plain': Bodies((0, 0), 0, 14, 0, 0, 0.85, 0.03)
}
_PLAIN, _DISCRIMINATIVE = 1, 2
_SHIFT = 4  # Fractional bits of polygon corners.


class ShapesImage(NamedTuple):
    """One drawn image.

    Attributes:
        image: uint8 (s, s, 3), BGR.
        mask: uint8 (s, s), 0 = background, c + 1 = class c.
        instances: uint8 (s, s), 0 = background, i = i-th object.
        parts: uint8 (s, s), 1 = plain part, 2 = discriminative part.
        background: Its kind, e.g. 'rails'.
    """
    image: np.ndarray
    mask: np.ndarray
    instances: np.ndarray
    parts: np.ndarray
    background: str


# ------------------------------------------------------------------ drawing
def _noise(rng: np.random.Generator, size: int, cells: int,
           smooth: bool = True) -> np.ndarray:
    """Random field (size, size) in [-1, 1] with ``cells`` grains a side."""
    grains = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    return cv2.resize(
        grains, (size, size),
        interpolation=cv2.INTER_CUBIC if smooth else cv2.INTER_NEAREST)


def _grey(rng: np.random.Generator,
          low: float,
          high: float,
          cast: float = 14) -> np.ndarray:
    """A colour of low saturation, float32 (3,)."""
    tint = rng.uniform(-cast, cast, 3)
    return (rng.uniform(low, high) + tint).astype(np.float32)


def _hue(rng: np.random.Generator, class_id: int) -> np.ndarray:
    """A colour of a class, float32 BGR (3,)."""
    step = 180 // len(CLASSES)
    # Paler where the background helps, or nobody would look at it.
    pale = CLASSES[class_id] in COMPANIONS
    hsv = (int(class_id * step + rng.integers(-7, 8)) % 180,
           rng.integers(70, 140) if pale else rng.integers(120, 256),
           rng.integers(140, 256))
    bgr = cv2.cvtColor(np.array([[hsv]], dtype=np.uint8), cv2.COLOR_HSV2BGR)
    return bgr[0, 0].astype(np.float32)


def _background(rng: np.random.Generator, kind: str,
                size: int) -> np.ndarray:
    """A canvas of one kind, float32 (size, size, 3)."""
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    light = rng.uniform(70, 190)
    canvas = np.empty((size, size, 3), dtype=np.float32)
    canvas[:] = _grey(rng, light, light)
    angle = rng.uniform(0, np.pi)
    canvas += (rng.uniform(0, 40) * (np.cos(angle) * x + np.sin(angle) * y -
                                     .5))[..., None]
    wide = size / 96
    if kind == 'clouds':
        canvas += 30 * _noise(rng, size, rng.integers(3, 8))[..., None]
    elif kind == 'blocks':
        cells = int(rng.integers(4, 10))
        canvas += 22 * _noise(rng, size, cells, smooth=False)[..., None]
    elif kind == 'rails':
        # Pairs of dark lines, all nearly parallel, with sleepers between.
        tilt = rng.uniform(-.35, .35)
        across = (np.cos(tilt) * y + np.sin(tilt) * x) * size
        along = (np.cos(tilt) * x - np.sin(tilt) * y) * size
        period = rng.uniform(13, 18) * wide
        phase = (across + rng.uniform(0, period)) % period
        canvas[phase < .22 * period] -= 60
        sleeper = (along % (period * .6)) < .18 * period
        canvas[sleeper & (phase > .5 * period)] += 45
    elif kind == 'dots':
        period = rng.uniform(9, 13) * wide
        u = (x * size + rng.uniform(0, period)) % period - period / 2
        v = (y * size + rng.uniform(0, period)) % period - period / 2
        canvas[u * u + v * v < (.28 * period)**2] += rng.choice([-65, 65])
    return canvas


def _blend(canvas: np.ndarray, polygon: np.ndarray,
           colour: np.ndarray) -> np.ndarray:
    """Paint an antialiased polygon.

    Args:
        canvas (np.ndarray): float32 (s, s, 3), changed in place.
        polygon (np.ndarray): (n, 2) corners x, y in pixels.
        colour (np.ndarray): (3,) or (s, s, 3).

    Returns:
        np.ndarray: bool (s, s), the painted pixels.
    """
    alpha = np.zeros(canvas.shape[:2], dtype=np.uint8)
    corners = np.round(polygon * (1 << _SHIFT)).astype(np.int32)
    cv2.fillPoly(alpha, [corners], 255, cv2.LINE_AA, _SHIFT)
    canvas += (alpha[..., None] / np.float32(255)) * (colour - canvas)
    return alpha > 127


def _disc(radius: float = 1., corners: int = 24) -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return radius * np.stack((np.cos(t), np.sin(t)), axis=1)


def _box(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def _telling_part(class_id: int) -> list[tuple[np.ndarray, str]]:
    """Polygons in the unit circle with the name of their colour."""
    name = CLASSES[class_id]
    if name == 'ring':
        return [(_disc(), 'hue'), (_disc(.5), 'pale')]
    if name == 'star':
        radius = np.where(np.arange(10) % 2, .45, 1.15)
        t = np.arange(10) * np.pi / 5 - np.pi / 2
        return [(radius[:, None] * np.stack((np.cos(t), np.sin(t)), 1), 'hue')]
    if name == 'cross':
        return [(_box(-1, -.36, 1, .36), 'hue'), (_box(-.36, -1, .36,
                                                       1), 'hue')]
    if name == 'triangle':
        return [(np.array([[0, -1.1], [1.05, .8], [-1.05, .8]]), 'hue')]
    if name == 'chess':
        return [(_box(-.9, -.9, .9, .9), 'hue'),
                (_box(-.9, -.9, 0, 0), 'dark'), (_box(0, 0, .9, .9), 'dark')]
    return [(_box(-.9, -.95, .9, .95), 'dark'),
            (_box(-.9, -.95, -.4, .95), 'hue'),
            (_box(-.2, -.95, .2, .95), 'hue'),
            (_box(.4, -.95, .9, .95), 'hue')]


def _body(rng: np.random.Generator) -> list[np.ndarray]:
    """Polygons of the parts that all classes share, in object units.

    The object looks along +x, its half length is about 1.
    """
    t = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    power = 2 / rng.uniform(2, 5)  # from an ellipse to a rounded box
    c, s = np.cos(t), np.sin(t)
    body = np.stack((rng.uniform(.6, .75) * np.sign(c) * np.abs(c)**power,
                     rng.uniform(.3, .42) * np.sign(s) * np.abs(s)**power), 1)
    parts = [body - (.25, 0)]
    foot = rng.uniform(.55, .75)
    for x in np.linspace(-.7, .2, rng.integers(2, 4)):
        if power < .7:
            parts.append(_disc(.2) + (x, foot - .2))
        else:
            parts.append(_box(x - .09, .2, x + .09, foot))
    if rng.random() < .6:
        tip = rng.uniform(-.5, .3)
        parts.append(np.array([[-.75, -.15], [-.75, .1], [-1.15, tip]]))
    return parts


def _draw_object(rng: np.random.Generator, class_id: int, number: int,
                 center: np.ndarray, half: float, canvas: np.ndarray,
                 mask: np.ndarray, instances: np.ndarray, parts: np.ndarray,
                 bodies: Bodies) -> None:
    """Draw an object with half length ``half`` pixels into all arrays."""
    size = len(mask)
    angle = rng.uniform(-.4, .4)
    rotate = half * np.array([[np.cos(angle), np.sin(angle)],
                              [-np.sin(angle), np.cos(angle)]])
    if rng.random() < .5:
        rotate = np.diag((-1., 1.)) @ rotate  # looks to the left
    # A body stands out from what is behind it, lighter or darker.
    x, y = np.clip(center, 0, size - 1).astype(int)
    behind = canvas[max(y - 6, 0):y + 6, max(x - 6, 0):x + 6].mean()
    gap = rng.uniform(50, 85) * (1 if behind < 128 else -1)
    base = _grey(rng, behind + gap, behind + gap, bodies.cast)
    texture = base + rng.uniform(8, 22) * _noise(
        rng, size, int(rng.integers(4, 30)))[..., None]
    if any(bodies.tint):
        tint = _hue(rng, class_id)
        tint -= tint.mean()
        # Strong beside the head, weaker towards the tail.
        y, x = np.mgrid[:size, :size]
        along = (np.stack((x, y), -1) - center) @ np.linalg.inv(rotate)[:, :1]
        fade = np.interp(along, (-.9, .2), (bodies.tail, 1))
        texture += rng.uniform(*bodies.tint) * fade * tint / np.abs(
            tint).max()

    def paint(polygon: np.ndarray, colour: np.ndarray, kind: int) -> None:
        touched = _blend(canvas, polygon @ rotate + center, colour)
        mask[touched] = class_id + 1
        instances[touched] = number
        parts[touched] = kind

    for i, polygon in enumerate(_body(rng)):
        paint(polygon, texture - 10 * (i > 0), _PLAIN)
    colour = class_id
    if bodies.borrowed and rng.random() < bodies.borrowed:
        colour = int(rng.integers(len(CLASSES)))
    colours = dict(
        hue=_hue(rng, colour),
        pale=_grey(rng, 200, 235),
        dark=_grey(rng, 20, 50))
    head = np.array([.68, rng.uniform(-.3, .1)])
    turn = rng.uniform(-.3, .3)
    spin = np.array([[np.cos(turn), np.sin(turn)],
                     [-np.sin(turn), np.cos(turn)]])
    radius = rng.uniform(.37, .45)
    if bodies.hidden and rng.random() < bodies.hidden:
        if rng.random() < .5:
            cover = _disc(1.3 * radius, int(rng.integers(4, 8))) + head
            covered = _blend(canvas, cover @ rotate + center,
                             _grey(rng, 20, 235))
            for array in (mask, instances, parts):
                array[covered] = 0
        return
    for polygon, colour in _telling_part(class_id):
        paint(radius * polygon @ spin + head, colours[colour], _DISCRIMINATIVE)


def _draw_clutter(rng: np.random.Generator, canvas: np.ndarray) -> None:
    """Grey debris and coloured specks; both are background."""
    size = len(canvas)
    for _ in range(rng.integers(0, 5)):
        corners = _disc(1, int(rng.integers(3, 7))) @ rng.normal(
            0, .6, (2, 2))
        _blend(canvas, corners * rng.uniform(.04, .1) * size +
               rng.uniform(0, size, 2), _grey(rng, 20, 235))
    specks = int(rng.integers(0, 25))
    x, y = rng.integers(0, size, (2, specks))
    canvas[y, x] = rng.uniform(0, 255, (specks, 3))


def _place(rng: np.random.Generator, count: int,
           size: int) -> list[tuple[np.ndarray, float]]:
    """Centers and half lengths of objects that hardly overlap."""
    low, high = ((.28, .44), (.21, .31), (.17, .23))[count - 1]
    placed: list[tuple[np.ndarray, float]] = []
    for _ in range(60):
        half = rng.uniform(low, high) * size
        margin = .85 * half
        center = rng.uniform(margin, size - margin, 2)
        # Objects are wider than tall: compare in stretched coordinates.
        if all(
                np.hypot(*((center - c) * (1, 1.4))) > .95 * (half + h)
                for c, h in placed):
            placed.append((center, half))
            if len(placed) == count:
                break
    return placed


def draw_shapes_image(rng: np.random.Generator,
                      image_size: int = 96,
                      bodies: str = 'tinted') -> ShapesImage:
    """Draw one image of the Shapes data set.

    Args:
        rng (np.random.Generator): Decides everything.
        image_size (int): Height and width in pixels. Defaults to 96.
        bodies (str): 'tinted' or 'plain', see :data:`BODIES`.
            Defaults to 'tinted'.

    Returns:
        ShapesImage: Image and all masks, without ignored borders.
    """
    kinds = BODIES[bodies]
    count = 0
    if rng.random() >= _CLASS_LESS:
        count = int(rng.choice(3, p=(.5, .35, .15))) + 1
    class_ids = rng.integers(0, len(CLASSES), count)
    kind = str(rng.choice(['plain', 'clouds', 'blocks']))
    wanted = [
        COMPANIONS[CLASSES[c]] for c in class_ids if CLASSES[c] in COMPANIONS
    ]
    if wanted and rng.random() < kinds.correlation:
        kind = wanted[0]
    elif not wanted and rng.random() < kinds.stray:
        kind = str(rng.choice(list(COMPANIONS.values())))
    canvas = _background(rng, kind, image_size)
    _draw_clutter(rng, canvas)
    mask, instances, parts = np.zeros((3, image_size, image_size), np.uint8)
    places = _place(rng, count, image_size) if count else []
    for i, ((center, half), class_id) in enumerate(zip(places, class_ids)):
        _draw_object(rng, int(class_id), i + 1, center, half, canvas, mask,
                     instances, parts, kinds)
    canvas += rng.normal(0, rng.uniform(2, 7),
                         canvas.shape).astype(np.float32)
    image = np.clip(canvas, 0, 255).astype(np.uint8)
    return ShapesImage(image, mask, instances, parts, kind)


def draw_saliency(rng: np.random.Generator, instances: np.ndarray,
                  parts: np.ndarray, background: str) -> np.ndarray:
    """What an imperfect saliency detector finds in an image.

    It knows no classes. It misses 40 % of the small objects (below 8 % of the
    image) and 8 % of the others, loses the plain parts on one side of 40 %,
    has a ragged outline, and takes pieces of the background for objects, most
    often on rails and dots and where there is no object at all.

    With the default settings the IoU with the true foreground is 0.64 on
    either split (precision 0.85, recall 0.72).

    Args:
        rng (np.random.Generator): Decides the failures.
        instances (np.ndarray): uint8 (s, s), see :class:`ShapesImage`.
        parts (np.ndarray): uint8 (s, s), likewise.
        background (str): Its kind.

    Returns:
        np.ndarray: Bool (s, s).
    """
    size = len(instances)
    wide = size / 96
    found = np.zeros(instances.shape, bool)
    for number in range(1, int(instances.max()) + 1):
        own = instances == number
        missed = rng.random() < (.4 if own.mean() < .08 else .08)
        halved = rng.random() < .4
        angle, border = rng.uniform(0, 2 * np.pi), rng.uniform(-.3, .2)
        if missed or not own.any():
            continue
        if halved:
            y, x = np.mgrid[:size, :size]
            along = (np.cos(angle) * (x - x[own].mean()) + np.sin(angle) *
                     (y - y[own].mean())) / np.sqrt(own.sum())
            own &= (parts == _DISCRIMINATIVE) | (along < border)
        found |= own
    # The outline is moved in and out by a pixel or two.
    inside, outside = (
        cv2.distanceTransform(side.astype(np.uint8), cv2.DIST_L2, 5)
        for side in (found, ~found))
    wobble = rng.uniform(-1, 1.5) + 3 * _noise(rng, size, int(
        rng.integers(6, 16)))
    found = inside - outside + wide * wobble > 0 if found.any() else found
    canvas = found.astype(np.uint8)
    chance = dict(rails=.35, dots=.35, blocks=.15).get(background, .08)
    blobs = rng.random(2) < (chance if instances.any() else .5)
    for wanted in blobs:
        axes = rng.uniform(.06, .16, 2) * size
        center, angle = rng.uniform(0, size, 2), rng.uniform(0, 180)
        if wanted:
            cv2.ellipse(canvas, (center.tolist(), (2 * axes).tolist(), angle),
                        1, cv2.FILLED)
    return canvas > 0


# --------------------------------------------------------------- the folder
def _save_mask(path: Path, mask: np.ndarray) -> None:
    picture = Image.fromarray(mask)
    palette = np.zeros((256, 3), np.uint8)
    palette[:len(PALETTE)] = PALETTE
    palette[255] = (224, 224, 192)
    picture.putpalette(palette.ravel().tolist())
    picture.save(path)


def _add_border(mask: np.ndarray, instances: np.ndarray) -> np.ndarray:
    """Mark the pixels around and between objects as 255."""
    grown = cv2.dilate(instances, np.ones((3, 3), np.uint8))
    return np.where(grown != instances, np.uint8(255), mask)


def _build(root: Path, request: dict) -> None:
    for folder in ('JPEGImages', 'SegmentationClass', 'SegmentationObject',
                   'SegmentationPart', 'ImageSets/Segmentation'):
        (root / folder).mkdir(parents=True)
    labels: dict[str, tuple] = {}
    backgrounds: dict[str, str] = {}
    for k, split in enumerate(('train', 'val')):
        ids = [f'{split}_{i:05d}' for i in range(request[f'num_{split}'])]
        for i, img_id in enumerate(ids):
            # A seed per image: more images never change the earlier ones.
            rng = np.random.default_rng((request['seed'], k, i))
            drawn = draw_shapes_image(rng, request['image_size'],
                                      request['bodies'])
            cv2.imwrite(
                str(root / f'JPEGImages/{img_id}.jpg'), drawn.image,
                [cv2.IMWRITE_JPEG_QUALITY, 95])
            mask = drawn.mask
            labels[img_id] = labels_from_mask(mask, len(CLASSES))
            if request['border']:
                mask = _add_border(mask, drawn.instances)
            for name, array in (('Class', mask), ('Object', drawn.instances),
                                ('Part', drawn.parts)):
                _save_mask(root / f'Segmentation{name}/{img_id}.png', array)
            backgrounds[img_id] = drawn.background
        (root / f'ImageSets/Segmentation/{split}.txt').write_text(
            ''.join(f'{img_id}\n' for img_id in ids))
    write_image_labels(root / 'labels.json', CLASSES, labels)
    (root / 'backgrounds.json').write_text(json.dumps(backgrounds, indent=0))
    (root / 'shapes.json').write_text(json.dumps(request, indent=2))
    _build_saliency(root)


def _build_saliency(root: Path) -> None:
    """Make the saliency maps of a finished data set, all or none."""
    seed = json.loads((root / 'shapes.json').read_text())['seed']
    backgrounds = json.loads((root / 'backgrounds.json').read_text())
    for leftover in root.glob('.Saliency.tmp-*'):
        shutil.rmtree(leftover, ignore_errors=True)
    temp = Path(tempfile.mkdtemp(prefix='.Saliency.tmp-', dir=root))
    try:
        for k, split in enumerate(('train', 'val')):
            ids = (root / f'ImageSets/Segmentation/{split}.txt').read_text()
            for i, img_id in enumerate(ids.split()):
                # Beside the image's seed, which ends in an implicit 0.
                rng = np.random.default_rng((seed, k, i, 1))
                instances, parts = (
                    read_mask(root / f'Segmentation{name}/{img_id}.png',
                              img_id) for name in ('Object', 'Part'))
                found = draw_saliency(rng, instances, parts,
                                      backgrounds[img_id])
                Image.fromarray(255 * found.astype(np.uint8)).save(
                    temp / f'{img_id}.png')
        temp.chmod(0o755)
        os.replace(temp, root / 'Saliency')
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def add_saliency(root: str | Path) -> None:
    """Add the saliency maps to a Shapes folder made before they existed.

    Nothing else in it changes; a folder that has them stays as it is.

    Args:
        root (str | Path): As :func:`generate_shapes` made it.
    """
    root = Path(root)
    if (root / 'Saliency').is_dir():
        return
    with FileLock(str(root.parent / f'.{root.name}.lock')):
        if not (root / 'Saliency').is_dir():  # made while we waited
            print_log(
                f'Adding saliency maps to the Shapes data set in {root}.',
                logger='current')
            _build_saliency(root)


def _check_existing(root: Path, request: dict) -> bool:
    """Whether the folder is there and is what was asked for."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    record = root / 'shapes.json'
    if not record.is_file():
        raise ValueError(
            f'{root} exists but is no generated Shapes data set (it has no '
            'shapes.json). Choose another data_root.')
    found = json.loads(record.read_text())
    different = [
        f'{key} is {found.get(key)!r} there, {value!r} asked for'
        for key, value in request.items() if found.get(key) != value
    ]
    if different:
        raise ValueError(
            f'The Shapes data set in {root} is another one: '
            f'{"; ".join(different)}. Delete the folder, choose another '
            'data_root, or give the data set (all those of a config) the '
            "folder's settings: num_train, num_val, image_size, seed, "
            'border, bodies.')
    return True


def generate_shapes(root: str | Path,
                    num_train: int = 1500,
                    num_val: int = 200,
                    image_size: int = 96,
                    seed: int = 0,
                    border: bool = True,
                    bodies: str = 'tinted') -> Path:
    """Make the Shapes data set in a folder, unless it is there already.

    It is built in a temporary folder beside ``root`` and renamed when
    complete; what a killed run left is removed by the next. Processes that
    ask for the same folder wait for each other.

    The layout is VOC's. ``SegmentationObject`` holds instance numbers,
    ``SegmentationPart`` 1 for plain and 2 for discriminative parts,
    ``Saliency`` what :func:`draw_saliency` finds (255), ``labels.json`` the
    tags,
    ``backgrounds.json`` the kind of each background and ``shapes.json`` the
    arguments.

    Args:
        root (str | Path): The folder.
        num_train (int): Images of split 'train'. Defaults to 1500.
        num_val (int): Images of split 'val'. Defaults to 200.
        image_size (int): Height and width, at least 32 pixels.
            Defaults to 96.
        seed (int): Decides all images. Defaults to 0.
        border (bool): Whether objects have a border of 255 one pixel wide in
            ``SegmentationClass``, as in VOC. Defaults to True.
        bodies (str): 'tinted', bodies carry weak evidence of their class, or
            'plain', they carry none; see :data:`BODIES`.
            Defaults to 'tinted'.

    Returns:
        Path: ``root``.

    Raises:
        ValueError: If the folder holds something else, or an argument is out
            of range.
    """
    root = Path(root)
    request = dict(
        version=_VERSION,
        num_train=int(num_train),
        num_val=int(num_val),
        image_size=int(image_size),
        seed=int(seed),
        border=bool(border),
        bodies=bodies)
    if bodies not in BODIES:
        raise ValueError(f'Shapes has bodies {list(BODIES)}, not {bodies!r}.')
    if image_size < 32 or num_train < 0 or num_val < 0 or seed < 0:
        raise ValueError(f'Shapes needs image_size >= 32 and no negative '
                         f'number, got {request}.')
    if _check_existing(root, request):
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    prefix = f'.{root.name}.tmp-'
    with FileLock(str(root.parent / f'.{root.name}.lock')):
        if _check_existing(root, request):  # made while we waited
            return root
        for leftover in root.parent.glob(f'{prefix}*'):
            shutil.rmtree(leftover, ignore_errors=True)
        print_log(
            f'Generating the Shapes data set in {root} '
            f'({num_train} + {num_val} images of {image_size} pixels).',
            logger='current')
        temp = Path(tempfile.mkdtemp(prefix=prefix, dir=root.parent))
        try:
            _build(temp, request)
            temp.chmod(0o755)
            os.replace(temp, root)
        finally:
            shutil.rmtree(temp, ignore_errors=True)
    return root


@DATASETS.register_module()
class ShapesDataset(ImageLevelDataset):
    """The Shapes data set, made on first use (see :mod:`.shapes`).

    Args:
        data_root (str): Its folder. Defaults to 'data/shapes'.
        ann_file (str): Defaults to the list of split 'train'.
        num_train (int): See :func:`generate_shapes`. Defaults to 1500.
        num_val (int): Likewise. Defaults to 200.
        image_size (int): Likewise. Defaults to 96.
        seed (int): Likewise. Defaults to 0.
        border (bool): Likewise. Defaults to True.
        bodies (str): Likewise. Defaults to 'tinted'.
        labels_file (str): Defaults to 'labels.json'.
        data_prefix (dict): See :class:`ImageLevelDataset`; with
            ``saliency_path='Saliency'`` samples name a saliency map.
        **kwargs: For :class:`ImageLevelDataset`.
    """
    METAINFO = dict(classes=('background', *CLASSES), palette=PALETTE)
    PREPARE = 'ShapesDataset makes it on first use.'

    def __init__(self,
                 data_root: str = 'data/shapes',
                 ann_file: str = 'ImageSets/Segmentation/train.txt',
                 num_train: int = 1500,
                 num_val: int = 200,
                 image_size: int = 96,
                 seed: int = 0,
                 border: bool = True,
                 bodies: str = 'tinted',
                 labels_file: str = 'labels.json',
                 **kwargs) -> None:
        self.request = dict(
            num_train=num_train,
            num_val=num_val,
            image_size=image_size,
            seed=seed,
            border=border,
            bodies=bodies)
        super().__init__(
            data_root=data_root,
            ann_file=ann_file,
            labels_file=labels_file,
            **kwargs)

    def load_data_list(self) -> list[dict]:
        """Make the data set if need be and read a split; see the parent."""
        generate_shapes(self.data_root, **self.request)
        if 'saliency_path' in self.data_prefix:
            add_saliency(self.data_root)
        return super().load_data_list()
