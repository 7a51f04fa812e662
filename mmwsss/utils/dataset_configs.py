"""Configs of data sets inside configs of wrappers."""
from typing import List


def inner_datasets(dataset: dict) -> List[dict]:
    """The data sets inside wrappers.

    Args:
        dataset (dict): Config of a data set or of a wrapper such as
            RepeatDataset, ConcatDataset or PseudoMaskDataset.

    Returns:
        list[dict]: Configs that wrap no other, changeable in place.
    """
    if 'datasets' in dataset:
        return [d for inner in dataset['datasets']
                for d in inner_datasets(inner)]
    if 'dataset' in dataset:
        return inner_datasets(dataset['dataset'])
    return [dataset]
