"""Saliency maps and proposals without labels: tools/discover_objects.py."""
import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from PIL import Image
from scipy.ndimage import label

from mmwsss.datasets.tags import find_images
from mmwsss.models.discovery import ObjectDiscovery
from mmwsss.pseudo_labels.proposal_file import proposal_paths, write_proposals
from mmwsss.registry import DATASETS, MODELS
from mmwsss.utils.checkpoint import (
    compare_state,
    load_checkpoint_file,
    state_dict_of,
    use_safe_loading,
)
from mmwsss.utils.dataset_configs import inner_datasets
from mmwsss.utils.io import atomic_write
from mmwsss.utils.progress import Progress
from mmwsss.utils.read_images import read_image
from mmwsss.utils.run_folder import RunFolder, sigterm_raises
from mmwsss.utils.shards import Shard, parse_shard

from .run import ConfigLike, PathLike, last_of_run, load_config

#: Folders of the two kinds of files.
SALIENCY, PROPOSALS = 'saliency', 'proposals'


class DiscoveryResult(NamedTuple):
    """What :func:`discover_objects` did.

    Attributes:
        out (Path): The folder.
        num_images (int): Images of this share.
        num_written (int): Those that were done by this call.
        empty (list[str]): Of these, the images in which nothing was found.
    """
    out: Path
    num_images: int
    num_written: int
    empty: list[str]


def discover_objects(config: ConfigLike,
                     out: PathLike | None = None,
                     *,
                     checkpoint: PathLike | None = None,
                     images: PathLike | None = None,
                     shard: str | None = None,
                     overwrite: bool = False,
                     device: str | None = None,
                     cfg_options: Mapping[str, Any] | None = None
                     ) -> DiscoveryResult:
    """Find objects in images and write them; skips what is done.

    ``{out}/saliency/{img_id}.png`` is 255 where an object is and 0
    elsewhere, ``{out}/proposals/{img_id}.json`` holds the objects one by
    one; of one object that is in several pieces, each piece.

    Args:
        config (str | Path | Config): With ``discovery``, arguments of
            :class:`~mmwsss.models.discovery.ObjectDiscovery`, or with a
            :class:`~mmwsss.models.segmentors.DiscoverySegmentor` as
            ``model``, and the images in ``train_dataloader``.
        out (str | Path, optional): Folder for the files. Defaults to
            ``work_dirs/<config name>``.
        checkpoint (str | Path, optional): Of a finder that was trained: a
            file, or a work folder whose last one is meant. Defaults to
            ``work_dirs/<config name>``.
        images (str | Path, optional): A folder of images, in place of those
            of the config.
        shard (str, optional): See :func:`~mmwsss.utils.shards.parse_shard`.
        overwrite (bool): Whether to replace files, also those of other
            settings. Defaults to False.
        device (str, optional): None takes a GPU where there is one.
        cfg_options (Mapping[str, Any], optional): Dotted key -> value.

    Returns:
        DiscoveryResult: Counts.

    Raises:
        FileNotFoundError: If the config, weights, images or the checkpoint
            of a finder that has to be trained are missing.
        ValueError: If the config does not say what to do, the checkpoint is
            of another model, an image cannot be read, or the folder holds
            files made with other settings.
    """
    use_safe_loading()
    cfg = load_config(config, cfg_options)
    settings = cfg.get('discovery') or (cfg.get('model') or {}).get(
        'discovery')
    if settings is None:
        raise ValueError(
            f'{cfg.filename} has no discovery: the network and the finder of '
            'objects, as in configs/discovery.')
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    readers = _folder_images(images) if images else _config_images(cfg)
    model = MODELS.build(
        dict(settings, type='mmwsss.ObjectDiscovery')).eval()
    if any(True for _ in model.parameters()):
        _load(model, checkpoint or cfg.work_dir, cfg.filename)
    elif checkpoint is not None:
        raise ValueError(f'The finder of {cfg.filename} is a rule without '
                         'weights: leave the checkpoint out.')
    out = Path(out or cfg.work_dir)
    run = RunFolder(
        out, {i: _paths(out, i) for i in readers}, _settings(settings, model),
        parse_shard(shard), overwrite)
    device = device or _device(run.shard)
    model = model.to(device)
    empty = []
    with sigterm_raises(), run.claimed() as todo, Progress(
            len(todo)) as progress:
        for img_id in todo:
            masks = _find(model, readers[img_id](), img_id, device)
            _write(out, img_id, masks)
            if not len(masks):
                empty.append(img_id)
            progress.step(img_id)
    if empty:
        print_log(
            f'Nothing was found in {len(empty)} of {len(todo)} image(s), such '
            f'as {empty[0]}: their saliency maps are 0 everywhere.',
            logger='current',
            level=logging.WARNING)
    return DiscoveryResult(out, len(run.ids), len(todo), empty)


def _load(model: ObjectDiscovery, checkpoint: PathLike, config: str) -> None:
    """Give a finder the weights that a DiscoverySegmentor learned."""
    try:
        path = last_of_run(str(checkpoint))
        state = state_dict_of(load_checkpoint_file(path))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'{error} The finder of {config} has to be trained first: python '
            f'tools/train.py {config}; or name a checkpoint with '
            '--checkpoint.') from error
    state = {
        name.removeprefix('discovery.'): value
        for name, value in state.items() if name.startswith('discovery.')
    }
    found = compare_state(model, state)
    if not found.complete:
        raise ValueError(
            f'{path} is no checkpoint of the finder of {config}:\n'
            f'{found.describe()}\nName another with --checkpoint.')
    model.load_state_dict(state)
    # Refuses another network than that of the training.
    model.network.prepare()


def _settings(discovery: ConfigDict, model: ObjectDiscovery) -> dict[str, Any]:
    """What decides over the files; weights by what they are."""
    settings = discovery.to_dict()
    settings['network'].pop('cache_dir', None)
    settings['network']['backbone'].pop('init_cfg', None)
    settings = dict(
        discovery=settings, weights=model.network.compute_digest()[:32])
    learned = hashlib.sha256()
    for _, value in sorted(model.finder.state_dict().items()):
        learned.update(value.cpu().contiguous().numpy().data)
        settings['learned'] = learned.hexdigest()[:32]
    return settings


def _device(shard: Shard) -> str:
    """Processes of one machine take turns with its GPUs."""
    count = torch.cuda.device_count()
    return f'cuda:{(shard.index - 1) % count}' if count else 'cpu'


def _paths(out: Path, img_id: str) -> list[Path]:
    saliency = proposal_paths(out / SALIENCY, img_id)[1]
    return [proposal_paths(out / PROPOSALS, img_id)[0], saliency]


def _folder_images(folder: PathLike) -> dict[str, Callable[[], np.ndarray]]:
    """How to read each image of a folder."""
    found = find_images(folder)
    if not found:
        raise FileNotFoundError(f'There are no images in {folder}.')
    return {
        i: (lambda i=i, path=path: read_image(Path(folder, path), i))
        for i, path in found.items()
    }


def _config_images(cfg: Config) -> dict[str, Callable[[], np.ndarray]]:
    """How to read each training image of a config."""
    if cfg.get('train_dataloader') is None:
        raise ValueError(
            f'{cfg.filename} has no train_dataloader, so it says nothing '
            'about images: name a folder of images with --images.')
    readers = {}
    for inner in inner_datasets(cfg.train_dataloader.dataset):
        inner = ConfigDict(
            inner, pipeline=[dict(type='mmwsss.LoadImage')], test_mode=True)
        # Every image counts, also those that a training leaves out.
        inner.pop('class_less', None)
        dataset = DATASETS.build(inner)
        for index in range(len(dataset)):
            img_id = dataset.get_data_info(index)['img_id']
            readers[img_id] = (
                lambda data=dataset, index=index: data[index]['img'])
    return readers


def _find(model: ObjectDiscovery, image: np.ndarray, img_id: str,
          device: str) -> np.ndarray:
    """Masks of a BGR image (H, W, 3)."""
    picture = torch.from_numpy(image[..., ::-1].copy()).to(device)
    try:
        return model(picture.permute(2, 0, 1)[None].float())
    except ValueError as error:
        raise ValueError(f'Image {img_id!r}: {error}') from error


def _write(out: Path, img_id: str, masks: np.ndarray) -> None:
    pieces = [
        parts == number + 1
        for parts, count in (label(mask) for mask in masks)
        for number in range(count)
    ]
    write_proposals(out / PROPOSALS, img_id,
                    np.array(pieces, bool).reshape(-1, *masks.shape[1:]))
    saliency = Image.fromarray(masks.any(axis=0).astype(np.uint8) * 255)
    with atomic_write(_paths(out, img_id)[1]) as temp:
        saliency.save(temp)
