"""The model of any config with a batch that it can train on or predict."""
from collections.abc import Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.optim import AmpOptimWrapper, OptimWrapper, build_optim_wrapper
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import LabelData, PixelData
from mmseg.structures import SegDataSample
from torch import nn

from mmwsss.apis.config_edits import AMP_SCALE
from mmwsss.apis.run import pretrained_paths

ROOT = Path(__file__).resolve().parents[1]

#: Shapes configs that cannot be built here, without mmdet.
LACKING = set() if find_spec('mmdet') else {
    'segmentation/mask2former_small_shapes'}
#: Every model of the Shapes configs, small enough for a CPU.
SHAPES = sorted(
    f'{path.parent.name}/{path.stem}'
    for path in (ROOT / 'configs').glob('[!_]*/*_shapes.py')
    if 'model' in Config.fromfile(path))
SHAPES.append('segmentation/fcn_shapes')
SHAPES = sorted(set(SHAPES) - LACKING)
#: Folders of methods that train in two phases.
TWO_PHASES = ('getam/', 'toco/', 'cosa/')


def load(name: str, **options) -> Config:
    """A config without the weights that it would start from.

    Args:
        name (str): Folder and stem.
        **options: Dotted key (``__`` for a dot) to value.
    """
    cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    init_default_scope(cfg.default_scope)
    for where, _ in pretrained_paths(cfg.model):
        cfg.merge_from_dict({where: None})
    cfg.merge_from_dict({k.replace('__', '.'): v for k, v in options.items()})
    if cfg.model.type in ('mmwsss.AffinityNet', 'mmwsss.IRNet'):
        # A CRF after the walk reads image files; these images are made up.
        cfg.model.pop('test_cfg', None)
    for regularizer in (cfg.model.get('regularizers') or {}).values():
        # All terms from the first step on.
        regularizer.pop('start_iter', None)
    return cfg


def build(cfg: Config, seed: int = 0) -> nn.Module:
    """Its model with random weights.

    Args:
        cfg (Config): See :func:`load`.
        seed (int): Of the weights. Defaults to 0.
    """
    torch.manual_seed(seed)
    model = MODELS.build(cfg.model)
    model.init_weights()
    head = getattr(model, 'displacement_head', None)
    if head is not None:
        head.running_mean.fill_(0.1)  # As if a training had measured it.
    return model


def without_values(cfg: dict) -> nn.Module:
    """A model on the meta device: no memory, no initialisation.

    Args:
        cfg (dict): Of the model.
    """
    try:
        with torch.device('meta'):
            return MODELS.build(cfg)
    except RuntimeError:  # mmseg's Segmenter reads numbers that it makes.
        return MODELS.build(cfg).to('meta')


def wrapper(cfg: Config, model: nn.Module, **options):
    """The optimizer wrapper of a config.

    Args:
        cfg (Config): See :func:`load`.
        model (nn.Module): The model.
        **options: Instead of those of the config.
    """
    optim = dict(cfg.optim_wrapper, **options)
    # What torch does by itself for weights on a GPU.
    optim['optimizer'] = dict(optim['optimizer'], foreach=True)
    return build_optim_wrapper(model, optim)


class HalfOptimWrapper(AmpOptimWrapper):
    """What ``--amp`` takes, on devices that mmengine refuses.

    Args:
        optim (OptimWrapper): The one of a config, see :func:`wrapper`.
        dtype (torch.dtype): Half precision of the forward passes.
        device (str): Its type. Defaults to 'cpu'.
    """

    def __init__(self, optim: OptimWrapper, dtype: torch.dtype,
                 device: str = 'cpu') -> None:
        OptimWrapper.__init__(
            self,
            optim.optimizer,
            accumulative_counts=optim._accumulative_counts,
            clip_grad=optim.clip_grad_kwargs)
        self.cast_dtype, self.device = dtype, device
        self._scale_update_param = None
        # bfloat16 has float32's range.
        self.loss_scaler = torch.amp.GradScaler(
            device, AMP_SCALE, enabled=dtype == torch.float16)

    @contextmanager
    def optim_context(self, model: nn.Module):
        with OptimWrapper.optim_context(self, model), torch.autocast(
                self.device, dtype=self.cast_dtype):
            yield


def set_phase(second: bool) -> None:
    """Tell models with two phases which one a step belongs to."""
    hub = MessageHub.get_current_instance()
    hub.update_info('max_iters', 2)
    hub.update_info('iter', int(second))


def transforms_of(cfg: Config) -> list:
    """Names of the transforms of the training pipeline."""
    data = cfg.train_dataloader.dataset
    return [t.type.split('.')[-1] for t in data.pipeline]


def num_classes_of(cfg: Config) -> int:
    """Classes without background."""
    model = cfg.model.get('segmentor', cfg.model)
    head = model.get('cls_head') or model.get('decode_head')
    if head is None or 'num_classes' not in head:
        return 6
    return head.num_classes - learns_masks(cfg)


def learns_masks(cfg: Config) -> bool:
    """Whether it is a segmentation model that trains on pseudo masks."""
    return cfg.train_dataloader.dataset.type == 'mmwsss.PseudoMaskDataset'


def blocks(size: Sequence[int], classes: Sequence[int]) -> torch.Tensor:
    """Upright stripes of labels, int64 (1, *size), with unknown ones."""
    values = torch.tensor([0, *(c + 1 for c in classes), 255])
    column = torch.arange(size[1]) * len(values) // size[1]
    return values[column].expand(1, *size).clone()


def batch_of(cfg: Config,
             tags: Sequence[Sequence[int]] = ((0, 3), (5, )),
             size: int = 96,
             training: bool = True,
             seed: int = 1) -> dict:
    """What the config's data loader would give for made-up images.

    Args:
        cfg (Config): See :func:`load`.
        tags (Sequence): Classes of each image.
        size (int): Height and width. Defaults to 96.
        training (bool): For a training or a test. Defaults to True.
        seed (int): Of the images. Defaults to 1.
    """
    generator = torch.Generator().manual_seed(seed)
    steps = transforms_of(cfg)
    count = num_classes_of(cfg)
    pipeline = cfg.train_dataloader.dataset.pipeline
    stride = next((t.get('stride', t.get('factor')) for t in pipeline
                   if t.type in ('mmwsss.AffinityLabel',
                                 'mmwsss.DownscaleLabel')), 1)
    kind = cfg.model.type
    images, samples = [], []
    for i, ids in enumerate(tags):
        images.append(
            torch.randint(
                0,
                256, (3, size, size),
                dtype=torch.uint8,
                generator=generator))
        sample = SegDataSample(
            metainfo=dict(
                img_id=f'image {i}',
                ori_shape=(size, size),
                img_shape=(size, size)))
        ids = [c for c in ids if c < count]
        score = torch.zeros(count)
        score[list(ids)] = 1
        sample.gt_label = LabelData(
            label=torch.tensor(ids, dtype=torch.int64), score=score)
        cells = (size // stride, size // stride)
        if training and (stride > 1 or kind == 'mmwsss.AMN'
                         or learns_masks(cfg)):
            sample.gt_sem_seg = PixelData(data=blocks(cells, ids))
        if not training and kind == 'mmwsss.AMN':
            sample.seed_sem_seg = PixelData(data=blocks((size, size), ids))
        if not training and kind in ('mmwsss.AffinityNet', 'mmwsss.IRNet'):
            sample.set_data(
                dict(
                    cams=torch.rand(
                        len(ids), size, size, generator=generator),
                    class_ids=torch.tensor(ids, dtype=torch.int64)))
        if 'LoadSaliency' in steps:
            y, x = torch.meshgrid(
                torch.arange(size), torch.arange(size), indexing='ij')
            disk = (y - size // 2)**2 + (x - size // 2)**2 < (size // 3)**2
            sample.gt_saliency = PixelData(
                data=disk[None].to(torch.float32))
        samples.append(sample)
    return dict(inputs=images, data_samples=samples)


def losses_of(model: nn.Module, batch: dict) -> dict:
    """Losses of a batch in training mode, without an update."""
    data = model.data_preprocessor(batch, training=True)
    return model.loss(**data)
