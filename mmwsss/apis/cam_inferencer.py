"""CAMs, masks and pictures of any images: the work of tools/infer.py."""
import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import (
    Any,
    NamedTuple,
)

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.infer import BaseInferencer
from mmengine.logging import print_log
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DATASETS, TRANSFORMS, init_default_scope
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample

from mmwsss.datasets.image_labels import read_image_labels, tags_to_indices
from mmwsss.engine.hooks.gallery_hook import choice_settings
from mmwsss.engine.hooks.save_predictions_hook import file_digest
from mmwsss.models.segmentors import (
    AMN,
    CAMRefiner,
    CAMSegmentor,
    EndToEndSegmentor,
    RefinedSegmentor,
)
from mmwsss.pseudo_labels.mask_file import voc_palette
from mmwsss.registry import INFERENCERS, MODELS
from mmwsss.utils.checkpoint import (
    load_checkpoint_file,
    state_dict_of,
    use_safe_loading,
)
from mmwsss.utils.dataset_configs import (
    MASK_LOADERS,
    dataset_chains,
    first_pipeline,
    inner_datasets,
    step_name,
    without_steps,
)
from mmwsss.utils.io import find_file
from mmwsss.utils.memory import explain_memory
from mmwsss.utils.progress import Progress
from mmwsss.utils.run_folder import RunFolder, sigterm_raises
from mmwsss.utils.shards import Shard, parse_shard
from mmwsss.visualization import draw_strip

from .image_sources import ImageLike, Source, find_images, refuse_double_names
from .inference_output import Output, names_in_mask
from .run import (
    ConfigLike,
    PathLike,
    check_fit,
    check_pretrained,
    last_of_run,
    load_config,
    similar_configs,
)
from .run_checks import check_classes, file_classes

#: Steps of test pipelines that read what images from anywhere do not have.
#: What they read takes no part in CAMs and masks.
LEFT_OUT = (*MASK_LOADERS, 'LoadSaliency')


@dataclass
class _Item:
    """An image on its way: packed for the model, done before, or broken."""
    source: Source
    data: dict | None = None
    image: np.ndarray | None = None
    error: str | None = None


@INFERENCERS.register_module()
class CAMInferencer(BaseInferencer):
    """CAMs, masks and pictures of images from anywhere.

    What it predicts equals what ``tools/test.py --out`` writes for the same
    images and tags. It runs the models that need nothing but an image:
    ``CAMSegmentor`` (CAMs, and the mask at a threshold),
    ``EndToEndSegmentor`` (the decoder's mask, and the CAMs it trains
    on), ``RefinedSegmentor`` (the mask, of the given classes only where tags
    are given) and mmseg's own (the mask). ::

        inferencer = CAMInferencer('cam_deit-tiny_voc-mini', 'work_dirs/x')
        result = inferencer(['a.jpg', 'b.jpg'], tags=[['dog'], ['cat']])
        result['predictions'][0]['cams']  # float32 (1, height, width)

    Args:
        model (str | Path | Config): Path of a config, a config, or the name
            of one of ours, e.g. ``'acr_vit_voc'``.
        weights (str | Path, optional): Checkpoint, or work folder of a
            training whose last one is meant. None takes the initial weights
            that the config names, with a warning. Defaults to None.
        device (str, optional): E.g. ``'cuda:1'`` or ``'cpu'``. None takes a
            GPU where there is one. Defaults to None.
        trusted (bool): Whether checkpoints may hold what can run code, see
            :func:`~mmwsss.utils.checkpoint.load_checkpoint_file`.
            Defaults to False.
        show_progress (bool): Whether calls show their progress. Defaults to
            True.

    Attributes:
        classes (tuple[str]): Names of the labels of masks, background first.
        palette (list): RGB per label.

    Raises:
        FileNotFoundError: If config or checkpoint are missing.
        ValueError: If the checkpoint does not fit or is refused, or the
            model needs more than an image.
    """

    def __init__(self,
                 model: str | Path | Config,
                 weights: PathLike | None = None,
                 device: str | None = None,
                 trusted: bool = False,
                 show_progress: bool = True) -> None:
        if model is None:
            # mmengine would run the config text in the checkpoint, which is
            # a program.
            raise ValueError('CAMInferencer needs a config: its path, or the '
                             "name of one of ours, e.g. 'acr_vit_voc'.")
        self.trusted = trusted
        self.checkpoint = None if weights is None else last_of_run(
            str(weights))
        model = str(model) if isinstance(model, Path) else model
        super().__init__(
            model, self.checkpoint, device, show_progress=show_progress)

    # ------------------------------------------------------------- setting up
    def _load_model_from_metafile(self, model: str) -> tuple[Config, None]:
        """The config of ours that a name means; mmengine calls this."""
        path = Path(model)
        if path.suffix == '.py' or len(path.parts) > 1:
            raise FileNotFoundError(f'There is no config {path}.' +
                                    similar_configs(path))
        found = sorted(find_file('configs').glob(f'*/{model}.py'))
        if len(found) != 1:
            path = find_file('configs') / f'{model}.py'
            raise FileNotFoundError(
                f'{len(found)} of our configs have the name {model!r}.' +
                similar_configs(path))
        return Config.fromfile(str(found[0])), None

    def _init_model(self,
                    cfg: Config,
                    weights: str | None,
                    device: str = 'cpu') -> torch.nn.Module:
        init_default_scope(cfg.get('default_scope', 'mmseg'))
        name = getattr(cfg, 'filename', None) or 'the config'
        if cfg.get('model') is None:
            raise ValueError(f'{name} has no model.')
        _check_device(device)
        # Read first: building takes longer.
        checkpoint = None
        if weights is not None:
            checkpoint = load_checkpoint_file(weights, trusted=self.trusted)
        model = MODELS.build(cfg.model)
        _refuse_later_stages(model)
        if checkpoint is None:
            check_pretrained(cfg)
            use_safe_loading(self.trusted)
            model.init_weights()
            use_safe_loading()
            print_log(
                f'No checkpoint: {type(model).__name__} of {name} has the '
                'weights that its training starts from, so its results mean '
                'nothing.',
                logger='current',
                level=logging.WARNING)
        else:
            check_fit(model, checkpoint, weights, name, purpose='test')
            model.load_state_dict(state_dict_of(checkpoint), strict=False)
        self.classes, self.palette = _labels_of(cfg, checkpoint)
        if checkpoint is not None:
            check_classes(model, checkpoint, weights, self.classes,
                          'predict with')
        self.window = _window_of(cfg)
        expected = getattr(model, 'num_classes', None)
        if isinstance(model, CAMSegmentor) and \
                expected != len(self.classes) - 1:
            raise ValueError(
                f'{name}: the model has {expected} classes, its test data '
                f'{len(self.classes) - 1} without background. Set '
                'model.cls_head.num_classes to the latter.')
        if torch.device(device).type == 'cpu':
            model = revert_sync_batchnorm(model)
        return model.to(device).eval()

    def _init_pipeline(self, cfg: Config) -> Compose:
        self.steps = _test_pipeline(cfg)
        self.load_image = TRANSFORMS.build(self.steps[0])
        return Compose([TRANSFORMS.build(step) for step in self.steps[1:]])

    def _init_collate(self, cfg: Config) -> Callable:
        # What runners take; mmengine's look-up warns of a missing registry.
        return pseudo_collate

    def _init_visualizer(self, cfg: Config) -> None:
        # It would make folders; visualize() needs none.
        return None

    @property
    def makes_cams(self) -> bool:
        """Whether the model predicts CAMs."""
        return isinstance(self.model, CAMSegmentor)

    @property
    def reads_tags(self) -> bool:
        """Whether the model can be told what is in an image."""
        return self.makes_cams or isinstance(self.model, RefinedSegmentor)

    # ------------------------------------------------------------------ calls
    def __call__(self,
                 inputs: ImageLike | Sequence[ImageLike],
                 tags: None | Sequence | Mapping = None,
                 batch_size: int = 4,
                 return_vis: bool = True,
                 **kwargs: Any) -> dict[str, list]:
        """Look at images.

        All results are in memory at the end; see :meth:`stream` for many.

        Args:
            inputs: An image file, a folder, a video file, an array BGR uint8
                (h, w, 3), or a list of these. See :func:`find_images`.
            tags (optional): Names of the classes in the images: one list for
                all, a list per image, or a mapping from image id to list.
                None predicts them. Defaults to None.
            batch_size (int): Images that go through the model at once if
                they have one size after the test pipeline. Defaults to 4.
            return_vis (bool): Whether pictures are returned. Defaults to
                True.
            **kwargs: See :meth:`stream`.

        Returns:
            dict: ``predictions``, a list with a dictionary per image, see
            :meth:`stream`, and ``visualization``, a list of pictures BGR
            uint8, None for broken images, or an empty list.
        """
        predictions, pictures = [], []
        for prediction in self.stream(
                inputs,
                tags,
                batch_size=batch_size,
                return_vis=return_vis,
                **kwargs):
            pictures.append(prediction.pop('picture'))
            predictions.append(prediction)
        return self.postprocess(predictions, pictures if return_vis else [])

    def stream(self,
               inputs: ImageLike | Sequence[ImageLike],
               tags: None | Sequence | Mapping = None,
               batch_size: int = 4,
               threshold: float | None = None,
               tag_threshold: float | None = None,
               out_dir: PathLike = '',
               overwrite: bool = False,
               on_error: str = 'raise',
               frame_step: int = 1,
               return_cams: bool = True,
               return_probs: bool = False,
               return_vis: bool = True,
               show_progress: bool | None = None,
               shard: Shard = Shard()) -> Iterator[dict[str, Any]]:
        """Look at images, one result after the other.

        Args:
            inputs: See :meth:`__call__`.
            tags (optional): See :meth:`__call__`.
            batch_size (int): See :meth:`__call__`.
            threshold (float, optional): Background score of the mask. None
                takes the config's. Defaults to None.
            tag_threshold (float, optional): Probability from which a class
                is predicted to be present. None takes the config's, 0.5 if
                it says nothing. Defaults to None.
            out_dir (str | Path): Folder for ``cams/*.npz``, ``masks/*.png``,
                ``overlays/*.jpg`` and ``index.html``, on which a person
                chooses a threshold. Images whose files are there are not
                done again. Empty writes nothing. Defaults to ''.
            overwrite (bool): Whether files in ``out_dir`` are replaced, also
                those made with other settings. Defaults to False.
            on_error (str): What to do with an image that cannot be read:
                ``'raise'``, or ``'skip'``, which gives it a result with
                ``error``. Defaults to 'raise'.
            frame_step (int): Take every n-th frame of videos. Defaults to 1.
            return_cams (bool): Whether results hold CAMs. Defaults to
                True.
            return_probs (bool): Whether results hold the probability of
                every label at every pixel, of models that predict one; also
                written to ``out_dir`` as ``probs/*.npz``. Defaults to False.
            return_vis (bool): Whether results hold pictures. Defaults to
                True.
            show_progress (bool, optional): None takes what the inferencer
                was made with. Defaults to None.
            shard (Shard): Which of the images are done, where several
                processes share ``out_dir``. Defaults to all.

        Returns:
            Iterator[dict]: Per image, in their order, ``img_id``,
            ``img_path`` (None for arrays and frames) and

            - ``tags`` (list[str]): Classes of the maps; without maps, those
              in the mask;
            - ``scores`` (dict[str, float] | None): Predicted probability of
              every class; None without classifier, and for images that were
              done before;
            - ``cams`` (ndarray | None): float32 (k, h, w) in [0, 1];
            - ``mask`` (ndarray): uint8 (h, w), 0 is background;
            - ``probs`` (ndarray | None): float32 (K + 1, h, w),
              probabilities of background and classes, if asked for;
            - ``picture`` (ndarray | None): BGR uint8, see
              :func:`~mmwsss.visualization.draw_strip`;
            - instead of all these ``error`` (str) and ``picture`` None if
              the image cannot be read.

        Raises:
            FileNotFoundError: If a file or folder is missing.
            ValueError: If an argument does not suit the model or the images,
                an image cannot be read, or ``out_dir`` holds files made with
                other settings.
        """
        if on_error not in ('raise', 'skip'):
            raise ValueError(f"on_error is {on_error!r}, must be 'raise' or "
                             "'skip'.")
        for name, number in (('batch_size', batch_size), ('frame_step',
                                                          frame_step)):
            if number < 1:
                raise ValueError(f'{name} must be at least 1, is {number}.')
        if return_probs and self.makes_cams and not isinstance(
                self.model, EndToEndSegmentor):
            raise ValueError(
                f'{type(self.model).__name__} has CAMs, not probabilities: '
                'it predicts no probability of pixels, and CAMs are '
                "scores, each divided by its own maximum. Read 'cams', and "
                "the probability of a tag in 'scores'; leave return_probs "
                '(--probs) out.')
        settings = self._settings(tags is not None, threshold, tag_threshold)
        sources = find_images(inputs, frame_step)
        labels = self._labels(tags, sources)
        output = None
        if out_dir:
            refuse_double_names(sources)
            output = Output(out_dir, self.makes_cams, self.classes,
                            self.palette, return_probs)
        if show_progress is None:
            show_progress = self.show_progress
        return self._run(sources, labels, settings, output, batch_size,
                         on_error == 'skip', overwrite, return_cams,
                         return_vis, return_probs, show_progress, shard)

    def _settings(self, given: bool, threshold: float | None,
                  tag_threshold: float | None) -> dict[str, Any]:
        """The model's ``test_cfg`` of a call; checks the numbers."""
        for name, number in (('threshold', threshold), ('tag_threshold',
                                                        tag_threshold)):
            if number is not None and not 0 <= number <= 1:
                raise ValueError(f'{name} must lie in [0, 1], is {number}.')
        kind = type(self.model).__name__
        decodes = isinstance(self.model, EndToEndSegmentor)
        if threshold is not None and (decodes or not self.makes_cams):
            raise ValueError(f'{kind} makes its mask without a threshold; '
                             'leave it out.')
        if given and not self.reads_tags:
            raise ValueError(f'{kind} makes masks without tags; leave them '
                             'out.')
        settings = dict(self.model.test_cfg or {})
        if self.reads_tags:
            settings['use_image_labels'] = given
        if decodes:
            settings['pseudo_labels'] = True
        if threshold is not None:
            settings['threshold'] = threshold
        if tag_threshold is not None and self.makes_cams:
            settings['tag_threshold'] = tag_threshold
        return settings

    def _labels(self, tags: None | Sequence | Mapping,
                sources: Sequence[Source]) -> list[np.ndarray | None]:
        """Class indices int64 (k,) of each image, None if not given."""
        if tags is None:
            return [None] * len(sources)
        if isinstance(tags, str):
            raise ValueError(f"tags is {tags!r}; give a list: tags=['dog'], "
                             'or a list of lists, one per image.')
        if isinstance(tags, Mapping):
            missing = [s.img_id for s in sources if s.img_id not in tags]
            if missing:
                raise ValueError(
                    f'{len(missing)} of {len(sources)} images have no tags: '
                    f'{", ".join(missing[:5])}. An image without any class '
                    f'needs an empty list. There are tags of '
                    f'{", ".join(map(str, list(tags)[:3]))}.')
            tags = [tags[s.img_id] for s in sources]
        elif all(isinstance(tag, str) for tag in tags):
            tags = [tags] * len(sources)
        elif len(tags) != len(sources):
            raise ValueError(f'There are tags of {len(tags)} images, but '
                             f'{len(sources)} images.')
        return [
            np.array(
                tags_to_indices(names, self.classes[1:], s.img_id, 'tags'),
                dtype=np.int64) for names, s in zip(tags, sources)
        ]

    # ------------------------------------------------------------------- work
    def _run(self, sources: list[Source],
             labels: list[np.ndarray | None], settings: dict[str, Any],
             output: Output | None, batch_size: int, skip: bool,
             overwrite: bool, return_cams: bool, return_vis: bool,
             return_probs: bool, show_progress: bool,
             shard: Shard) -> Iterator[dict[str, Any]]:
        with contextlib.ExitStack() as stack:
            done, broken, everything = set(), [], sources
            if output is not None:
                run = self._run_folder(output, sources, labels, settings,
                                       overwrite, shard)
                stack.enter_context(run.claimed())
                done = self._continue(output, sources, labels, run)
                self._begin_page(output, settings)
            sources, labels = shard.of(sources), shard.of(labels)
            progress = None
            if show_progress and len(done) < len(sources):
                progress = stack.enter_context(
                    Progress(len(sources) - len(done)))
            for items in self.preprocess(sources, batch_size, labels, skip,
                                         done):
                for result in self._results(items, settings, output,
                                            return_cams, return_vis,
                                            return_probs):
                    if progress and result['img_id'] not in done:
                        progress.step(result['img_id'])
                    if 'error' in result:
                        broken.append(result['img_id'])
                    yield result
            if output is None:
                return
            skipped = output.note_skipped(shard, broken)
            missing = run.missing(skipped)
            if missing:
                print_log(
                    f'Shard {shard} is done; {len(missing)} images of the '
                    'others are not yet.',
                    logger='current')
            else:
                if shard.count > 1:  # The page has but this one's images.
                    self._begin_page(output, settings)
                    for source in everything:
                        if source.img_id not in skipped:
                            output.show_done(source, self.window)
                output.write_manifests(
                    skipped=skipped, **self._facts(settings))

    def _run_folder(self, output: Output, sources: list[Source],
                    labels: list[np.ndarray | None],
                    settings: dict[str, Any], overwrite: bool,
                    shard: Shard) -> RunFolder:
        """The folder of a call, and what decides its files."""
        return RunFolder(
            output.folder, {s.img_id: output.paths(s.img_id)
                            for s in sources},
            dict(
                model=self.cfg.model,
                pipeline=self.steps,
                classes=self.classes,
                checkpoint_sha256=self._digest(),
                test_cfg=settings,
                **self._given_labels(sources, labels)), shard, overwrite)

    def _continue(self, output: Output, sources: list[Source],
                  labels: list[np.ndarray | None],
                  run: RunFolder) -> set:
        """Ids of the images that an earlier call has done."""
        shard = run.shard
        sources, labels = shard.of(sources), shard.of(labels)
        output.forget_skipped(shard)
        done = {
            source.img_id
            for source, label in zip(sources, labels)
            if output.is_done(source.img_id, label)
        }
        if len(done) < len(sources):
            run.start()
        if done:
            print_log(
                f'{len(done)} of {len(sources)} images are done already in '
                f'{output.folder}.',
                logger='current')
        return done

    def _given_labels(self, sources: list[Source],
                      labels: list[np.ndarray | None]) -> dict[str, str]:
        """What tells that other tags were given, where no CAM file does."""
        if self.makes_cams or labels[0] is None:
            return {}
        text = json.dumps({
            s.img_id: label.tolist() for s, label in zip(sources, labels)
        }, sort_keys=True)
        return dict(tags_sha256=hashlib.sha256(text.encode()).hexdigest())

    def _begin_page(self, output: Output, settings: dict[str, Any]) -> None:
        """Begin the page on which a person judges what is written."""
        title = Path(getattr(self.cfg, 'filename', None) or 'infer').stem
        threshold, choice = None, ''
        if self.makes_cams and not isinstance(self.model, EndToEndSegmentor):
            threshold = settings['threshold']
            choice = choice_settings(self.cfg)
        output.begin_page(f'CAMs: {title}' if self.makes_cams else
                          f'Masks: {title}', threshold, choice)

    def _digest(self) -> str | None:
        if not hasattr(self, '_sha256'):
            self._sha256 = file_digest(self.checkpoint or '')
        return self._sha256

    def _facts(self, settings: dict[str, Any]) -> dict[str, Any]:
        """How files came about, for manifests."""
        return dict(
            config=getattr(self.cfg, 'filename', None),
            checkpoint=self.checkpoint,
            checkpoint_sha256=self._digest(),
            split=None,
            data_root=None,
            test_cfg=settings)

    def preprocess(self,
                   inputs: Sequence[Source],
                   batch_size: int = 1,
                   labels: Sequence[np.ndarray | None] | None = None,
                   skip: bool = False,
                   done: set = frozenset()) -> Iterator[list[_Item]]:
        """Load images and put those of one size together.

        Args:
            inputs (Sequence[Source]): The images.
            batch_size (int): At most so many at once. Defaults to 1.
            labels (Sequence, optional): Class indices (k,) of each image,
                None where they are to be predicted. Defaults to None.
            skip (bool): Whether images that cannot be read are passed on
                with their error instead of raising it. Defaults to False.
            done (set[str]): Ids of images that need not be loaded.

        Yields:
            list[_Item]: Items with ``data`` of one size, or a single one
            without.
        """
        batch: list[_Item] = []
        for source, label in zip(inputs, labels or [None] * len(inputs)):
            item = _Item(source)
            if source.img_id not in done:
                try:
                    self._load(item, label)
                except (OSError, ValueError) as error:
                    if not skip:
                        kind = FileNotFoundError if isinstance(
                            error, FileNotFoundError) else ValueError
                        raise kind(
                            f'{error} Or leave it out: --skip-broken '
                            "(on_error='skip').") from error
                    item.error = str(error)
                    print_log(
                        f'Skipped: {error}',
                        logger='current',
                        level=logging.WARNING)
            # In their order, and in one batch only what the model can stack.
            if batch and (item.data is None or len(batch) == batch_size
                          or item.data['inputs'].shape !=
                          batch[0].data['inputs'].shape):
                yield batch
                batch = []
            if item.data is None:
                yield [item]
            else:
                batch.append(item)
        if batch:
            yield batch

    def _load(self, item: _Item, label: np.ndarray | None) -> None:
        """Run the test pipeline on an image."""
        source = item.source
        info: dict[str, Any] = dict(
            img_id=source.img_id,
            # What has no file still has a name in messages.
            img_path=source.path or source.img_id,
            num_classes=len(self.classes) - 1,
            label_map=None,
            reduce_zero_label=False,
            seg_fields=[])
        if self.window is not None:
            info['window'] = self.window
        if label is not None:
            info['gt_label'] = label
        if source.read is not None:
            image = source.read()
            if getattr(self.load_image, 'to_float32', False):
                image = image.astype(np.float32)
            info.update(
                img=image,
                img_shape=image.shape[:2],
                ori_shape=image.shape[:2])
        else:
            info = self._load_file(info)
        item.image = info['img'].astype(np.uint8)
        item.data = self.pipeline(info)

    def _load_file(self, info: dict[str, Any]) -> dict[str, Any]:
        """The first step; every error of a reader names the file."""
        path = info['img_path']
        try:
            info = self.load_image(info)
        except Exception as error:
            if isinstance(error, (OSError, ValueError)) and \
                    str(path) in str(error):
                raise
            raise ValueError(f'Image {path} cannot be read '
                             f'({type(error).__name__}: {error}).') from error
        if info is None or info.get('img') is None:
            raise ValueError(f'Image {path} cannot be read.')
        return info

    def _results(self, items: list[_Item], settings: dict[str, Any],
                 output: Output | None, return_cams: bool,
                 return_vis: bool,
                 return_probs: bool) -> Iterator[dict[str, Any]]:
        """Results of a group of :meth:`preprocess`."""
        first = items[0]
        if first.error is not None:
            yield dict(
                img_id=first.source.img_id,
                img_path=first.source.path,
                error=first.error,
                picture=None)
            return
        if first.data is None:
            output.show_done(first.source, self.window)
            yield output.read(first.source, return_cams, return_vis,
                              return_probs)
            return
        batch = self.collate_fn([item.data for item in items])
        samples = self.forward(batch, settings)
        for item, sample in zip(items, samples):
            result, class_ids = self._describe(item.source, sample)
            if return_probs:
                result['probs'] = self._probabilities(sample)
            picture = None
            if output is not None or return_vis:
                picture, = self.visualize([item.image], [result])
            if output is not None:
                output.write(result, class_ids, picture)
                output.show(result, class_ids, item.image)
            if not return_cams:
                result['cams'] = None
            yield dict(result, picture=picture if return_vis else None)

    @torch.no_grad()
    def forward(self, inputs: dict,
                settings: dict[str, Any]) -> list[SegDataSample]:
        """Run the model.

        Args:
            inputs (dict): A batch.
            settings (dict): Its ``test_cfg`` this time.

        Returns:
            list[SegDataSample]: Predictions.

        Raises:
            ValueError: If images are too small for the network.
        """
        if not self.reads_tags:
            names = ', '.join(s.img_id for s in inputs['data_samples'])
            with explain_small(names, inputs['inputs']), explain_memory(
                    f'image {names}',
                    "Let mmseg look at parts: model.test_cfg=dict(mode="
                    "'slide', crop_size=(1024, 1024), stride=(768, 768)), "
                    'smaller ones, or less images at once (--batch-size).'):
                return self.model.test_step(inputs)
        before = self.model.test_cfg
        self.model.test_cfg = settings
        try:
            return self.model.test_step(inputs)
        finally:
            self.model.test_cfg = before

    def _describe(self, source: Source, sample: SegDataSample
                  ) -> tuple[dict[str, Any], np.ndarray | None]:
        """A prediction in numpy, and the classes of its maps."""
        mask = sample.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8)
        cams = scores = class_ids = None
        names = names_in_mask(mask, self.classes)
        if self.makes_cams:
            cams = sample.cams.detach().float().cpu().numpy()
            class_ids = sample.class_ids.cpu().numpy()
            names = [self.classes[c + 1] for c in class_ids]
            scores = dict(
                zip(self.classes[1:], sample.tag_scores.cpu().tolist()))
        result = dict(
            img_id=source.img_id,
            img_path=source.path,
            tags=names,
            scores=scores,
            cams=cams,
            mask=mask,
            probs=None)
        return result, class_ids

    def _probabilities(self, sample: SegDataSample) -> np.ndarray:
        """Float32 (K + 1, h, w)."""
        scores = sample.seg_logits.data.detach().float()
        if len(scores) == 1:  # mmseg has made it a probability already.
            scores = torch.cat((1 - scores, scores))
        elif not isinstance(self.model, RefinedSegmentor):
            scores = scores.softmax(dim=0)
        return scores.cpu().numpy()

    def visualize(self, inputs: Sequence[np.ndarray],
                  preds: Sequence[dict[str, Any]]) -> list[np.ndarray]:
        """Draw predictions.

        Args:
            inputs (Sequence[ndarray]): Images, BGR uint8 (h, w, 3).
            preds (Sequence[dict]): Predictions, see :meth:`stream`.

        Returns:
            list[ndarray]: A picture each, see
            :func:`~mmwsss.visualization.draw_strip`.
        """
        pictures = []
        for image, pred in zip(inputs, preds):
            captions = [
                name if not pred['scores'] else
                f'{name} {pred["scores"][name]:.2f}' for name in pred['tags']
            ]
            pictures.append(
                draw_strip(image, pred['mask'], self.palette, captions,
                           pred['cams']))
        return pictures

    def postprocess(self,
                    preds: list[dict[str, Any]],
                    visualization: list[np.ndarray],
                    return_datasamples: bool = False) -> dict[str, list]:
        """Put results together.

        Args:
            preds (list[dict]): Predictions.
            visualization (list[ndarray]): Pictures.
            return_datasamples (bool): Unused; results are dictionaries.

        Returns:
            dict: ``predictions`` and ``visualization``.
        """
        return dict(predictions=preds, visualization=visualization)


# --------------------------------------------------------------- from configs
@contextlib.contextmanager
def explain_small(names: str, images: Sequence[torch.Tensor]
                  ) -> Iterator[None]:
    """Say which image a network is too coarse for.

    Args:
        names (str): Of the images.
        images (Sequence[Tensor]): Each (3, h, w), of one size.

    Raises:
        ValueError: In place of a convolution's error.
    """
    try:
        yield
    except RuntimeError as error:
        if 'greater than actual input size' not in str(error):
            raise
        height, width = images[0].shape[-2:]
        raise ValueError(
            f'Image {names} ({width} x {height} pixels) is too small for the '
            'network: a layer of it looks at more than the whole image '
            "(SegFormer's need 29 pixels). Enlarge it, or leave it out."
        ) from error


def _check_device(device: str) -> None:
    """Raise ValueError for a device that is not there."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f'Device {device} cannot be used: {reason} There are cpu and '
            f'{torch.cuda.device_count()} CUDA device(s).') from error


def _refuse_later_stages(model: torch.nn.Module) -> None:
    """Raise ValueError for models that read files of an earlier stage."""
    kind = type(model).__name__
    if isinstance(model, (AMN, CAMRefiner)):
        what = 'seed masks' if isinstance(model, AMN) else 'CAMs'
        raise ValueError(
            f'{kind} needs {what} of an earlier stage for every image, so '
            'images alone are not enough. Run it with tools/test.py on a '
            f'dataset whose test pipeline loads {what}.')
    if not isinstance(model, BaseSegmentor):
        raise ValueError(f'{kind} is no segmentation model; CAMInferencer '
                         'runs mmwsss.CAMSegmentor, '
                         "mmwsss.EndToEndSegmentor and mmseg's models.")


def _test_dataset(cfg: Config) -> dict:
    """The inner data set of the test data of a config."""
    loader = cfg.get('test_dataloader')
    if loader is None:
        raise ValueError(
            f'{getattr(cfg, "filename", None) or "The config"} has no '
            'test_dataloader, whose pipeline and class names are needed.')
    return loader.dataset


def _test_pipeline(cfg: Config) -> list[dict]:
    """Steps from an image to the model, those for masks left out."""
    steps = without_steps(first_pipeline(_test_dataset(cfg)), LEFT_OUT)
    names = [step_name(step) for step in steps]
    loaders = [name for name in names if name.startswith('Load')]
    if len(loaders) != 1 or names[0] != loaders[0]:
        raise ValueError(
            'The test pipeline must load an image in its first step, e.g. '
            "dict(type='mmwsss.LoadImage'), and nothing else; it loads with "
            f'{loaders}.')
    return steps


def _labels_of(cfg: Config, checkpoint: dict | None
               ) -> tuple[tuple[str, ...], list[Sequence[int]]]:
    """Names and colours: of the test data, else of the checkpoint's.

    The former as far as the config or a file of tags that is there tells.
    """
    chain, given = dataset_chains(_test_dataset(cfg))[0], {}
    for dataset in reversed(chain):
        given.update(dataset.get('metainfo') or {})
    dataset = chain[-1]
    kind = dataset['type']
    if isinstance(kind, str):
        with DATASETS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    meta = dict(getattr(kind, 'METAINFO', None) or {}, **given)
    if not meta.get('classes'):
        classes = file_classes(dataset)
        meta.update(dict(classes=classes) if classes else {})
    if not meta.get('classes'):
        meta = ((checkpoint or {}).get('meta') or {}).get('dataset_meta') or {}
    classes = meta.get('classes')
    if not classes:
        raise ValueError('Neither the test data of the config nor the '
                         'checkpoint says what the classes are called; set '
                         "test_dataloader.dataset.metainfo=dict(classes=("
                         "'background', ...)).")
    palette = meta.get('palette') or voc_palette()[:len(classes)].tolist()
    return tuple(classes), [tuple(color) for color in palette]


def _window_of(cfg: Config) -> tuple[float, float] | None:
    """How the test data reads images of more than 8 bits."""
    return inner_datasets(_test_dataset(cfg))[0].get('window')


# --------------------------------------------------------------------- folder
class InferResult(NamedTuple):
    """What :func:`infer` did.

    Attributes:
        out (Path): The folder of the results.
        num_images (int): All images, frames of videos included.
        num_broken (int): Those that could not be read.
    """
    out: Path
    num_images: int
    num_broken: int


def infer(config: ConfigLike,
          checkpoint: PathLike | None,
          images: ImageLike | Sequence[ImageLike],
          out: PathLike,
          *,
          tags: Any = None,
          threshold: float | None = None,
          tag_threshold: float | None = None,
          probs: bool = False,
          batch_size: int = 4,
          frame_step: int = 1,
          shard: str | None = None,
          device: str | None = None,
          overwrite: bool = False,
          skip_broken: bool = False,
          cfg_options: Mapping[str, Any] | None = None,
          trust_checkpoint: bool = False,
          on_result: Callable[[dict[str, Any]], None] = lambda result: None
          ) -> InferResult:
    """Write CAMs, masks and pictures of images; skips what is done.

    Args:
        config (str | Path | Config): The config.
        checkpoint (str | Path, optional): See :class:`CAMInferencer`.
        images (str | Path | Sequence): Images, folders or videos.
        out (str | Path): Folder for the results.
        tags (Any): Classes in the images, see :meth:`CAMInferencer.stream`;
            or the Path of a file of them. Defaults to what the model
            predicts.
        threshold (float, optional): Background score of the masks.
        tag_threshold (float, optional): Probability from which a class is
            predicted to be present.
        probs (bool): Whether to write probabilities, too. Defaults to False.
        batch_size (int): Images at once. Defaults to 4.
        frame_step (int): Takes every so-many-th frame of videos.
            Defaults to 1.
        shard (str, optional): ``'i/n'``, see
            :func:`~mmwsss.utils.shards.parse_shard`.
        device (str, optional): E.g. 'cpu' or 'cuda:1'. Defaults to a GPU if
            there is one.
        overwrite (bool): Whether to replace results, also those of other
            settings. Defaults to False.
        skip_broken (bool): Whether to go on where an image cannot be read.
            Defaults to False.
        cfg_options (Mapping[str, Any], optional): See
            :func:`~mmwsss.apis.load_config`.
        trust_checkpoint (bool): Whether checkpoints may run code when they
            are read. Defaults to False.
        on_result (Callable): Told each result as soon as it is written.

    Returns:
        InferResult: Counts.

    Raises:
        FileNotFoundError: If the config, checkpoint or an image is missing.
        ValueError: If something does not fit; see :meth:`CAMInferencer`.
    """
    inferencer = CAMInferencer(
        load_config(config, cfg_options),
        checkpoint,
        device=device,
        trusted=trust_checkpoint)
    if isinstance(tags, Path):
        names = inferencer.classes[1:]
        tags = {
            img_id: [names[i] for i in indices]
            for img_id, indices in read_image_labels(tags, names).items()
        }
    num_images, num_broken = 0, 0
    with sigterm_raises():
        for result in inferencer.stream(
                images,
                tags,
                batch_size=batch_size,
                threshold=threshold,
                tag_threshold=tag_threshold,
                out_dir=out,
                overwrite=overwrite,
                on_error='skip' if skip_broken else 'raise',
                shard=parse_shard(shard),
                frame_step=frame_step,
                return_cams=False,
                return_vis=False,
                return_probs=probs):
            num_images += 1
            num_broken += 'error' in result
            on_result(result)
    return InferResult(Path(out), num_images, num_broken)


def describe_tags(result: dict[str, Any]) -> str:
    """An image and its classes in one line.

    Args:
        result (dict): Of :meth:`CAMInferencer.stream`.

    Returns:
        str: With probabilities if they are known.
    """
    scores = result['scores'] or {}
    tags = [
        f'{tag} {scores[tag]:.2f}' if tag in scores else tag
        for tag in result['tags']
    ]
    return f'{result["img_id"]}: {", ".join(tags) or "nothing"}'
