"""What the guides name exists: commands, options, files, links, classes."""
import argparse
import ast
import functools
import os
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import pytest
from mmengine.config import Config

from mmwsss.apis.run import check_options
from mmwsss.datasets.tags import FORMATS
from mmwsss.pseudo_labels.mask_exchange import MASK_READERS

from .test_configs import our_names
from .toy import ROOT

PAGES = sorted(
    path for folder, pattern in (('.', '*.md'), ('docs', '**/*.md'),
                                 ('configs', '**/*.md'),
                                 ('benchmarks', '*.md'))
    for path in (ROOT / folder).glob(pattern))
pages = pytest.mark.parametrize(
    'page', PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])
FENCE = re.compile(r'^ *```(\w*)\n(.*?)^ *```$', re.M | re.S)
# Arguments of a script in front of those it hands on: here "-" stands for
# what the Python tool does not get.
SCRIPTS = {
    'dist_train.sh': ('train.py', 'config -'),
    'dist_test.sh': ('test.py', 'config checkpoint -'),
    'slurm_train.sh': ('train.py', '- - config'),
    'slurm_test.sh': ('test.py', '- - config checkpoint'),
}
# E.g. METHOD in configs/METHOD/METHOD_vit_shapes.py.
PLACEHOLDER = re.compile(r'[A-Z]{2,}')


class Command(NamedTuple):
    """One call of a tool."""
    script: str
    arguments: list[str]
    paths: list[str]  # PYTHONPATH


def read(page: Path) -> str:
    return page.read_text(encoding='utf-8')


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return FENCE.sub('', read(page))


def shell_lines(page: Path) -> Iterator[str]:
    for language, block in FENCE.findall(read(page)):
        if language == 'shell':
            # Backslashes join lines.
            yield from re.sub(r'\\\n\s*', ' ', block).splitlines()
    for code in re.findall(r'`([^`\n]+)`', prose(page)):
        if re.search(r'(^|\s)(python|bash)3? \S+\.(py|sh)\b', code):
            yield code


def commands(page: Path) -> Iterator[Command]:
    for line in shell_lines(page):
        # [--workers 8] may be left out.
        line = re.sub(r'\[(--[^\]]*)\]', r'\1', line)
        words, parts = shlex.split(line, comments=True), [[]]
        for word in words:
            if word in ('&&', '||', '|', ';'):
                parts.append([])
            else:
                parts[-1].append(word)
        for part in parts:
            paths = []
            while part and re.match(r'[A-Z_]+=', part[0]):
                name, _, value = part.pop(0).partition('=')
                if name == 'PYTHONPATH':
                    paths = value.split(os.pathsep)
            if part and Path(part[0]).name in ('python', 'python3', 'bash'):
                del part[0]
                if part and part[0].endswith(('.py', '.sh')):
                    yield Command(part[0], part[1:], paths)


class Found(Exception):
    """Carries the parser of a script out of it."""


@functools.cache
def parser_of(script: str) -> argparse.ArgumentParser:
    """What a script would read its arguments with."""

    def stop(self, *args, **kwargs):
        raise Found(self)

    original, argv = argparse.ArgumentParser.parse_args, sys.argv
    argparse.ArgumentParser.parse_args, sys.argv = stop, [script]
    # As Python does for scripts.
    sys.path.insert(0, str((ROOT / script).parent))
    try:
        runpy.run_path(str(ROOT / script), run_name='__main__')
    except Found as found:
        return found.args[0]
    finally:
        argparse.ArgumentParser.parse_args, sys.argv = original, argv
        del sys.path[0]
    raise AssertionError(f'{script} reads no arguments')


def parse(command: Command) -> argparse.Namespace:
    """The arguments as the tool sees them."""
    script, arguments = command.script, command.arguments
    if script.endswith('.sh'):
        tool, given = SCRIPTS[Path(script).name]
        given = given.split()
        assert len(arguments) >= len(given), f'{command} lacks arguments'
        arguments = [
            word for word, name in zip(arguments, given) if name != '-'
        ] + arguments[len(given):]
        script = f'tools/{tool}'
    try:
        return parser_of(script).parse_args(arguments)
    except SystemExit:
        raise AssertionError(f'{script} refuses {arguments}') from None


def test_pages_are_found():
    names = {str(path.relative_to(ROOT)) for path in PAGES}
    assert {'README.md', 'docs/faq.md', 'configs/acr/README.md'} <= names
    assert sum(len(list(commands(page))) for page in PAGES) > 100


@pytest.mark.parametrize('line,script,arguments,paths', [
    ('python tools/x.py a  # not this', 'tools/x.py', ['a'], []),
    ('python3 -m venv v && v/bin/python t.py a', 't.py', ['a'], []),
    ('A=1 PYTHONPATH=b bash t.sh "c d" [--e 8]', 't.sh',
     ['c d', '--e', '8'], ['b']),
    ('python t.py a \\\n    --b', 't.py', ['a', '--b'], []),
])
def test_reading_commands(tmp_path, line, script, arguments, paths):
    page = tmp_path / 'page.md'
    page.write_text(f'x\n```shell\n{line}\n```\n')
    assert list(commands(page)) == [Command(script, arguments, paths)]


@pytest.mark.parametrize('line,message', [
    ('python tools/train.py', 'refuses'),
    ('python tools/train.py x.py --wrok-dir y', 'refuses'),
    ('bash tools/dist_train.sh x.py', 'lacks'),
    ('bash tools/dist_test.sh x.py y.pth 4 --amp', 'refuses'),
])
def test_wrong_commands_are_noticed(tmp_path, line, message):
    page = tmp_path / 'page.md'
    page.write_text(f'```shell\n{line}\n```\n')
    with pytest.raises(AssertionError, match=message):
        parse(next(commands(page)))


@pages
def test_commands(page, monkeypatch):
    """Scripts and configs exist, and know the options given."""
    monkeypatch.chdir(ROOT)
    for command in commands(page):
        for word in (command.script, *command.arguments, *command.paths):
            if word.split('/')[0] in ('configs', 'tools', 'benchmarks',
                                      'docs', 'tests'):
                assert (PLACEHOLDER.search(word)
                        or (ROOT / word).exists()), f'{command}: {word}'
        if not (ROOT / command.script).is_file():
            continue  # A script of the reader or of another project.
        if (command.script.endswith('.sh')
                and Path(command.script).name not in SCRIPTS):
            continue  # It hands nothing on.
        if (command.script.startswith('benchmarks/')
                and not command.arguments):
            continue
        args = parse(command)
        config = getattr(args, 'config', None)
        if (getattr(args, 'cfg_options', None) and config
                and Path(config).is_file()):
            for path in command.paths:
                monkeypatch.syspath_prepend(str(ROOT / path))
            check_options(Config.fromfile(config), args.cfg_options)


def anchors(page: Path) -> set:
    """What the headings of a page are called in links, as on GitHub."""
    found = {}
    for heading in re.findall(r'^#+ +(.*?) *#*$', prose(page), re.M):
        heading = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading)
        name = re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')
        found[name] = found.get(name, -1) + 1
        if found[name]:
            found[f'{name}-{found[name]}'] = 0
    return set(found)


def test_anchors(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text('# A `b_c`, d-e\n```shell\n# no\n```\n'
                    '## [F](g.md)!\n## F\n')
    assert anchors(page) == {'a-b_c-d-e', 'f', 'f-1'}


def test_every_format_of_tags_is_in_the_table():
    """One row per reader, and one per tool that gets masks."""
    sections = dict(
        part.split('\n', 1)
        for part in read(ROOT / 'docs/data.md').split('\n## ')[1:])
    for section, names in (('Image-level labels', FORMATS),
                           ('Masks to annotation tools and back',
                            MASK_READERS)):
        rows = re.findall(r'^\| `(\w+)` ', sections[section], re.M)
        assert set(rows) == set(names)


@pages
def test_links(page):
    text = re.sub(r'`[^`\n]*`', '', prose(page))
    for target in re.findall(r'\]\(<?([^)\s>]+)>?\)', text):
        if re.match(r'[a-z]+:', target):
            continue
        name, _, anchor = unquote(target).partition('#')
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        assert file.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(file), (
                f'{target}: {file.name} has {sorted(anchors(file))}')


@pages
def test_named_files_exist(page):
    configs = {path.name for path in (ROOT / 'configs').rglob('*.py')}
    for code in re.findall(r'`([^`\n]+)`', prose(page)):
        for word in code.split():
            if re.search(r'[{}*<>…]|\.\.', word) or PLACEHOLDER.search(word):
                continue
            word = word.rstrip('.,:;')
            if re.match(r'(configs|mmwsss|tools|docs|benchmarks|tests)/',
                        word) and re.search(r'\.(py|md|sh|yml|png|jpg)$',
                                            word):
                assert (ROOT / word).exists(), word
            elif re.match(r'[\w.-]+_(voc|voc-mini|coco|shapes)\.py$', word):
                assert (word in configs
                        or (ROOT / 'docs' / 'examples' / word).exists()), word


# Names in examples of classes that a reader writes.
INVENTED = {'Name'}


@pages
def test_named_classes_exist(page):
    names = our_names() | INVENTED
    if page.parent.name == 'docs':
        names |= {'ClassExclusion'}  # docs/examples
    for name in re.findall(r'\bmmwsss\.([A-Z]\w+)', read(page)):
        assert name in names, name


@pages
def test_python_blocks_are_python(page):
    for language, block in FENCE.findall(read(page)):
        if language == 'python':
            ast.parse(block)
