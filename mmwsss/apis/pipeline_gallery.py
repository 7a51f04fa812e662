"""One page on which all stages of a pipeline can be compared."""
from pathlib import Path

from mmengine.config import Config

from mmwsss.datasets.transforms.load_images import read_true_mask
from mmwsss.engine.hooks.gallery_hook import choice_settings
from mmwsss.models.segmentors import CAMSegmentor
from mmwsss.pseudo_labels.cam_file import cam_path, read_cam
from mmwsss.utils.io import find_file
from mmwsss.utils.read_images import read_image, read_mask
from mmwsss.visualization import RunPage
from mmwsss.visualization.run_page import Stage

from .evaluation_data import evaluation_dataset
from .pipeline import Pipeline

SECTION_KEYS = {'config', 'train_images', 'num_images', 'columns'}


def write_pipeline_gallery(pipeline: Pipeline) -> Path | None:
    """Write the page that a pipeline config's ``gallery`` describes.

    ``gallery`` maps the titles of its sections to ``dict(config,
    train_images=False, num_images=300, columns)``: the images are those of
    the config's test data (or training data), and ``columns`` maps stages
    to folders of CAMs or masks, e.g. ``{'+ CRF': '{crf.masks}'}``.
    Folders that are not there yet are left out.

    Args:
        pipeline (Pipeline): Some of its stages finished.

    Returns:
        Path | None: ``{work_dir}/gallery/index.html``; None if the config
        wants none or nothing is there to be shown.

    Raises:
        ValueError: If a section is malformed.
    """
    page: RunPage | None = None
    for title, section in (pipeline.cfg.get('gallery') or {}).items():
        columns = _columns(title, section, pipeline)
        if not columns:
            continue
        cfg = Config.fromfile(
            str(find_file(pipeline.fill(section['config'], 'gallery'))))
        dataset = evaluation_dataset(
            cfg,
            train_images=section.get('train_images', False),
            masks='optional')
        if page is None:
            threshold = _threshold(cfg.get('model') or {})
            page = RunPage(
                pipeline.work_dir / 'gallery',
                dataset.metainfo['classes'],
                dataset.metainfo['palette'],
                title='Stage by stage: '
                f'{Path(pipeline.cfg.filename).parent.name}',
                threshold=threshold,
                settings='' if threshold is None else choice_settings(cfg))
        for i in range(min(section.get('num_images', 300), len(dataset))):
            _add_image(page, dataset.get_data_info(i), columns, title)
    if page is None:
        return None
    metrics = {
        f'{stage.name}: {title}': pipeline.value(stage.name, key)
        for stage in pipeline.stages for title, key in stage.rows.items()
    }
    return page.write({k: v for k, v in metrics.items() if v != '-'})


def _threshold(model: dict) -> float | None:
    """The background score of a model that makes its masks by one."""
    if model.get('type') != 'mmwsss.CAMSegmentor':
        return None
    default = CAMSegmentor.TEST_DEFAULTS['threshold']
    return (model.get('test_cfg') or {}).get('threshold', default)


def _columns(title: str, section: dict,
             pipeline: Pipeline) -> list[tuple[str, Path]]:
    """Captions and folders that are there."""
    if not {'config', 'columns'} <= set(section) <= SECTION_KEYS:
        raise ValueError(
            f'gallery.{title} has {sorted(section)}; it needs config and '
            'columns and may have train_images and num_images.')
    found = []
    for caption, text in section['columns'].items():
        folder = pipeline.fill(text, f'gallery column {caption!r}')
        if Path(folder).is_dir():
            found.append((caption, Path(folder)))
    return found


def _add_image(page: RunPage, info: dict, columns: list[tuple[str, Path]],
               group: str) -> None:
    img_id = info['img_id']
    image = read_image(info['img_path'], img_id, info.get('window'))
    gt = None
    if info.get('seg_map_path'):
        gt = read_true_mask(info)
    stages: dict[str, Stage] = {}
    for caption, folder in columns:
        file = cam_path(folder, img_id)
        mask = folder / f'{img_id}.png'
        if file.is_file():
            content = read_cam(file)
            stages[caption] = (content.class_ids, content.cam)
        elif mask.is_file():
            stages[caption] = read_mask(mask, img_id)
    page.add(img_id, image, stages, gt, group=group)
