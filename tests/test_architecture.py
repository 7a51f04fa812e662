"""What may import what, as docs/architecture.md says."""
import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'mmwsss'
#: From the ground up. A part imports parts of rows above its own, not those
#: beside it.
LAYERS = (
    ('version', 'registry'),
    ('utils',),
    ('structures', 'evaluation', 'visualization'),
    ('pseudo_labels',),
    ('datasets', 'models'),
    ('engine',),
    ('apis',),
)


def imports(source: str, module: str, is_package: bool) -> list:
    """Modules of ours that a source imports, wherever it does so.

    Args:
        source (str): Python code.
        module (str): Its dotted name.
        is_package (bool): Whether it is an ``__init__.py``.

    Returns:
        list[tuple[int, str]]: Line and dotted name, of ``from a import b``
        both ``a.b`` and, last, ``a``.
    """
    parents = module.split('.')
    if not is_package:
        parents = parents[:-1]
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, a.name) for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ''
            if node.level:
                up = parents[:len(parents) - node.level + 1]
                base = '.'.join([*up, base] if base else up)
            found += [(node.lineno, f'{base}.{a.name}') for a in node.names]
            found.append((node.lineno, base))
    return [(n, m) for n, m in found if m.split('.')[0] == 'mmwsss']


def modules() -> dict:
    """Dotted name -> file of every module of the package."""
    names = {}
    for path in sorted(PACKAGE.rglob('*.py')):
        parts = path.relative_to(PACKAGE.parent).with_suffix('').parts
        names['.'.join(p for p in parts if p != '__init__')] = path
    return names


def row_of(part: str) -> int:
    """The row of a part in ``LAYERS``."""
    for row, parts in enumerate(LAYERS):
        if part in parts:
            return row
    raise AssertionError(
        f'mmwsss/{part} is in no row of LAYERS; say what it may import.')


def wrong_arrows(source: str, module: str, is_package: bool = False) -> list:
    """Imports of a module that point to its own row or further down."""
    part = module.split('.')[1]
    wrong = []
    for line, name in imports(source, module, is_package):
        names = name.split('.')
        if len(names) < 2 or names[1] == part or names[1] == '__version__':
            continue
        if row_of(names[1]) >= row_of(part):
            wrong.append(f'{module}:{line} imports {name}')
    return wrong


def test_arrows_point_one_way():
    wrong = []
    for module, path in modules().items():
        if module != 'mmwsss':
            wrong += wrong_arrows(path.read_text(), module,
                                  path.name == '__init__.py')
    assert not wrong, '\n'.join(wrong)


@pytest.mark.parametrize('source', [
    'from mmwsss.datasets.voc import x',
    'import mmwsss.apis.run',
    'from ..datasets import x',
    'from mmwsss import engine',
    'def f():\n    from mmwsss.datasets import x',
    'if TYPE_CHECKING:\n    from ..apis.run import x',
])
def test_wrong_arrow_is_found(source):
    assert len(wrong_arrows(source, 'mmwsss.models.toy')) >= 1
    assert not wrong_arrows('from mmwsss.pseudo_labels import x\n'
                            'from ..utils.io import y\nfrom .heads import z',
                            'mmwsss.models.toy')


def test_no_circle_between_modules():
    """Also within a part, counting imports in functions."""
    files = modules()
    graph = {}
    for module, path in files.items():
        found = imports(path.read_text(), module,
                        path.name == '__init__.py')
        graph[module] = set()
        for _, name in found:
            # A package's own ``from .a import b`` is no circle with ``a``.
            if name in files and name != module and \
                    files[name].name != '__init__.py':
                graph[module].add(name)
    done, path = set(), []

    def visit(module):
        assert module not in path, ' -> '.join(
            [*path[path.index(module):], module])
        if module in done:
            return
        path.append(module)
        for name in sorted(graph[module]):
            visit(name)
        path.pop()
        done.add(module)

    for module in graph:
        visit(module)


def test_document_lists_every_part():
    text = (PACKAGE.parent / 'docs/architecture.md').read_text()
    for part in sum(LAYERS[1:], ()):
        assert f'| `{part}/' in text, f'docs/architecture.md lacks {part}/.'
