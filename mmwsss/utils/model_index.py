"""Our configs by name, as ``model-index.yml`` lists them."""
from pathlib import Path
from typing import Any

from mmengine.fileio import load

from .io import find_file


def index_root() -> Path:
    """Folder of ``model-index.yml``.

    Returns:
        Path: The repository, else ``mmwsss/.mim`` of an installed package.

    Raises:
        FileNotFoundError: If the installation holds no configs.
    """
    package = Path(__file__).resolve().parents[1]
    for root in (package.parent, package / '.mim'):
        if (root / 'model-index.yml').is_file():
            return root
    raise FileNotFoundError(
        f'There is no model-index.yml beside {package}, so no config can be '
        'found by its name. Install the package again with pip.')


def read_models() -> list[dict[str, Any]]:
    """What the metafiles say about every model.

    Returns:
        list[dict]: Their ``Models``, in the order of the index.

    Raises:
        FileNotFoundError: If the installation holds no configs.
    """
    root = index_root()
    return [
        model for metafile in load(root / 'model-index.yml')['Import']
        for model in load(root / metafile)['Models']
    ]


def named_configs() -> dict[str, Path]:
    """Name -> file of every config that a metafile lists.

    Returns:
        dict[str, Path]: E.g. ``acr_vit_voc`` -> ``configs/acr/acr_vit_voc.py``
        below the folder of the index.

    Raises:
        FileNotFoundError: If the installation holds no configs.
    """
    root = index_root()
    return {m['Name']: root / m['Config'] for m in read_models()}


def find_config(name: str | Path) -> Path:
    """A config by its path or by its name.

    Args:
        name (str | Path): E.g. ``my_config.py``, ``acr_vit_voc`` or
            ``configs/acr/acr_vit_voc.py``, which is that of the installed
            package where the working folder has none.

    Returns:
        Path: Where it is; ``name`` itself if there is none.
    """
    path = find_file(str(name))
    if path.is_file() or path.suffix or len(path.parts) != 1:
        return path
    return named_configs().get(path.name, path)
