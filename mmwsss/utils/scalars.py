"""What a training logged."""
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def read_scalars(files: Iterable[Path]) -> list[dict[str, Any]]:
    """The lines of one or more ``vis_data/scalars.json``.

    Args:
        files (Iterable[Path]): As mmengine's ``LocalVisBackend`` writes them,
            in the order in which they were written: of a step that two parts
            of a resumed run logged, the later line counts.

    Returns:
        list[dict]: Name to value, with ``step``. What a killed run left
        incomplete is left out.
    """
    lines = []
    for file in files:
        for line in file.read_text().splitlines():
            try:
                lines.append(json.loads(line))
            except json.JSONDecodeError:
                continue  # The last line of a run that was killed.
    return lines
