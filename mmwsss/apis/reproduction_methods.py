"""Methods that can be reproduced, and the numbers to compare with.

Both stand in ``configs/*/metafile.yml``. A model with ``Reproduce`` is a
method: each entry names a ``Method``, the ``Pipeline`` that runs it and, where
they differ, the ``Variables`` of that pipeline. The data set is the last part
of the model's name. ``Rows`` of an entry of ``Paper Results`` or ``Results``
says which row of the pipeline's table each of its numbers belongs to. Numbers
are those of all methods of their model, or of ``Methods`` alone.
"""
import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmwsss.utils.io import find_file
from mmwsss.utils.model_index import read_models

#: Last part of the name of a config -> what the metafiles call the data.
DATASETS = {
    'voc': 'VOC 2012',
    'coco': 'COCO 2014',
    'voc-mini': 'voc-mini',
    'shapes': 'Shapes',
}


@dataclass(frozen=True)
class Reference:
    """A number that a run is compared with.

    Attributes:
        value (float): In percent.
        title (str): What it is and what it was measured on.
        row (str, optional): Row of the pipeline's table that measures it;
            None where no stage does, as on VOC's test images.
        note (str): What a reader should know. Defaults to ''.
        deviation (float, optional): Over seeds.
    """
    value: float
    title: str
    row: str | None
    note: str = ''
    deviation: float | None = None


@dataclass(frozen=True)
class Method:
    """What ``tools/reproduce.py`` runs, and with what it compares.

    Attributes:
        name (str): E.g. ``'acr'``.
        dataset (str): A key of :data:`DATASETS`, or what a config is called.
        pipeline (str): The pipeline config.
        variables (dict[str, str]): Of the pipeline, where they differ from
            its own.
        paper (tuple[Reference]): Numbers of the paper.
        recorded (tuple[Reference]): Numbers that our own runs gave.
    """
    name: str
    dataset: str
    pipeline: str
    variables: dict[str, str] = field(default_factory=dict)
    paper: tuple[Reference, ...] = ()
    recorded: tuple[Reference, ...] = ()


def dataset_of(name: str) -> str:
    """The data set that a config's name ends with.

    Args:
        name (str): Name of a model or stem of a config.

    Returns:
        str: E.g. ``'voc-mini'`` of ``'acr_deit-tiny_voc-mini'``.
    """
    return name.rpartition('_')[2]


def all_methods() -> dict[tuple[str, str], Method]:
    """Every method of the metafiles.

    Returns:
        dict[tuple[str, str], Method]: By name and data set.

    Raises:
        FileNotFoundError: If the installation holds no metafiles.
        ValueError: If two entries mean the same method.
    """
    models = read_models()
    found: dict[tuple[str, str], Method] = {}
    for model in models:
        dataset = dataset_of(model['Name'])
        for entry in model.get('Reproduce', ()):
            key = entry['Method'], dataset
            if key in found:
                raise ValueError(f'Two metafile entries are the method '
                                 f'{key[0]} on {dataset}; {model["Name"]} is '
                                 'the second.')
            found[key] = Method(
                name=entry['Method'],
                dataset=dataset,
                pipeline=entry['Pipeline'],
                variables=dict(entry.get('Variables', {})),
                paper=tuple(_references(models, 'Paper Results', *key)),
                recorded=tuple(_references(models, 'Results', *key)))
    return found


def _references(models: list[dict[str, Any]], kind: str, method: str,
                dataset: str) -> Iterator[Reference]:
    """Numbers of a method in ``Paper Results`` or ``Results``."""
    for model in models:
        own = [e['Method'] for e in model.get('Reproduce', ())]
        if dataset_of(model['Name']) != dataset:
            continue
        for result in model.get(kind, ()):
            rows = result.get('Rows', {})
            # Of our own numbers only those that a pipeline measures; those of
            # papers all, to show what is left to be measured.
            if method not in result.get('Methods', own) or (
                    kind == 'Results' and not rows):
                continue
            for metric, value in result['Metrics'].items():
                if kind == 'Results' and metric not in rows:
                    continue
                yield Reference(
                    value=float(value),
                    title=f'{metric}, {result["Dataset"]}',
                    row=rows.get(metric),
                    note=result.get('Note', ''),
                    deviation=result.get('Deviation', {}).get(metric))


def find_method(name: str, dataset: str = 'voc') -> Method:
    """A method by its name, or by the path of a pipeline config.

    Args:
        name (str): E.g. ``'acr'`` or ``'configs/acr/pipeline_voc.py'``.
        dataset (str): For a name, a key of :data:`DATASETS`. Defaults to
            'voc'.

    Returns:
        Method: Without numbers if the config is none of the metafiles.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If there is no such method; lists all of them.
    """
    methods = all_methods()
    if name.endswith('.py'):
        path = find_file(name)
        if not path.is_file():
            raise FileNotFoundError(f'There is no pipeline config {name}.')
        for method in methods.values():
            if not method.variables and \
                    find_file(method.pipeline).resolve() == path.resolve():
                return method
        return Method(Path(name).stem, dataset_of(Path(name).stem), name)
    if (name, dataset) in methods:
        return methods[name, dataset]
    names = {d: sorted(m for m, of in methods if of == d) for d in DATASETS}
    close = difflib.get_close_matches(name, names.get(dataset, ()), 2)
    hint = f' Did you mean {" or ".join(close)}?' if close else ''
    lines = [f'  {d}: {", ".join(found)}' for d, found in names.items()]
    raise ValueError(
        f'There is no method {name!r} for the data set {dataset!r}.{hint} '
        'There are\n' + '\n'.join(lines) +
        '\nand any pipeline config by its path.')
