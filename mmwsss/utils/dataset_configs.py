"""Configs of data sets: what is inside wrappers, and their pipelines."""
from collections.abc import Collection, Sequence
from typing import Any

from mmengine.config import ConfigDict

#: Transforms that read true masks.
MASK_LOADERS = ('LoadMask', 'LoadAnnotations', 'LoadInstances')


def inner_datasets(dataset: dict) -> list[dict]:
    """The data sets inside wrappers.

    Args:
        dataset (dict): Config of a data set or of a wrapper such as
            RepeatDataset, ConcatDataset or PseudoMaskDataset.

    Returns:
        list[dict]: Configs that wrap no other, changeable in place.
    """
    return [chain[-1] for chain in dataset_chains(dataset)]


def dataset_chains(dataset: dict) -> list[list[dict]]:
    """The way from a wrapper to each of the data sets inside it.

    Args:
        dataset (dict): See :func:`inner_datasets`.

    Returns:
        list[list[dict]]: Per inner data set its config, after those of all
        that wrap it.
    """
    inner = dataset.get('datasets') or [dataset.get('dataset')]
    if inner == [None]:
        return [[dataset]]
    return [[dataset, *chain] for d in inner for chain in dataset_chains(d)]


def first_pipeline(dataset: dict) -> Sequence[dict]:
    """The pipeline that images of a data set go through first.

    Args:
        dataset (dict): See :func:`inner_datasets`.

    Returns:
        Sequence[dict]: Of the outermost config that has one; empty if none
        has.
    """
    chain = dataset_chains(dataset)[0]
    return next((d['pipeline'] for d in chain if d.get('pipeline')), ())


def step_name(step: dict) -> str:
    """What a transform is called, without its scope.

    Args:
        step (dict): Its config.

    Returns:
        str: E.g. ``'LoadMask'``.
    """
    kind = step['type']
    return kind.split('.')[-1] if isinstance(kind, str) else kind.__name__


def without_steps(pipeline: Sequence[Any],
                  names: Collection[str] = MASK_LOADERS) -> list[Any]:
    """A pipeline without some transforms, those inside others included.

    Args:
        pipeline (Sequence): Configs of transforms, or lists of them as in
            ``TestTimeAug``.
        names (Collection[str]): See :func:`step_name`. Defaults to what
            reads true masks.

    Returns:
        list: The others.
    """
    kept: list[Any] = []
    for step in pipeline:
        if isinstance(step, (list, tuple)):
            inner = without_steps(step, names)
            # One way less to augment, not one that does nothing.
            kept += [inner] if inner or not step else []
        elif step_name(step) not in names:
            if 'transforms' in step:
                step = ConfigDict(
                    step, transforms=without_steps(step['transforms'], names))
            kept.append(step)
    return kept
