"""Write the results of all metafiles into docs/reproduction.md.

    python .dev_scripts/make_tables.py            # writes the tables
    python .dev_scripts/make_tables.py --check    # fails if they are old

A model of a metafile may hold, beside what OpenMMLab's format knows,

- in an entry of ``Results``: ``Seeds``, ``Deviation`` (standard deviation
  over seeds for names of ``Metrics``), and ``Command`` or, for what takes
  more than a command, ``Procedure``, a heading of the page;
- ``Paper Results``: numbers of a paper, which are never mixed with ours;
- ``Reproduce``, ``Rows``, ``Methods`` and ``Metadata``, which are for
  tools/reproduce.py (mmwsss/apis/reproduction_methods.py) and make no table.
"""
import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs' / 'reproduction.md'
BEGIN = ('<!-- Made by .dev_scripts/make_tables.py from '
         'configs/*/metafile.yml -->')
END = '<!-- End of what make_tables.py makes -->'
WIDTH = 98
# Folder of configs -> title, in the order of the page.
METHODS = dict(
    cam='CAM',
    acr='ACR',
    seam='SEAM',
    vwl='VWL',
    getam='GETAM',
    mctformer='MCTformer+',
    weaktr='WeakTr',
    toco='ToCo',
    cosa='CoSA',
    fbr='FBR',
    mix='mixes',
    frozen='frozen features',
    discovery='object discovery',
    affinity='AffinityNet and IRNet',
    segmentation='segmentation models')
HEAD = '| config | on what | number | paper | ours | seeds |'


def rows(model: dict) -> Iterator[list[str]]:
    """Rows of one config: first what its paper reports, then ours."""
    name = f'`{model["Name"]}`'
    for result in model.get('Paper Results', ()):
        note = f' ({result["Note"]})' if 'Note' in result else ''
        for metric, value in result['Metrics'].items():
            yield [
                name, result['Dataset'], metric, f'{value:.1f}{note}',
                'not trained by us (no GPU)', ''
            ]
    for result in model['Results']:
        data = result['Dataset']
        if 'Procedure' in result:
            data = f'[{data}](#{result["Procedure"]})'
        seeds = ', '.join(str(seed) for seed in result['Seeds'])
        for metric, value in result['Metrics'].items():
            ours = f'{value:.1f}'
            if metric in result.get('Deviation', {}):
                ours += f' ± {result["Deviation"][metric]:.1f}'
            yield [name, data, metric, '-', ours, seeds]


def wrapped(command: str) -> list[str]:
    """A command in lines of at most WIDTH characters."""
    lines = ['']
    # An option and its first value stay together.
    for word in re.findall(r'--\S+ \S+|\S+', command):
        # Two places are for the backslash.
        if lines[-1] and len(lines[-1]) + 1 + len(word) > WIDTH - 2:
            lines.append('    ' + word)
        else:
            lines[-1] += f' {word}' if lines[-1] else word
    return [line + ' \\' for line in lines[:-1]] + lines[-1:]


def section(title: str, models: list[dict]) -> str:
    """Heading, table and commands of one method."""
    lines = [f'### Results of {title}', '', HEAD, '|---' * 6 + '|']
    lines += [
        f'| {" | ".join(row)} |'.replace('  ', ' ') for model in models
        for row in rows(model)
    ]
    # A dict keeps the order and drops repetitions.
    commands: dict[str, None] = {}
    for model in models:
        for result in model['Results']:
            if 'Command' in result:
                commands[result['Command'].format(
                    config=model['Config'])] = None
    if commands:
        lines += ['', '```shell']
        lines += [line for command in commands for line in wrapped(command)]
        lines += ['```']
    return '\n'.join(lines)


def tables() -> str:
    """All sections, as they stand between the markers of the page."""
    sections = []
    for folder, title in METHODS.items():
        path = ROOT / 'configs' / folder / 'metafile.yml'
        models = yaml.safe_load(path.read_text(encoding='utf-8'))['Models']
        sections.append(section(title, models))
    return '\n\n'.join(sections)


def with_tables(text: str) -> str:
    """A page with the tables between its markers.

    Raises:
        ValueError: If the page does not hold each marker once.
    """
    for marker in (BEGIN, END):
        if text.count(marker) != 1:
            raise ValueError(f'{PAGE} must hold this line once: {marker}')
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f'{before}{BEGIN}\n\n{tables()}\n\n{END}{after}'


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--check',
        action='store_true',
        help='write nothing and fail if the page is not up to date')
    args = parser.parse_args(argv)
    text = PAGE.read_text(encoding='utf-8')
    made = with_tables(text)
    if text == made:
        return 0
    if args.check:
        print('The tables of docs/reproduction.md differ from the '
              'metafiles. Run python .dev_scripts/make_tables.py',
              file=sys.stderr)
        return 1
    PAGE.write_text(made, encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
