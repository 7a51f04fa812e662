"""Folders of earlier stages, which datasets name."""
from typing import Any

#: Fields of a dataset; each sample carries those that are set.
STAGE_FOLDERS = ('cam_dir', 'mask_dir', 'low_score_dir', 'high_score_dir',
                 'proposal_dir')


def stage_folder(results: dict[str, Any], field: str, step: object) -> str:
    """The folder that a dataset names for a step of its pipeline.

    Args:
        results (dict): The sample; holds the dataset's field where it is
            set.
        field (str): Name of the field: ``'cam_dir'``.
        step (object): The transform that reads the folder, for the message.

    Returns:
        str: The folder, relative to where the program runs.

    Raises:
        ValueError: If the dataset does not name one.
    """
    folder = results.get(field)
    if folder is None:
        raise ValueError(
            f'Image {results.get("img_id", "?")}: {type(step).__name__} reads '
            f'files of an earlier stage, and the dataset does not say where '
            f'they are. Set its {field}, e.g. --cfg-options '
            f'test_dataloader.dataset.{field}=FOLDER (or train_dataloader, '
            'val_dataloader, refine_dataset).')
    return str(folder)
