"""A page of pictures that opens from disk."""
import html
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmwsss.utils.io import atomic_write

from .overlay import shrink

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
<main>
{rows}
</main>
</body></html>
"""


class Gallery:
    """Collects any pictures on a page; :class:`RunPage` shows predictions.

    Pictures are written as they come, the page by :meth:`write_html`. What
    an earlier gallery left in the folder is removed then.

    Args:
        folder (str | Path): Where ``index.html`` and ``images/`` go.
        title (str): Headline of the page.
        longest (int): Longer side of the pictures in pixels.
            Defaults to 320.
    """

    def __init__(self,
                 folder: str | Path,
                 title: str,
                 longest: int = 320) -> None:
        self.folder = Path(folder)
        self.title = title
        self.longest = longest
        self.rows: list[str] = []
        self.files: set = set()

    def add_pictures(self, title: str,
                     pictures: Sequence[tuple[np.ndarray, str]]) -> None:
        """Add a row of pictures.

        Args:
            title (str): Headline of the row.
            pictures (Sequence[tuple[ndarray, str]]): BGR uint8 (h, w, 3) and
                captions.
        """
        figures = [self._figure(*pair) for pair in pictures]
        self.rows.append(f'<section><h2>{html.escape(title)}</h2><div>' +
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
                   metrics: dict[str, Any] | None = None,
                   plots: Mapping[str, str | Path] | None = None,
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
        page = PAGE.format(
            title=html.escape(self.title),
            summary=summary,
            rows='\n'.join(self.rows) or '<p>No images.</p>')
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
