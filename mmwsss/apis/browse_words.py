"""Pictures of visual words: the work of tools/analysis_tools/browse_words.py.

A word is a direction in feature space, which nobody can look at. What can be
looked at is where it occurs: the places of the training images that are most
similar to it, and the tags that these images carry.
"""
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import (
    Any,
)

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from rich.progress import track
from torch import Tensor

from mmwsss.models.regularizers.visual_words_learning import (
    EPS,
    VisualWordsLearning,
    word_scores,
)
from mmwsss.registry import MODELS
from mmwsss.utils.checkpoint import (
    load_checkpoint_file,
    state_dict_of,
    use_safe_loading,
)
from mmwsss.utils.read_images import read_image
from mmwsss.utils.scalars import read_scalars
from mmwsss.visualization import Gallery, plot_word_usage

from .config_edits import use_train_images
from .run import ConfigLike, PathLike, check_fit, last_of_run, load_config

#: A patch shows this many cells of the feature map in either direction.
PATCH_CELLS = 3
#: Side of a patch on the page, in pixels.
PATCH_SIZE = 120
#: Tags named per word.
TOP_TAGS = 3


@dataclass
class Patch:
    """A place in an image.

    Attributes:
        similarity (float): Cosine of its feature vector and the word.
        img_id (str): Name of the image.
        img_path (str): Its file.
        box (tuple[float, float, float, float]): Top, bottom, left and right
            as shares of the image's height and width, inside [0, 1].
    """
    similarity: float
    img_id: str
    img_path: str
    box: tuple[float, float, float, float]


def patch_box(row: int, column: int, size: Sequence[int],
              covered: Sequence[float]) -> tuple[float, float, float, float]:
    """The part of an image around a cell of its feature map.

    Args:
        row (int): Of the cell.
        column (int): Of the cell.
        size (Sequence[int]): Height and width of the feature map.
        covered (Sequence[float]): Share of the network's input in height and
            width that shows the image; the rest is padding at the bottom and
            right.

    Returns:
        tuple[float, float, float, float]: See :class:`Patch`.
    """
    box: list[float] = []
    for index, cells, share in zip((row, column), size, covered):
        for edge in (-PATCH_CELLS / 2, PATCH_CELLS / 2):
            position = (index + 0.5 + edge) / (cells * share)
            box.append(min(max(position, 0.), 1.))
    return tuple(box)


class WordIndex:
    """Where the words of a codebook occur in a set of images.

    Of each image a word keeps its best place only, since neighbouring places
    look alike, and of all images the best few.

    Args:
        codebook (Tensor): (K, C).
        num_classes (int): Classes of the tags, background not counted.
        num_patches (int): Places to keep per word.

    Attributes:
        places (ndarray): int64 (K,), positions assigned to each word.
        images (ndarray): int64 (K,), images in which it occurs.
        tags (ndarray): int64 (K, num_classes), how many of these images carry
            each tag.
        patches (list[list[Patch]]): K lists, best first.
    """

    def __init__(self, codebook: Tensor, num_classes: int,
                 num_patches: int) -> None:
        self.codebook = codebook.detach().float()
        self.num_patches = num_patches
        self.places = np.zeros(len(codebook), np.int64)
        self.images = np.zeros(len(codebook), np.int64)
        self.tags = np.zeros((len(codebook), num_classes), np.int64)
        self.patches: list[list[Patch]] = [[] for _ in codebook]

    def add(self,
            img_id: str,
            img_path: str,
            labels: Sequence[int],
            features: Tensor,
            covered: Sequence[float] = (1., 1.)) -> None:
        """Look for the words in an image.

        Args:
            img_id (str): Name of the image.
            img_path (str): Its file.
            labels (Sequence[int]): Its tags, classes 0..K-1.
            features (Tensor): (C, h, w).
            covered (Sequence[float]): See :func:`patch_box`; cells whose
                centre lies in the padding do not count.
        """
        size = tuple(features.shape[1:])
        height, width = (
            max(int(np.ceil(n * share - 0.5)), 1)
            for n, share in zip(size, covered))
        # Of unit length, so that scores are cosines.
        features = F.normalize(
            features[None, :, :height, :width].float(), eps=EPS)
        scores = word_scores(features, self.codebook)
        best, ids = scores[0].flatten(1).max(dim=0)
        best, ids = best.cpu().numpy(), ids.cpu().numpy()
        self.places += np.bincount(ids, minlength=len(self.places))
        for word in np.unique(ids):
            self.images[word] += 1
            self.tags[word, list(labels)] += 1
            place = int(np.where(ids == word, best, -np.inf).argmax())
            patch = Patch(
                float(best[place]), img_id, img_path,
                patch_box(*divmod(place, width), size, covered))
            # Stable: of equal ones the first image stays.
            self.patches[word] = sorted(
                [*self.patches[word], patch],
                key=lambda p: -p.similarity)[:self.num_patches]

    def ranking(self) -> list[int]:
        """Words that occur, the most used first."""
        order = np.argsort(-self.places, kind='stable')
        return [int(word) for word in order if self.places[word]]

    def describe(self, word: int, classes: Sequence[str]) -> str:
        """A line about a word.

        Args:
            word (int): Its number.
            classes (Sequence[str]): Names of the tags, no background.

        Returns:
            str: Its usage and its most frequent tags.
        """
        counts = self.tags[word]
        order = np.argsort(-counts, kind='stable')[:TOP_TAGS]
        tags = ', '.join(
            f'{classes[c]} {100 * counts[c] / self.images[word]:.0f}%'
            for c in order if counts[c])
        share = 100 * self.places[word] / self.places.sum()
        return (f'word {word}: {self.places[word]} places ({share:.1f}%) in '
                f'{self.images[word]} images; {tags or "no tags"}')


def cut_patch(image: np.ndarray, patch: Patch) -> np.ndarray:
    """The pixels of a patch, enlarged.

    Args:
        image (ndarray): BGR uint8 (H, W, 3).
        patch (Patch): A place in it.

    Returns:
        ndarray: BGR uint8, its longer side ``PATCH_SIZE`` pixels.
    """
    height, width = image.shape[:2]
    top, bottom, left, right = patch.box
    y = min(int(top * height), height - 1)
    x = min(int(left * width), width - 1)
    cut = image[y:max(round(bottom * height), y + 1),
                x:max(round(right * width), x + 1)]
    scale = PATCH_SIZE / max(cut.shape[:2])
    size = [max(round(s * scale), 1) for s in cut.shape[1::-1]]
    return cv2.resize(cut, size, interpolation=cv2.INTER_CUBIC)


def read_usage(work_dir: Path,
               name: str) -> list[tuple[int, float, float]]:
    """The use of the codebook that a training logged.

    Args:
        work_dir (Path): Its work folder. Of a step that two parts of a
            resumed run logged, the later one counts.
        name (str): What the config calls the regularizer with the words.

    Returns:
        list[tuple[int, float, float]]: Step, ``words_alive`` and
        ``words_entropy``, by step; empty if nothing was logged.
    """
    alive, entropy = f'{name}.words_alive', f'{name}.words_entropy'
    usage: dict[int, tuple[float, float]] = {}
    # Folders are named by their time.
    for scalars in read_scalars(
            sorted(work_dir.glob('*/vis_data/scalars.json'))):
        if alive in scalars and entropy in scalars:
            usage[scalars['step']] = (scalars[alive], scalars[entropy])
    return [(step, *usage[step]) for step in sorted(usage)]


def find_words(model: torch.nn.Module,
               config: str) -> tuple[str, VisualWordsLearning]:
    """The part of a model that has words.

    Args:
        model (nn.Module): A ``CAMSegmentor``.
        config (str): Path of its config, for the message.

    Returns:
        tuple[str, VisualWordsLearning]: The first of its regularizers that
        is one, and its name.

    Raises:
        ValueError: If there is none.
    """
    for name, regularizer in getattr(model, 'regularizers', {}).items():
        if isinstance(regularizer, VisualWordsLearning):
            return name, regularizer
    raise ValueError(f'The model of {config} has no visual words; give a '
                     'config with an mmwsss.VisualWordsLearning among its '
                     'regularizers, e.g. configs/vwl/vwl-l_r18_shapes.py.')


@torch.no_grad()
def index_words(loader: Iterable[dict], model: torch.nn.Module,
                words: VisualWordsLearning, num_patches: int) -> WordIndex:
    """Find the words of a model in images.

    Args:
        loader (Iterable[dict]): Batches of images with tags.
        model (CAMSegmentor): In evaluation mode.
        words (VisualWordsLearning): Part of the model.
        num_patches (int): See :class:`WordIndex`.

    Returns:
        WordIndex: Of all images.
    """
    index = WordIndex(words.codebook, model.num_classes, num_patches)
    for batch in track(loader, 'looking for words'):
        batch = model.data_preprocessor(batch, training=False)
        images, covered = model.scale_and_pad(batch['inputs'], 1.)
        features = model.forward_view(images).feats[words.in_index]
        for sample, maps in zip(batch['data_samples'], features):
            index.add(sample.img_id, sample.img_path,
                      sample.gt_label.label.tolist(), maps, covered)
    return index


def write_page(index: WordIndex,
               out: Path,
               metainfo: dict,
               title: str,
               usage: Sequence[tuple[int, float, float]] = (),
               num_words: int | None = None) -> Path:
    """Write the page of an index.

    Args:
        index (WordIndex): Filled.
        out (Path): Folder of the page.
        metainfo (dict): Of the data set, with ``classes`` and ``palette``.
        title (str): Headline.
        usage (Sequence[tuple]): See :func:`read_usage`.
        num_words (int, optional): Show only the most used ones. None shows
            all that occur.

    Returns:
        Path: ``index.html``.
    """
    classes = metainfo['classes']
    gallery = Gallery(out, title)
    alive = index.ranking()
    for word in alive[:num_words]:
        pictures = [(cut_patch(read_image(p.img_path, p.img_id), p),
                     f'{p.img_id}, {p.similarity:.2f}')
                    for p in index.patches[word]]
        gallery.add_pictures(index.describe(word, classes[1:]), pictures)
    plots, total = {}, len(index.places)
    if usage:
        plots['use of the words over the training'] = plot_word_usage(
            out / 'usage.png', usage, total)
    share = index.places[index.places > 0] / max(index.places.sum(), 1)
    return gallery.write_html(
        {
            'words of the codebook': total,
            'words in use': len(alive),
            'entropy of their use, nats': float(-(share * np.log(share)).sum())
        },
        plots,
        'Below a patch: its image and its cosine similarity to the word. Of '
        'each image the best place is shown, with its neighbours.')


def browse_words(config: ConfigLike,
                 checkpoint: PathLike,
                 *,
                 out: PathLike | None = None,
                 words: int | None = None,
                 patches: int = 12,
                 cfg_options: Mapping[str, Any] | None = None,
                 trust_checkpoint: bool = False) -> Path:
    """Write a page of the image patches that visual words stand for.

    Args:
        config (str | Path | Config): The config.
        checkpoint (str | Path): The checkpoint, or the work folder of a
            training.
        out (str | Path, optional): Folder for the page. Defaults to
            ``words`` beside the checkpoint.
        words (int, optional): Most frequent words to show. Defaults to all.
        patches (int): Patches of each. Defaults to 12.
        cfg_options (Mapping[str, Any], optional): See
            :func:`~mmwsss.apis.load_config`.
        trust_checkpoint (bool): Whether checkpoints may run code when they
            are read. Defaults to False.

    Returns:
        Path: The page.

    Raises:
        FileNotFoundError: If the config or checkpoint is missing.
        ValueError: If the model has no words, the checkpoint does not fit
            or a number is not positive.
    """
    for name, value in (('words', words), ('patches', patches)):
        if value is not None and value < 1:
            raise ValueError(f'--{name} must be at least 1, is {value}.')
    use_safe_loading(trust_checkpoint)
    cfg = load_config(config, cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    path = last_of_run(str(checkpoint))
    content = load_checkpoint_file(path, trusted=trust_checkpoint)
    model = MODELS.build(cfg.model)
    name, codebook = find_words(model, cfg.filename)
    check_fit(model, content, path, cfg.filename, purpose='test')
    model.load_state_dict(state_dict_of(content), strict=False)
    model.to(get_device()).eval()

    # Without augmentation, and every image once.
    use_train_images(cfg)
    loader = Runner.build_dataloader(cfg.test_dataloader)
    index = index_words(loader, model, codebook, patches)
    work_dir = Path(path).parent
    usage = read_usage(work_dir, name)
    if not usage:
        print_log(
            f'No plot of the usage over the training: {work_dir} has no log '
            '(*/vis_data/scalars.json) '
            f'with {name}.words_alive.',
            logger='current')
    page = write_page(index, Path(out or work_dir / 'words'),
                      loader.dataset.metainfo,
                      f'Visual words: {Path(cfg.filename).stem}', usage,
                      words)
    print_log(
        f'{len(index.ranking())} of {len(index.places)} words are in use: '
        f'{page}',
        logger='current')
    return page
