"""Pictures of CAMs, and what they are worth against doing nothing."""
import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook, LoggerHook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop
from mmengine.runner.amp import autocast
from mmengine.structures import BaseDataElement
from prettytable import PrettyTable

from mmwsss.evaluation import CAMIoUMetric
from mmwsss.registry import HOOKS
from mmwsss.utils.read_images import read_image
from mmwsss.utils.scalars import read_scalars
from mmwsss.visualization import RunPage, plot_curve, plot_history
from mmwsss.visualization.run_page import (
    levels_to_mask,
    small_stage,
    threshold_steps,
)

from .save_predictions_hook import sample_id

#: What the page calls the masks of samples.
PREDICTION, TRUE_MASK = 'predicted mask', 'true mask'
MASKS = {
    TRUE_MASK: 'gt_sem_seg',
    'pseudo label': 'pseudo_sem_seg',
    PREDICTION: 'pred_sem_seg'
}
UNTRAINED = 'mmwsss/untrained_curve'
# Folders of the logs of a training and of those it was resumed from.
LOG_FOLDERS = 'mmwsss/log_folders'
# What the plot of a training calls the results of its validations.
HISTORY = dict(
    mIoU='mIoU of predictions',
    pseudo_mIoU='mIoU of pseudo labels, where they label',
    pseudo_coverage='pixels that pseudo labels label')
UNTRAINED_KEYS = ('mIoU', 'threshold', 'mIoU_fixed', 'fixed_threshold',
                  'thresholds', 'miou_curve', 'split', 'num_images')


@contextmanager
def undisturbed(model: torch.nn.Module) -> Iterator[None]:
    """Put random generators and module modes back as they were.

    Args:
        model (nn.Module): Whose ``training`` flags are kept.
    """
    modes = [(module, module.training) for module in model.modules()]
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    devices = torch.cuda.is_available() and torch.cuda.is_initialized()
    cuda = torch.cuda.get_rng_state_all() if devices else None
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
        for module, training in modes:
            module.training = training


def find_metric(evaluator) -> CAMIoUMetric | None:
    """The metric of CAMs among those of an evaluator.

    Args:
        evaluator (Evaluator): Of a validation or test loop.

    Returns:
        CAMIoUMetric | None: The first one.
    """
    for metric in getattr(evaluator, 'metrics', ()):
        if isinstance(metric, CAMIoUMetric):
            return metric
    return None


def comparison(curve: dict[str, Any],
               untrained: dict[str, Any] | None = None) -> PrettyTable:
    """What the training brought, as a table.

    Args:
        curve (dict): ``CAMIoUMetric.curve`` of the trained model.
        untrained (dict, optional): That of the model before training.

    Returns:
        PrettyTable: Of mIoU in percent.
    """
    table = PrettyTable(['', 'mIoU', 'threshold'])
    table.align = 'r'
    table.align[''] = 'l'

    def add(name: str, miou: float, threshold: float | None = None):
        table.add_row([
            name, f'{miou:.2f}', '' if threshold is None else
            f'{threshold:.2f}'
        ])

    add('all background', curve['mIoU_all_background'])
    add('first tag everywhere', curve['mIoU_tag_fill'])
    for name, one in (('before training', untrained), ('trained', curve)):
        if one is not None:
            add(f'{name}, fixed threshold', one['mIoU_fixed'],
                one['fixed_threshold'])
            add(f'{name}, best threshold *', one['mIoU'], one['threshold'])
    return table


def choice_settings(cfg: dict[str, Any]) -> str:
    """What a threshold changes, as a config that inherits the run's.

    Args:
        cfg (Config): Of the run.

    Returns:
        str: Python with ``{threshold}`` where the number belongs.
    """
    lines = ['model = dict(test_cfg=dict(threshold={threshold}))']
    filename = getattr(cfg, 'filename', None)
    if filename:
        lines.insert(0, f'_base_ = {str(Path(filename).resolve())!r}')
        for key in ('val_evaluator', 'test_evaluator'):
            metric = cfg.get(key)
            if isinstance(metric, dict) and \
                    metric.get('type') == 'mmwsss.CAMIoUMetric':
                lines.append(f'{key} = dict(fixed_threshold={{threshold}})')
        lines.insert(
            0, '# Masks with this threshold: python tools/infer.py choice.py '
            'CHECKPOINT IMAGES --tags-file LABELS --out FOLDER')
    return '\n'.join(lines)


@HOOKS.register_module()
class GalleryHook(Hook):
    """A page of CAMs after training or test, and the threshold curve.

    Writes ``{work_dir}/gallery/index.html``, on which a person chooses a
    threshold, and ``{work_dir}/cam_curve.png`` once, when the training ends
    (from its last validation) or after a separate validation or test. Models
    without CAMs get a page with their masks; other models, none.

    Where ``mmwsss.PseudoLabelIoU`` is among the metrics, rows show the pseudo
    labels too, and after a training a plot, ``{work_dir}/history.png``, shows
    the results of all validations, those before a resume included.

    With ``before_train``, the model is scored once before a training with
    ``mmwsss.CAMIoUMetric``. At the end a table compares it with the trained
    one and with what needs no model. Scoring disturbs nothing: no hook sees
    it and the random generators are put back. A resumed run takes the result
    from the checkpoint.

    Args:
        num_images (int): Images of the page, the first ones of the data.
            Defaults to 300.
        enabled (bool): Defaults to True.
        before_train (bool): See above. Defaults to True.
        longest (int): Longer side of the pictures in pixels.
            Defaults to 320.
    """

    def __init__(self,
                 num_images: int = 300,
                 enabled: bool = True,
                 before_train: bool = True,
                 longest: int = 320) -> None:
        if num_images < 0:
            raise ValueError('GalleryHook.num_images must not be negative, '
                             f'is {num_images}.')
        self.num_images = num_images
        self.enabled = enabled
        self.score_before_train = before_train
        self.longest = longest
        self.training = False
        self._clear()

    def _clear(self) -> None:
        self.rows: list[dict] = []
        self.seen: set = set()
        self.test_cfg: dict[str, Any] = {}
        self.num_data = 0
        self.metrics: dict[str, Any] = {}
        self.curve: dict[str, Any] | None = None
        self.meta: dict[str, Any] = {}

    # ----------------------------------------------------- before training
    def before_train(self, runner) -> None:
        """Score the model that is not trained yet.

        Args:
            runner (Runner): The runner.
        """
        self.training = True
        runner.message_hub.update_info(LOG_FOLDERS, [
            *runner.message_hub.runtime_info.get(LOG_FOLDERS, []),
            runner.timestamp
        ])
        loop = runner.val_loop
        if not (self.enabled and self.score_before_train) or loop is None:
            return
        metric = find_metric(loop.evaluator)
        if metric is None or runner.iter > 0:
            # Resumed: the checkpoint brought the result along.
            return
        print_log(
            'Scoring the CAMs before training, for comparison '
            f'({len(loop.dataloader)} batches; GalleryHook.before_train).',
            logger='current')
        with undisturbed(runner.model), torch.no_grad():
            runner.model.eval()
            for batch in loop.dataloader:
                with autocast(enabled=getattr(loop, 'fp16', False)):
                    outputs = runner.model.val_step(batch)
                metric.process(
                    batch,
                    [x.to_dict() if isinstance(x, BaseDataElement) else x
                     for x in outputs])
            metric.evaluate(len(loop.dataloader.dataset))
        if metric.curve is not None:
            # Plain numbers, so checkpoints can hold them.
            runner.message_hub.update_info(
                UNTRAINED, {key: metric.curve[key]
                            for key in UNTRAINED_KEYS})
            metric.curve = None

    # ---------------------------------------------------------- collecting
    def before_val_epoch(self, runner) -> None:
        """Forget the previous validation.

        Args:
            runner (Runner): The runner.
        """
        self._clear()

    def before_test_epoch(self, runner) -> None:
        """Forget what was before.

        Args:
            runner (Runner): The runner.
        """
        self._clear()

    def after_val_iter(self,
                       runner,
                       batch_idx: int,
                       data_batch: dict | None = None,
                       outputs: Sequence | None = None) -> None:
        """Keep the first images.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Unused.
            data_batch (dict, optional): Has the picture if it has no file.
            outputs (Sequence[SegDataSample]): Predictions.
        """
        if not self.enabled or not is_main_process():
            return
        for i, sample in enumerate(outputs or ()):
            if len(self.rows) >= self.num_images:
                return
            if isinstance(sample, BaseDataElement) and (
                    sample_id(sample) not in self.seen) and (
                    'cams' in sample or 'pred_sem_seg' in sample):
                if not self.rows:
                    model = runner.model
                    model = model.module if is_model_wrapper(model) else model
                    self.test_cfg = dict(
                        getattr(model, 'test_cfg', None) or {})
                self.rows.append(self._row(sample, data_batch, i))
                # Repeated data sets show an image again.
                self.seen.add(sample_id(sample))

    def after_test_iter(self,
                        runner,
                        batch_idx: int,
                        data_batch: dict | None = None,
                        outputs: Sequence | None = None) -> None:
        """Keep the first images.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Unused.
            data_batch (dict, optional): Has the picture if it has no file.
            outputs (Sequence[SegDataSample]): Predictions.
        """
        self.after_val_iter(runner, batch_idx, data_batch, outputs)

    def _row(self, sample: BaseDataElement, data_batch: dict | None,
             index: int) -> dict:
        """What the page shows of a sample, small and in main memory."""
        steps = threshold_steps(self.test_cfg.get('threshold'))
        stages = {}
        if 'cams' in sample:
            stages['CAM'] = (sample.class_ids.tolist(),
                             sample.cams.detach().float().cpu().numpy())
        for title, name in MASKS.items():
            if name in sample:
                stages[title] = sample.get(name).data[0].cpu().numpy().astype(
                    np.uint8)
        small = {
            title: small_stage(stage, steps, self.longest)
            for title, stage in stages.items()
        }
        row = dict(
            img_id=sample_id(sample),
            path=sample.get('img_path'),
            window=sample.get('window'),
            image=None,
            gt=small.pop(TRUE_MASK, None),
            stages=small,
            scores={})
        if 'tag_scores' in sample and 'class_ids' in sample:
            row['scores'] = {
                c: float(sample.tag_scores[c])
                for c in sample.class_ids.tolist()
            }
        if not row['path'] or not Path(row['path']).is_file():
            # BGR, 0..255: the preprocessor has not touched the batch.
            image = data_batch['inputs'][index].detach().cpu().float()
            image = image.clamp(0, 255).byte().numpy().transpose(1, 2, 0)
            row['image'] = np.ascontiguousarray(image)
        return row

    def after_val_epoch(self,
                        runner,
                        metrics: dict[str, float] | None = None) -> None:
        """Keep the result; write if no training is going on.

        Args:
            runner (Runner): The runner.
            metrics (dict, optional): Results.
        """
        self._keep(runner.val_loop, metrics)
        if not self.training:
            self._write(runner)

    def after_test_epoch(self,
                         runner,
                         metrics: dict[str, float] | None = None) -> None:
        """Write.

        Args:
            runner (Runner): The runner.
            metrics (dict, optional): Results.
        """
        self._keep(runner.test_loop, metrics)
        self._write(runner)

    def after_train(self, runner) -> None:
        """Write what the last validation showed.

        Args:
            runner (Runner): The runner.
        """
        self._write(runner)
        self.training = False

    def _keep(self, loop, metrics: dict[str, float] | None) -> None:
        self.metrics = dict(metrics or {})
        metric = find_metric(loop.evaluator)
        self.curve = metric.curve if metric is not None else None
        self.meta = getattr(loop.dataloader.dataset, 'metainfo', None) or {}
        self.num_data = len(loop.dataloader.dataset)

    # ------------------------------------------------------------- writing
    def _write(self, runner) -> None:
        """Write curve and page and log where they are."""
        if not self.enabled or not is_main_process():
            return
        work_dir = Path(runner.work_dir)
        plots, note = {}, ''
        if self.curve is not None:
            untrained = runner.message_hub.runtime_info.get(UNTRAINED)
            references = {} if untrained is None else {
                'before training': untrained
            }
            curve_file = plot_curve(work_dir / 'cam_curve.png', self.curve,
                                    references)
            plots['mIoU over background thresholds'] = curve_file
            note = (f'The best threshold {self.curve["threshold"]:.2f} was '
                    'tuned on the ground truth of these '
                    f'{self.curve["num_images"]} images '
                    f'({self.curve["split"] or "evaluated split"}).')
            print_log(
                'mIoU of CAMs\n'
                f'{comparison(self.curve, untrained)}\n* tuned on the ground '
                f'truth it is scored with. Curve: {curve_file}',
                logger='current')
            if untrained is not None:
                self.metrics['mIoU_before_training'] = untrained['mIoU']
        if self.training:
            curves, unit, switch = self._history(runner)
            if any('pseudo' in name for name in curves):
                plots['results over the training'] = plot_history(
                    work_dir / 'history.png', curves, unit, switch)
        classes = self.meta.get('classes')
        palette = self.meta.get('palette')
        if not self.rows or not classes or not palette:
            if plots and self.num_images:
                print_log(
                    'No gallery: it needs predictions and a dataset with '
                    "metainfo['classes'] and metainfo['palette'].",
                    logger='current',
                    level=logging.WARNING)
            return
        if len(self.rows) < self.num_data:
            note = (f'The first {len(self.rows)} of {self.num_data} images. '
                    f'{note}')
        thresholded = self._drop_repeated_masks()
        page = RunPage(
            work_dir / 'gallery',
            classes,
            palette,
            title=f'CAMs: {runner.experiment_name}',
            threshold=self.test_cfg.get('threshold'),
            settings=choice_settings(runner.cfg) if thresholded else '',
            longest=self.longest)
        for row in self.rows:
            image = row['image']
            if image is None:
                image = read_image(row['path'], row['img_id'],
                                   row['window'])
            scores = {classes[c + 1]: p for c, p in row['scores'].items()}
            page.add(row['img_id'], image, row['stages'], row['gt'], scores)
        path = page.write(self.metrics, plots, note.strip())
        print_log(
            f'Gallery of {len(self.rows)} images: {path}', logger='current')

    def _drop_repeated_masks(self) -> bool:
        """Leave out masks that are the CAMs at the threshold.

        Returns:
            bool: Whether the model makes its masks so.
        """
        threshold = self.test_cfg.get('threshold')
        if threshold is None:
            return False
        steps = threshold_steps(threshold)
        step = int(np.searchsorted(steps, np.float32(threshold)))
        for row in self.rows:
            mask = row['stages'].get(PREDICTION)
            maps = row['stages'].get('CAM')
            if mask is None or maps is None or not np.array_equal(
                    mask, levels_to_mask(maps[1], maps[0], step)):
                return False
        for row in self.rows:
            del row['stages'][PREDICTION]
        return True

    @staticmethod
    def _history(
        runner
    ) -> tuple[dict[str, list[tuple[float, float]]], str, float | None]:
        """What the validations of this training gave.

        Returns:
            tuple: Name to moments and values; what moments count; the moment
            at which the second phase begins, if the model knows two.
        """
        files = [
            Path(runner.work_dir) / folder / 'vis_data' / 'scalars.json'
            for folder in runner.message_hub.get_info(LOG_FOLDERS)
        ]
        curves: dict[str, dict[float, float]] = {}
        for scalars in read_scalars(f for f in files if f.is_file()):
            for key, value in scalars.items():
                prefix, _, name = key.rpartition('/')
                if name in HISTORY:
                    title = HISTORY[name] + (f' ({prefix})' if prefix else '')
                    curves.setdefault(title, {})[scalars['step']] = value
        by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop) and any(
            isinstance(hook, LoggerHook) and hook.log_metric_by_epoch
            for hook in runner.hooks)
        model = runner.model
        model = model.module if is_model_wrapper(model) else model
        start = (getattr(model, 'train_cfg', None) or {}).get('seg_start')
        if start is not None:
            start *= runner.max_epochs if by_epoch else runner.max_iters
        points = {title: sorted(curve.items())
                  for title, curve in curves.items()}
        return points, 'epoch' if by_epoch else 'step', start
