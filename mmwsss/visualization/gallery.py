"""A page of class maps that opens from disk."""
import html
import shutil
from pathlib import Path
from typing import (Any, Dict, List, Mapping, Optional, Sequence, Tuple,
                    Union)

import cv2
import numpy as np

from mmwsss.utils.io import atomic_write

from .overlay import overlay_cam, overlay_mask, shrink

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 15px/1.4 sans-serif; margin: 1.5em; color: #222; }}
h1 {{ font-size: 1.4em; }}
header {{ display: flex; flex-wrap: wrap; gap: 2em; align-items: start; }}
header > div {{ flex: 0 1 20em; }}
header img {{ flex: 1 1 20em; min-width: 0; max-width: 640px; }}
table {{ border-collapse: collapse; }}
td, th {{ padding: .15em .8em; border-bottom: 1px solid #ddd;
  text-align: right; }}
td:first-child, th:first-child {{ text-align: left; }}
section {{ border-top: 1px solid #bbb; padding: .6em 0; }}
section h2 {{ font-size: 1em; margin: 0 0 .4em; }}
section div {{ display: flex; flex-wrap: wrap; gap: .6em; }}
figure {{ margin: 0; }}
figure img {{ display: block; width: auto; height: 180px; max-width: 360px;
  object-fit: contain; }}
figcaption {{ font-size: .85em; color: #444; }}
</style></head><body>
<h1>{title}</h1>
<header>{summary}</header>
{sorting}
<main>
{rows}
</main>
{script}
</body></html>
"""
SORTING = """<p>Order:
<label><input type="radio" name="order" value="0" checked> data set</label>
<label><input type="radio" name="order" value="1"> worst first</label>
<label><input type="radio" name="order" value="-1"> best first</label></p>"""
SCRIPT = """<script>
const main = document.querySelector('main');
const rows = [...main.children];
for (const input of document.querySelectorAll('input[name=order]'))
  input.onchange = () => {
    const sign = Number(input.value);
    const value = row => Number(row.dataset.iou);
    main.append(...(sign ?
      [...rows].sort((a, b) => sign * (value(a) - value(b))) : rows));
  };
</script>"""


def image_iou(pred: np.ndarray,
              gt: np.ndarray,
              ignore_index: int = 255) -> float:
    """Mean IoU of one image over the labels that it or its mask has.

    Args:
        pred (ndarray): Integers (h, w).
        gt (ndarray): Integers (h, w).
        ignore_index (int): Marks pixels that do not count, in either.
            Defaults to 255.

    Returns:
        float: Percent; NaN if no pixel counts.
    """
    counted = (gt != ignore_index) & (pred != ignore_index)
    pred, gt = pred[counted], gt[counted]
    shares = [
        np.sum((pred == c) & (gt == c)) / np.sum((pred == c) | (gt == c))
        for c in np.union1d(pred, gt)
    ]
    return 100 * float(np.mean(shares)) if shares else float('nan')


class Gallery:
    """Collects pictures of images, class maps and masks on a page.

    Pictures are written as they come, the page by :meth:`write_html`. What
    an earlier gallery left in the folder is removed then.

    Args:
        folder (str | Path): Where ``index.html`` and ``images/`` go.
        classes (Sequence[str]): K + 1 names, background first.
        palette (Sequence[Sequence[int]]): RGB colours, K + 1.
        title (str): Defaults to 'Class maps'.
        longest (int): Longer side of the pictures in pixels.
            Defaults to 320.
    """

    def __init__(self,
                 folder: Union[str, Path],
                 classes: Sequence[str],
                 palette: Sequence[Sequence[int]],
                 title: str = 'Class maps',
                 longest: int = 320) -> None:
        self.folder = Path(folder)
        self.classes = list(classes)
        self.palette = [tuple(color) for color in palette]
        self.title = title
        self.longest = longest
        self.rows: List[str] = []
        self.files: set = set()
        self.sortable = False

    def add(self,
            img_id: str,
            image: np.ndarray,
            gt: Optional[np.ndarray] = None,
            class_ids: Sequence[int] = (),
            cams: Optional[np.ndarray] = None,
            pred: Optional[np.ndarray] = None,
            masks: Optional[Mapping[str, np.ndarray]] = None) -> None:
        """Add a row.

        Rows are sorted by the IoU of ``pred``, or of the last of ``masks``.

        Args:
            img_id (str): Name of the image.
            image (ndarray): BGR uint8 (h, w, 3).
            gt (ndarray, optional): Mask (h, w).
            class_ids (Sequence[int]): (K',), classes 0..K-1.
            cams (ndarray, optional): Floats (K', h, w) in [0, 1].
            pred (ndarray, optional): Predicted mask (h, w).
            masks (Mapping[str, ndarray], optional): Caption to further mask
                (h, w), e.g. of several stages; each is shown with its IoU.

        Raises:
            ValueError: If sizes differ or a class has no name.
        """
        figures = [self._figure(image, 'image')]
        if gt is not None:
            figures.append(
                self._figure(
                    overlay_mask(image, gt, self.palette), 'ground truth'))
        for c, cam in zip(class_ids, () if cams is None else cams):
            if not 0 <= c < len(self.classes) - 1:
                raise ValueError(
                    f'Image {img_id} has a map of class {c}; there are '
                    f'{len(self.classes) - 1} classes.')
            top = float(cam.max()) if cam.size else 0.
            figures.append(
                self._figure(
                    overlay_cam(image, cam),
                    f'{self.classes[c + 1]}, max {top:.2f}'))
        for title, mask in (masks or {}).items():
            caption = title
            if gt is not None and gt.shape == mask.shape:
                caption += f', mIoU {image_iou(mask, gt):.1f}'
            figures.append(
                self._figure(
                    overlay_mask(image, mask, self.palette), caption))
        if pred is not None:
            figures.append(
                self._figure(
                    overlay_mask(image, pred, self.palette), 'predicted mask'))
        elif masks:
            pred = list(masks.values())[-1]
        iou, caption = -1., ''
        if pred is not None and gt is not None:
            value = image_iou(pred, gt)
            if not np.isnan(value):
                iou, caption = value, f' &ndash; mIoU {value:.1f}'
                self.sortable = True
        self.rows.append(f'<section data-iou="{iou:.4f}">'
                         f'<h2>{html.escape(str(img_id))}{caption}</h2><div>' +
                         '\n'.join(figures) + '</div></section>')

    def add_pictures(self, title: str,
                     pictures: Sequence[Tuple[np.ndarray, str]]) -> None:
        """Add a row of any pictures..

        Args:
            title (str): Headline of the row.
            pictures (Sequence[tuple[ndarray, str]]): BGR uint8 (h, w, 3) and
                captions.
        """
        figures = [self._figure(*pair) for pair in pictures]
        self.rows.append('<section data-iou="-1">'
                         f'<h2>{html.escape(title)}</h2><div>' +
                         '\n'.join(figures) + '</div></section>')

    def _figure(self, picture: np.ndarray, caption: str) -> str:
        """Write a picture and return its HTML."""
        # Numbered: ids may hold anything.
        name = f'images/{len(self.files):05d}.jpg'
        picture = shrink(picture, self.longest)
        done, data = cv2.imencode('.jpg', picture,
                                  [cv2.IMWRITE_JPEG_QUALITY, 90])
        if not done:
            raise ValueError(f'A picture of {picture.shape} cannot be '
                             'written as JPEG.')
        with atomic_write(self.folder / name) as temp:
            temp.write_bytes(data.tobytes())
        self.files.add(name)
        caption = html.escape(caption)
        return (f'<figure><img src="{name}" alt="{caption}" loading="lazy" '
                f'width="{picture.shape[1]}" height="{picture.shape[0]}">'
                f'<figcaption>{caption}</figcaption></figure>')

    def write_html(self,
                   metrics: Optional[Dict[str, Any]] = None,
                   plots: Optional[Mapping[str, Union[str, Path]]] = None,
                   note: str = '') -> Path:
        """Write the page; it needs nothing but its own folder.

        Args:
            metrics (dict, optional): Numbers for the table on top.
            plots (Mapping[str, str | Path], optional): PNG files to copy and
                show there, by what they show, for readers who cannot see it.
            note (str): A sentence below the table.

        Returns:
            Path: ``index.html``.
        """
        summary = ''
        if metrics:
            lines = ''.join(
                f'<tr><td>{html.escape(str(k))}</td><td>'
                f'{html.escape(_show(v))}</td></tr>'
                for k, v in metrics.items())
            summary = f'<div><table>{lines}</table>'
            summary += f'<p>{html.escape(note)}</p></div>'
        elif note:
            summary = f'<p>{html.escape(note)}</p>'
        for title, plot in (plots or {}).items():
            name = f'images/{Path(plot).name}'
            with atomic_write(self.folder / name) as temp:
                shutil.copyfile(plot, temp)
            summary += f'<img src="{name}" alt="{html.escape(title)}">'
        sortable = self.sortable and len(self.rows) > 1
        page = PAGE.format(
            title=html.escape(self.title),
            summary=summary,
            sorting=SORTING if sortable else '',
            rows='\n'.join(self.rows) or '<p>No images.</p>',
            script=SCRIPT if sortable else '')
        path = self.folder / 'index.html'
        with atomic_write(path) as temp:
            temp.write_text(page, encoding='utf-8')
        for old in (self.folder / 'images').glob('[0-9]*.jpg'):
            if f'images/{old.name}' not in self.files:
                old.unlink(missing_ok=True)
        return path


def _show(value: Any) -> str:
    """A number with two digits after the point."""
    return f'{value:.2f}' if isinstance(value, float) else str(value)
