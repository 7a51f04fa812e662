"""Are the OpenMMLab libraries there, and new enough?

The libraries are distributed under different names (``mmsegmentation`` and
``onedl-mmsegmentation`` are both ``import mmseg``), so only import names are
looked at. Nothing is imported: this runs whenever mmwsss is.
"""
import importlib.util
import re
from importlib import metadata
from pathlib import Path

# Import name -> (oldest version tested with, what to install).
REQUIREMENTS: dict[str, tuple[str, str]] = {
    'torch': ('2.1.0', 'torch'),
    'mmengine': ('0.10.7', 'onedl-mmengine'),
    'mmcv': ('2.1.0', 'onedl-mmcv'),
    'mmseg': ('1.2.2', 'onedl-mmsegmentation'),
    'mmpretrain': ('1.2.0', 'onedl-mmpretrain'),
}


def parse_version(text: str) -> tuple[int, ...]:
    """The leading numbers of a version.

    Args:
        text (str): E.g. ``'2.11.0+cu130'``.

    Returns:
        tuple[int]: E.g. ``(2, 11, 0)``; empty if there are none.
    """
    numbers = re.match(r'\d+(\.\d+)*', text.strip())
    if numbers is None:
        return ()
    return tuple(int(x) for x in numbers.group().split('.'))


def installed_version(origin: str | None) -> str | None:
    """The version that a package's ``version.py`` states, without import.

    Args:
        origin (str, optional): Path of the package's ``__init__.py``.

    Returns:
        str | None: The version, or None where it cannot be read that way.
    """
    if origin is None:
        return None
    path = Path(origin).parent / 'version.py'
    if not path.is_file():
        return None
    text = path.read_text(encoding='utf-8', errors='replace')
    literal = re.search(r"^__version__\s*=\s*'([^']+)'", text, re.M)
    if literal is not None:
        return literal.group(1)
    # Some ask the installer which version they are: version('their-name').
    asked = re.search(r"^__version__\s*=\s*version\('([^']+)'\)", text, re.M)
    if asked is None:
        return None
    try:
        return metadata.version(asked.group(1))
    except metadata.PackageNotFoundError:
        return None


def check_requirements(
        requirements: dict[str, tuple[str, str]] | None = None) -> None:
    """Make sure that everything mmwsss builds on can be imported.

    Args:
        requirements (dict, optional): Import name to (oldest version, name
            to install). Defaults to ``REQUIREMENTS``.

    Raises:
        ImportError: Naming all that is missing or too old and the command
            that installs it.
    """
    requirements = REQUIREMENTS if requirements is None else requirements
    problems, install = [], []
    for name, (oldest, distribution) in requirements.items():
        spec = importlib.util.find_spec(name)
        if spec is None:
            problems.append(f'{name} is not installed')
        else:
            found = installed_version(spec.origin)
            if not found or parse_version(found) >= parse_version(oldest):
                continue
            problems.append(f'{name} is {found}, at least {oldest} is needed')
        install.append(f"'{distribution}>={oldest}'")
    if problems:
        raise ImportError(f'mmwsss cannot run: {"; ".join(problems)}. Run\n'
                          f'  pip install {" ".join(install)}')
