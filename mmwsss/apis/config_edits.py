"""Changes of configs that commands ask for, before anything is built."""
import logging
import os.path as osp
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.registry import init_default_scope

from mmwsss.utils.dataset_configs import (
    first_pipeline,
    inner_datasets,
    without_steps,
)
from mmwsss.utils.stage_folder import STAGE_FOLDERS

from .evaluation_data import build_dataset

#: What ``--amp`` multiplies losses by at first, as mmseg's configs do.
AMP_SCALE = 512.


def use_train_images(cfg: Config) -> None:
    """Test on the training images, of which no mask is read.

    For what the next stage needs of the images it trains on: CAMs or
    masks as files. Nothing is scored; ``tools/evaluate_cams.py`` and
    ``tools/evaluate_masks.py`` score files, where masks exist.

    Args:
        cfg (Config): Changed in place.

    Raises:
        ValueError: If the config has no training data.
    """
    if cfg.get('train_dataloader') is None:
        raise ValueError('--train-images needs a train_dataloader in the '
                         'config.')
    test_dataset = inner_datasets(cfg.test_dataloader.dataset)[0]
    pipeline = without_steps(first_pipeline(cfg.test_dataloader.dataset))
    datasets = []
    for dataset in inner_datasets(cfg.train_dataloader.dataset):
        dataset = ConfigDict(dataset, pipeline=pipeline, test_mode=True)
        dataset.pop('with_masks', None)
        # Later stages want every image, also those that training left out.
        dataset.pop('class_less', None)
        # What the steps of the test read, not those of the training.
        for field in STAGE_FOLDERS:
            dataset.pop(field, None)
            if field in test_dataset:
                dataset[field] = test_dataset[field]
        datasets.append(dataset)
    cfg.test_dataloader.dataset = datasets[0] if len(datasets) == 1 else \
        ConfigDict(type='ConcatDataset', datasets=datasets)
    cfg.test_evaluator = []


def drop_missing_masks(cfg: Config, *keys: str) -> None:
    """Leave scoring out where the images have no masks.

    Concerns data sets with ``with_masks='auto'``. Without masks nothing is
    scored: transforms that load masks go, and so do the metrics. Everything
    else happens as usual, so that CAMs are drawn and written.

    Args:
        cfg (Config): Changed in place.
        *keys (str): 'val', 'test' or both.

    Raises:
        FileNotFoundError: If data are missing, or some masks are.
    """
    for key in keys:
        outer = (cfg.get(f'{key}_dataloader') or {}).get('dataset') or {}
        auto = [d for d in inner_datasets(outer)
                if d.get('with_masks') == 'auto']
        if not auto:
            continue
        init_default_scope(cfg.get('default_scope', 'mmseg'))
        built = [build_dataset(ConfigDict(d, pipeline=[])) for d in auto]
        masked = all(b.with_masks for b in built)
        for dataset in auto:
            dataset.with_masks = masked
        if masked:
            continue
        for dataset in auto:
            dataset.pipeline = without_steps(dataset.pipeline)
        built = next(b for b in built if not b.with_masks)
        cfg[f'{key}_evaluator'] = []
        checkpoint = cfg.get('default_hooks', {}).get('checkpoint')
        if checkpoint is not None and checkpoint.get('save_best'):
            checkpoint.save_best = None
        print_log(
            f'{dict(val="Validation", test="Test")[key]}: there are no masks '
            f'in {built.data_prefix["seg_map_path"]}, so the {len(built)} '
            'images are looked at, not scored. With masks of all of them '
            'there (docs/data.md), they will be.',
            logger='current')


def name_splits(cfg: Config) -> None:
    """Tell metrics of CAMs which list of images they score.

    Args:
        cfg (Config): Changed in place.
    """
    for key in ('val', 'test'):
        loader = cfg.get(f'{key}_dataloader')
        evaluators = cfg.get(f'{key}_evaluator') or []
        if isinstance(evaluators, dict):
            evaluators = [evaluators]
        if not loader:
            continue
        names = dict.fromkeys(
            Path(d.get('ann_file') or '').stem
            for d in inner_datasets(loader.dataset))
        for evaluator in evaluators:
            if evaluator.get('type') == 'mmwsss.CAMIoUMetric':
                evaluator.setdefault('split', '+'.join(filter(None, names)))


def set_output(cfg: Config, folder: str) -> None:
    """Have predictions written.

    CAMs are written if the config has a ``mmwsss.SaveCAMsHook``, masks
    if it has a ``mmwsss.SaveMasksHook``, instances if it has a
    ``mmwsss.SaveInstancesHook``; with several of them, into the folders
    ``cams``, ``masks`` and ``instances`` below. Without SaveMasksHook,
    segmentation masks are written if the evaluator is mmseg's ``IoUMetric``.

    Args:
        cfg (Config): Changed in place.
        folder (str): Where to.

    Raises:
        ValueError: If the config has none of these.
    """
    folders = {
        'mmwsss.SaveCAMsHook': 'cams',
        'mmwsss.SaveMasksHook': 'masks',
        'mmwsss.SaveInstancesHook': 'instances'
    }
    hooks = {
        hook.get('type'): hook
        for hook in cfg.get('custom_hooks') or []
        if hook.get('type') in folders
    }
    for name, hook in hooks.items():
        hook['out_dir'] = folder if len(hooks) == 1 else osp.join(
            folder, folders[name])
    found = bool(hooks)
    evaluators = cfg.test_evaluator
    for evaluator in (evaluators
                      if isinstance(evaluators, list) else [evaluators]):
        if (str(evaluator.get('type')).split('.')[-1] == 'IoUMetric'
                and 'mmwsss.SaveMasksHook' not in hooks):
            evaluator['output_dir'] = folder
            evaluator['keep_results'] = True
            found = True
    if not found:
        raise ValueError(
            "--out needs dict(type='mmwsss.SaveCAMsHook') (writes CAMs) "
            "or dict(type='mmwsss.SaveMasksHook') (writes masks) or "
            "dict(type='mmwsss.SaveInstancesHook') (writes instances) in "
            'custom_hooks, or an IoUMetric as test_evaluator (writes masks); '
            'the config has none of them.')


def enable_amp(cfg: Config) -> None:
    """Switch a config to automatic mixed precision.

    On a GPU float16 with a scale of the loss that follows the gradients, or
    ``optim_wrapper.dtype`` if the config has it; on a CPU, which mmengine's
    wrapper refuses, bfloat16.

    Args:
        cfg (Config): Changed in place.

    Raises:
        ValueError: If its optimizer wrapper is a special one.
    """
    kind = cfg.optim_wrapper.type
    if kind in ('AmpOptimWrapper', 'mmwsss.BFloat16OptimWrapper'):
        print_log(
            'The config trains with mixed precision already.',
            logger='current',
            level=logging.WARNING)
        return
    if kind != 'OptimWrapper':
        raise ValueError('--amp turns an OptimWrapper into an '
                         f'AmpOptimWrapper; the config has a {kind}. Set '
                         'optim_wrapper in the config instead.')
    if get_device() == 'cpu':
        cfg.optim_wrapper.type = 'mmwsss.BFloat16OptimWrapper'
        for key in ('dtype', 'loss_scale'):
            cfg.optim_wrapper.pop(key, None)
        print_log('--amp without a GPU: training in bfloat16.',
                  logger='current')
        return
    cfg.optim_wrapper.type = 'AmpOptimWrapper'
    # Follows the gradients. From torch's first value, 65,536, deep networks
    # with new weights skip several steps on the way down.
    cfg.optim_wrapper.setdefault('loss_scale', dict(init_scale=AMP_SCALE))


def enable_pictures(cfg: Config, show: bool, show_dir: str | None,
                    wait_time: float) -> None:
    """Let the visualization hook draw.

    Args:
        cfg (Config): Changed in place.
        show (bool): Whether to open windows.
        show_dir (str, optional): Folder for pictures.
        wait_time (float): Seconds that a window stays.

    Raises:
        ValueError: If the config has no visualization hook.
    """
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise ValueError('--show and --show-dir need default_hooks = '
                         "dict(visualization=dict(type='SegVisualizationHook'"
                         ')) in the config.')
    hook['draw'] = True
    if show:
        hook['show'] = True
        hook['wait_time'] = wait_time
    if show_dir:
        cfg.visualizer['save_dir'] = show_dir


def enable_tta(cfg: Config) -> None:
    """Wrap the model for test-time augmentation the way mmseg does.

    Args:
        cfg (Config): Changed in place.

    Raises:
        ValueError: If the config does not say how.
    """
    if cfg.get('tta_model') is None or cfg.get('tta_pipeline') is None:
        raise ValueError(
            '--tta needs tta_model and tta_pipeline in the config. A '
            'CAMSegmentor fuses scales and flips by itself: set '
            'model.test_cfg.scales and model.test_cfg.flip.')
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    cfg.tta_model.module = cfg.model
    cfg.model = cfg.tta_model


def drop_sync_bn(cfg: Config) -> bool:
    """Replace batch norm over all processes by the plain one.

    Args:
        cfg (Config): Changed in place.

    Returns:
        bool: Whether there was any.
    """
    found = bool(cfg.pop('sync_bn', None))
    nodes = [cfg.get('model')]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            if node.get('type') == 'SyncBN':
                node['type'], found = 'BN', True
            nodes += node.values()
        elif isinstance(node, (list, tuple)):
            nodes += node
    return found
