"""Class names of checkpoints, files and data; resuming with new settings."""
import copy

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmwsss.apis import run
from mmwsss.apis.cam_inferencer import CAMInferencer
from mmwsss.apis.evaluation_data import evaluation_dataset
from mmwsss.apis.pipeline import load_stages
from mmwsss.apis.refine import refine_cams
from mmwsss.apis.run_checks import parse_config, report_changes
from mmwsss.apis.score_cams import evaluate_cams, score_cams
from mmwsss.apis.score_masks import evaluate_masks, score_masks
from mmwsss.datasets import (
    ImageLevelDataset,
    PseudoMaskDataset,
    write_image_labels,
)
from mmwsss.pseudo_labels import write_cam, write_manifest, write_mask
from mmwsss.pseudo_labels.mask_file import write_mask_manifest

from ..test_datasets.builders import METAINFO, make_voc, save_mask
from ..test_engine.test_output_hooks import make_cfg
from ..toy import write_config
from .test_cam_inferencer import _restore_loader, save  # noqa: F401
from .test_run import arguments

LABELS = {'a1': [0], 'b2': [0, 1], 'c3': [], 'd4': [1], 'e5': [1]}
HOOKS = [dict(type='mmwsss.SaveCAMsHook')]
#: Names of the two classes in the order of the data, and whether that is
#: what the checkpoint means by them.
NAMES = [(('cat', 'dog'), True), (('Cat', 'dog'), True),
         (('zebracat', 'dog'), False), (('dog', 'cat'), False),
         (('cat', 'dog', 'emu'), False)]
DIFFER = [names for names, same in NAMES if not same]


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    """Config without names, which the file of tags has; a checkpoint."""
    folder = tmp_path_factory.mktemp('home')
    data = make_voc(folder / 'data', LABELS)
    cfg = make_cfg(data, folder / 'run', HOOKS, steps=2)
    for key in ('train', 'val', 'test'):
        cfg[f'{key}_dataloader']['dataset'].pop('metainfo')
    Config(copy.deepcopy(cfg)).dump(folder / 'x.py')
    with pytest.MonkeyPatch.context() as patch:
        from mmengine.runner import CheckpointLoader
        patch.setattr(CheckpointLoader, '_schemes',
                      CheckpointLoader._schemes.copy())
        patch.setenv('LOCAL_RANK', '0')
        run.train(**arguments(folder / 'x.py'))
    return folder / 'x.py', folder / 'run', data


@pytest.fixture
def rename(home):
    """Write the tags again, with other names."""

    def write(names):
        write_image_labels(home[2] / 'labels.json', names, LABELS)

    yield write
    write(('cat', 'dog'))


def both_lists(error, names):
    text = str(error.value)
    assert 'of the checkpoint  cat, dog' in text
    assert f'of the data        {", ".join(names)}' in text
    return text


# ------------------------------------------------------------------- refusals
@pytest.mark.parametrize('names', DIFFER[:2])
def test_test_tool(home, rename, names, tmp_path):
    config, weights, _ = home
    rename(names)
    with pytest.raises(ValueError, match='Cannot test') as error:
        run.test(**arguments(config, checkpoint=str(weights),
                           out=str(tmp_path / 'cams')))
    text = both_lists(error, names)
    assert ('another order' in text) == (names == ('dog', 'cat'))
    assert not (tmp_path / 'cams').exists()


@pytest.mark.parametrize('names', DIFFER[:2])
def test_resume(home, rename, names):
    config, weights, _ = home
    rename(names)
    with pytest.raises(ValueError, match='Cannot resume') as error:
        run.train(**arguments(config, resume=True, cfg_options={
            'train_cfg.max_iters': 3}))
    both_lists(error, names)


def test_start_from_a_head(home, rename, tmp_path):
    config, weights, _ = home
    checkpoint = str(weights / 'iter_2.pth')
    rename(('zebracat', 'dog'))
    start = dict(work_dir=str(tmp_path / 'run'),
                 cfg_options=dict(load_from=checkpoint))
    with pytest.raises(ValueError, match='take the head out') as error:
        run.train(**arguments(config, **start))
    both_lists(error, ('zebracat', 'dog'))
    # What the message says works.
    content = torch.load(checkpoint, weights_only=True)['state_dict']
    torch.save({k: v for k, v in content.items()
                if 'head' not in k.split('.')[0]}, tmp_path / 'OUT.pth')
    start['cfg_options'] = dict(load_from=str(tmp_path / 'OUT.pth'))
    run.train(**arguments(config, **start))
    # Another number of classes: the head is new anyway.
    rename(('cat', 'dog', 'emu'))
    start['work_dir'] = str(tmp_path / 'more')
    start['cfg_options'] = {'load_from': checkpoint,
                            'model.cls_head.num_classes': 3,
                            'val_dataloader': None, 'val_evaluator': None,
                            'val_cfg': None}
    run.train(**arguments(config, **start))


@pytest.mark.parametrize('names', DIFFER[:2])
def test_inferencer(home, rename, names):
    config, weights, _ = home
    rename(names)
    with pytest.raises(ValueError, match='Cannot predict with') as error:
        CAMInferencer(str(config), str(weights), device='cpu')
    both_lists(error, names)


def test_inferencer_of_names_in_the_config(home):
    config, weights, _ = home
    cfg = Config.fromfile(config)
    cfg.test_dataloader.dataset.metainfo = dict(
        classes=('background', 'dog', 'cat'))
    with pytest.raises(ValueError, match='another order'):
        CAMInferencer(cfg, str(weights), device='cpu')


def test_inferencer_elsewhere(home):
    """Without the data the names are those of the checkpoint."""
    config, weights, _ = home
    cfg = Config.fromfile(config)
    cfg.test_dataloader.dataset.data_root = '/nowhere'
    inferencer = CAMInferencer(cfg, str(weights), device='cpu')
    assert inferencer.classes == ('background', 'cat', 'dog')


@pytest.mark.parametrize('names', [n for n, same in NAMES if same])
def test_equal_names(home, rename, names):
    config, weights, _ = home
    rename(names)
    assert 'mIoU' in run.test(**arguments(config, checkpoint=str(weights)))


# ----------------------------------------------------------- files of a stage
def noted(folder, names):
    """A folder of maps and one of masks, made for these names."""
    for img_id, labels in LABELS.items():
        write_cam(folder / 'cams', img_id, labels,
                  np.zeros((len(labels), 20, 30), np.float32), (20, 30))
        write_mask(folder / 'masks', img_id, np.zeros((20, 30), np.uint8))
    classes = ['background', *names]
    write_manifest(folder / 'cams', classes=classes, num_images=5)
    write_mask_manifest(folder / 'masks', classes=classes, num_images=5)


@pytest.mark.parametrize('names', DIFFER)
def test_files_of_earlier_stages(home, names, tmp_path):
    config, _, data = home
    noted(tmp_path, names)
    message = '(?s)made for other classes.*of the files.*of the data'
    cfg = Config.fromfile(config)
    with pytest.raises(ValueError, match=message):
        score_cams(tmp_path / 'cams', evaluation_dataset(cfg))
    truth = [(i, data / f'SegmentationClass/{i}.png') for i in LABELS]
    with pytest.raises(ValueError, match=message):
        score_masks(str(tmp_path / 'masks'), truth, METAINFO['classes'])
    inner = dict(type='mmwsss.ImageLevelDataset', data_root=str(data),
                 ann_file='ImageSets/Segmentation/train.txt',
                 labels_file='labels.json')
    with pytest.raises(ValueError, match=message):
        PseudoMaskDataset(inner, tmp_path / 'masks')
    text = Config(dict(refine_dataset=dict(inner, pipeline=[
        dict(type='mmwsss.LoadImage'), dict(type='mmwsss.LoadCAMs'),
        dict(type='mmwsss.SaveMask')])))
    (tmp_path / 'refine.py').write_text(text.pretty_text)
    with pytest.raises(ValueError, match=message):
        refine_cams(
            tmp_path / 'refine.py',
            tmp_path / 'cams',
            tmp_path / 'o',
            workers=1)
    # Whatever reads them: other networks, and masks to measure with.
    plain = {k: v for k, v in inner.items() if k != 'type'}
    with pytest.raises(ValueError, match=message):
        ImageLevelDataset(**plain, cam_dir=str(tmp_path / 'cams'))
    with pytest.raises(ValueError, match=message):
        ImageLevelDataset(
            **plain, with_masks=True,
            data_prefix=dict(seg_map_path=str(tmp_path / 'masks')))


# -------------------------------------------------------------- true masks
def test_true_masks_before_a_training(home, tmp_path):
    """Nothing is trained that cannot be measured."""
    config, _, data = home
    cfg = Config.fromfile(config)
    cfg.val_dataloader.dataset.data_prefix = dict(
        seg_map_path=str(tmp_path / 'gt'))
    for img_id, labels in LABELS.items():
        mask = np.zeros((20, 30), np.uint8)
        mask[:5] = 255 if labels else 0
        save_mask(tmp_path / f'gt/{img_id}.png', mask)
    cfg.dump(tmp_path / 'x.py')
    again = dict(work_dir=str(tmp_path / 'run'))
    with pytest.raises(ValueError, match="never show 'cat'.*mask_values"):
        run.train(**arguments(tmp_path / 'x.py', **again))
    assert not (tmp_path / 'run').exists()
    # One class of 255 is translated, the other cannot be told apart.
    facts = dict(
        data_root=str(data), ann_file='ImageSets/Segmentation/train.txt',
        labels_file='labels.json', with_masks=True,
        data_prefix=dict(seg_map_path=str(tmp_path / 'gt')),
        mask_values=['255=dog'])
    dataset = ImageLevelDataset(pipeline=[
        dict(type='mmwsss.LoadImage'), dict(type='mmwsss.LoadMask'),
        dict(type='mmwsss.PackWSSSInputs')], **facts)
    for sample in dataset:
        mask = sample['data_samples'].gt_sem_seg.data
        assert set(mask.unique().tolist()) <= {0, 2}
    # mmseg's own loader translates, too.
    from mmwsss.registry import TRANSFORMS
    info = TRANSFORMS.build(dict(type='mmseg.LoadAnnotations')).transform(
        dict(dataset.get_data_info(0)))
    assert set(np.unique(info['gt_seg_map'])) == {0, 2}


def test_true_masks_before_a_test(home, tmp_path):
    """The metric would refuse them, too, but after all the work."""
    config, weights, _ = home
    cfg = Config.fromfile(config)
    cfg.test_dataloader.dataset.data_prefix = dict(
        seg_map_path=str(tmp_path / 'gt'))
    for img_id, labels in LABELS.items():
        mask = np.zeros((20, 30), np.uint8)
        mask[:5] = 255 if labels else 0
        save_mask(tmp_path / f'gt/{img_id}.png', mask)
    cfg.dump(tmp_path / 'x.py')
    with pytest.raises(ValueError, match="never show 'cat'.*mask_values"):
        run.test(**arguments(tmp_path / 'x.py', checkpoint=str(weights),
                           out=str(tmp_path / 'cams')))
    assert not (tmp_path / 'cams').exists()


def test_masks_in_another_order_are_not_scored(tmp_path):
    """Images of one class show another number: every score would be low."""
    tags = {f'i{n}': [n % 2] for n in range(6)}
    data = make_voc(tmp_path / 'data', tags)
    cfg = Config(make_cfg(data, tmp_path / 'run', []))
    cfg.dump(tmp_path / 'x.py')
    for img_id, (c, ) in tags.items():
        mask = np.zeros((20, 30), np.uint8)
        mask[:9] = c + 1
        for folder in (tmp_path / 'masks', data / 'SegmentationClass'):
            write_mask(folder, img_id, mask)
        write_cam(tmp_path / 'cams', img_id, [c],
                  (mask[None] > 0).astype(np.float32), (20, 30))
    masks, cams = tmp_path / 'masks', tmp_path / 'cams'
    assert evaluate_masks(masks, tmp_path / 'x.py')['mIoU'] == 100
    assert evaluate_cams(cams, tmp_path / 'x.py')['mIoU'] == 100
    for img_id, (c, ) in tags.items():
        save_mask(data / f'SegmentationClass/{img_id}.png',
                  np.full((20, 30), 2 - c))
    for score in (lambda: evaluate_masks(masks, tmp_path / 'x.py'),
                  lambda: evaluate_cams(cams, tmp_path / 'x.py')):
        with pytest.raises(ValueError, match="never show 'cat'.*or these for"):
            score()


# ------------------------------------------------------------------ pipelines
def test_stages_are_not_kept_for_other_names(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text('train_dataloader = dict(dataset=dict('
                      "type='mmwsss.ImageLevelDataset', labels_file='l.json',"
                      f' data_root={str(tmp_path)!r}))')
    cfg = Config(dict(stages=dict(train=dict(
        command=f'tools/train.py {config}', outputs=dict(x='{dir}')))))

    def key(names, labels):
        write_image_labels(tmp_path / 'l.json', names, labels)
        return load_stages(cfg, tmp_path)[0].key

    first = key(('cat', 'dog'), LABELS)
    assert key(('cat', 'dog'), {'a1': [1]}) == first
    assert key(('zebracat', 'dog'), LABELS) != first
    assert key(('dog', 'cat'), LABELS) != first


# --------------------------------------------------------------------- resume
@pytest.fixture
def toy(tmp_path):
    path = write_config(tmp_path / 'toy.py', tmp_path / 'run', steps=1)
    run.train(**arguments(path))
    return path, tmp_path / 'run'


def test_resume_says_what_takes_effect(toy):
    path, work_dir = toy
    last = str(work_dir / 'epoch_1.pth')
    checkpoint = torch.load(last, weights_only=True)
    cfg = Config.fromfile(path)
    assert report_changes(cfg, checkpoint, last) == []
    cfg.merge_from_dict({
        'optim_wrapper.optimizer.lr': 0.5,
        'optim_wrapper.clip_grad': dict(max_norm=1.),
        'param_scheduler.end': 7,
        'train_cfg.max_epochs': 3,
        'train_dataloader.batch_size': 4,
        'randomness.seed': 4,
        'work_dir': 'elsewhere'
    })
    text = '\n'.join(report_changes(cfg, checkpoint, last))
    effective, overridden = text.split('NO effect')
    for line in ('train_cfg.max_epochs: 1 -> 3',
                 'train_dataloader.batch_size: 2 -> 4',
                 'optim_wrapper.clip_grad: nothing ->'):
        assert line in effective
    for line in ('optim_wrapper.optimizer.lr: 0.01 -> 0.5',
                 'param_scheduler.end: 1 -> 7', 'randomness.seed: 3 -> 4'):
        assert line in overridden
    assert 'work_dir' not in text.replace('work-dir', '')


def test_resume_with_another_wrapper(toy):
    """--amp takes effect, but not for what the checkpoint holds."""
    path, work_dir = toy
    last = str(work_dir / 'epoch_1.pth')
    checkpoint = torch.load(last, weights_only=True)
    cfg = Config.fromfile(path)
    cfg.optim_wrapper.type = 'mmwsss.BFloat16OptimWrapper'
    cfg.optim_wrapper.optimizer.lr = 0.5
    text = '\n'.join(report_changes(cfg, checkpoint, last))
    effective, overridden = text.split('NO effect')
    assert 'optim_wrapper.type: ' in effective
    assert 'optim_wrapper.optimizer.lr: 0.01 -> 0.5' in overridden


def test_resume_with_another_optimizer(toy):
    """Its state is of no use, and torch would take it nevertheless."""
    with pytest.raises(ValueError, match='the optimizer SGD, which means '
                       'nothing to AdamW.*without --resume'):
        run.train(**arguments(toy[0], resume=True, cfg_options={
            'optim_wrapper.optimizer.type': 'AdamW',
            'train_cfg.max_epochs': 2}))
    assert not (toy[1] / 'epoch_2.pth').exists()


def test_the_report_is_true(toy, caplog):
    """What is said to have no effect has none, and the rest has."""
    path, work_dir = toy
    # Loggers go by this name, which else holds but the second.
    run.train(**arguments(path, resume=True, cfg_options={
        'experiment_name': 'resumed',
        'optim_wrapper.optimizer.lr': 0.5, 'train_cfg.max_epochs': 2}))
    content = torch.load(work_dir / 'epoch_2.pth', weights_only=True)
    assert content['optimizer']['param_groups'][0]['initial_lr'] == 0.01
    log = ''.join(p.read_text() for p in work_dir.glob('*/*.log'))
    assert 'optimizer.lr: 0.01 -> 0.5' in log
    assert 'train_cfg.max_epochs: 1 -> 2' in log


def test_configs_are_read_without_running_them():
    parsed = parse_config('a = dict(x=[1, (2., None)], y={"z w": -3})\n'
                          "b = 'text'")
    assert parsed == dict(a=dict(x=[1, [2., None]], y={'z w': -3}), b='text')
    with pytest.raises(ValueError):
        parse_config("a = __import__('os').getcwd()")
    cfg = Config(dict(train_cfg=dict(max_iters=1)))
    evil = dict(meta=dict(cfg="train_cfg = print('ran')"))
    assert report_changes(cfg, evil, 'x.pth') == []
