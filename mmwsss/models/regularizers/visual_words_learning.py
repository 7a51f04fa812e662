"""VWL: which visual words occur in an image."""
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather_object, all_reduce, get_rank
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import ViewPair

from ..losses.multilabel_loss import multilabel_loss
from ..utils.host_value import HostValue
from .regularizer import Regularizer

#: Below this a vector counts as zero when it is brought to unit length.
EPS = 1e-12


def word_scores(x: Tensor, codebook: Tensor) -> Tensor:
    """Product of every feature vector with every word of unit length.

    The cosine times the length of the feature vector, which is all it takes
    to tell the most similar word.

    Args:
        x (Tensor): Features (N, C, h, w).
        codebook (Tensor): Words (K, C), of any length.

    Returns:
        Tensor: (N, K, h, w).
    """
    words = F.normalize(codebook, eps=EPS).expand(len(x), -1, -1)
    # Not matmul, which would copy x, nor a convolution, which cuDNN rounds.
    return torch.bmm(words, x.flatten(2)).unflatten(2, x.shape[2:])


def assign_words(x: Tensor,
                 codebook: Tensor,
                 temperature: float = 1.) -> tuple[Tensor, Tensor]:
    """Soft and hard assignment of features to visual words.

    Args:
        x (Tensor): Features (N, C, h, w).
        codebook (Tensor): Words (K, C).
        temperature (float): Factor on the cosines, as the published code has
            it: more is sharper. Defaults to 1.

    Returns:
        tuple[Tensor, Tensor]: The softmax over words (N, K, h, w) and the
        index int64 (N, h, w) of the most similar one, the first of equals.
        A zero feature vector is as near to all words: flat, and word 0.
    """
    scores = word_scores(x, codebook)
    # Not vector_norm, which is several times slower over this dimension.
    length = x.square().sum(dim=1, keepdim=True).sqrt().clamp(min=EPS)
    # There are fewer words than channels to divide.
    soft = (temperature * scores / length).softmax(dim=1)
    return soft, scores.argmax(dim=1)


def word_labels(ids: Tensor, num_words: int) -> Tensor:
    """Which words occur in each image.

    Args:
        ids (Tensor): int64 (N, h, w).
        num_words (int): K.

    Returns:
        Tensor: Multi-hot float32 (N, K).
    """
    labels = torch.zeros(len(ids), num_words, device=ids.device)
    return labels.scatter_(1, ids.flatten(1), 1.)


def decorrelation(codebook: Tensor) -> Tensor:
    """Half the norm of the words' covariances less that of their variances.

    Published with norms where DeCov, the loss it follows, has squared ones,
    and for words of any length.

    Args:
        codebook (Tensor): Words (K, C).

    Returns:
        Tensor: A scalar, 0 if no two words are correlated.
    """
    centred = codebook - codebook.mean(dim=1, keepdim=True)
    gram = centred @ centred.t()
    return (torch.linalg.matrix_norm(gram) -
            torch.linalg.vector_norm(gram.diagonal())) / 2


def word_entropy(logits: Tensor) -> Tensor:
    """Entropy of the predicted distribution over words.

    Args:
        logits (Tensor): (N, K).

    Returns:
        Tensor: A scalar in nats, the mean over images.
    """
    log_p = logits.log_softmax(dim=1)
    return -(log_p.exp() * log_p).sum(dim=1).mean()


def word_sums(x: Tensor, ids: Tensor, num_words: int) -> Tensor:
    """Sum of the features of each word, in this process.

    Args:
        x (Tensor): Features (N, C, h, w).
        ids (Tensor): int64 (N, h, w).
        num_words (int): K.

    Returns:
        Tensor: (K, C).
    """
    sums = x.new_zeros(num_words, x.shape[1])
    # One image at a time: turning the whole batch is slow.
    for image, words in zip(x.flatten(2), ids.flatten(1)):
        sums.index_add_(0, words, image.t().contiguous())
    return sums


def update_bank(bank: Tensor, sums: Tensor, counts: Tensor,
                momentum: float) -> None:
    """Move each word towards the mean of its features, in place.

    A word without features moves towards zero: it keeps its direction, and
    with that its cosines, but turns faster once it gets some. A step with a
    feature that is no finite number, which loss scaling skips for its loss,
    leaves the bank as it is.

    Args:
        bank (Tensor): Words (K, C), changed.
        sums (Tensor): Sum of the features of each word (K, C), of the global
            batch.
        counts (Tensor): Their number (K,).
        momentum (float): Share rho of the new mean.
    """
    means = sums / (counts[:, None].to(sums.dtype) + 1e-4)
    moved = (bank * (1 - momentum)).add_(means, alpha=momentum)
    bank.copy_(torch.where(sums.isfinite().all(), moved, bank))


def draw_features(x: Tensor, img_ids: Sequence[str], num: int,
                  seed: int) -> Tensor:
    """Features of random positions of the global batch, with replacement.

    The positions are counted through the images of all processes in the
    order of their ids, and drawn by a generator of their own that starts
    from a seed all processes agree on (that of rank 0). Hence every process
    draws the same, however the images are spread over them.

    Args:
        x (Tensor): Features (N, C, h, w) of this process.
        img_ids (Sequence[str]): Ids of its images.
        num (int): How many are drawn.
        seed (int): Of this process.

    Returns:
        Tensor: (num, C), the same in all processes.
    """
    parts = all_gather_object((seed, list(img_ids), x[0, 0].numel()))
    seed = parts[0][0]
    # (id, rank, index in the rank, positions)
    images = sorted((img_id, rank, i, size)
                    for rank, (_, ids, size) in enumerate(parts)
                    for i, img_id in enumerate(ids))
    ends = torch.tensor([image[3] for image in images]).cumsum(0)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(int(ends[-1]), (num, ), generator=generator)
    which = torch.searchsorted(ends, drawn, right=True)
    picked = x.new_zeros(num, x.shape[1])
    for row, position, k in zip(picked, drawn.tolist(), which.tolist()):
        _, rank, i, size = images[k]
        if rank == get_rank():
            row.copy_(x[i].flatten(1)[:, position - int(ends[k]) + size])
    # Each row is zero in all processes but one.
    all_reduce(picked)
    return picked


@MODELS.register_module()
class VisualWordsLearning(Regularizer):
    """Visual words learning (VWL, arXiv 2202.04812).

    Every position of a feature map belongs to the visual word it is most
    similar to, and the network must tell which words occur in the image.
    That asks it for parts that the tags alone do not. The features are
    detached where they are assigned.

    - ``loss_word``: which words occur, predicted from the averaged features.
      The words are constant here; trains the backbone.
    - ``loss_histogram``: the tags, predicted from the image's word
      histogram, the sum of its soft assignments. Trains the words.
    - ``loss_decorrelation``: keeps words apart (:func:`decorrelation`).
    - ``loss_word_entropy``: :func:`word_entropy` of the prediction; only in
      the published code, with weight 0.

    The words are either parameters (VWL-L, ``codebook='learned'``), trained
    by the second and third term, or a memory bank (VWL-M, ``'memory'``),
    without either: after the losses of a training step are formed each word
    moves towards the mean of its features in the global batch
    (:func:`update_bank`). After the first such step the bank is replaced by
    random features of that batch (:func:`draw_features`). Bank and the note
    that this is done are buffers, so a resumed run continues exactly.

    A term of weight 0 is not computed and owns no parameters. Words and
    losses are computed in float32 under mixed precision.

    Args:
        in_channels (int): Channels C of the feature map read.
        num_classes (int): Classes without background.
        num_words (int): Visual words K. Defaults to 256.
        in_index (int): Which of the backbone's feature maps to read.
            Defaults to -1.
        codebook (str): ``'learned'`` or ``'memory'``. Defaults to 'learned'.
        temperature (float): Factor on the cosines, see
            :func:`assign_words`; acts on the histogram only. Defaults to 1.
        momentum (float): Share of the new mean in the memory bank.
            Defaults to 1e-3.
        word_weight (float): Weight of ``loss_word``. Defaults to 1.
        histogram_weight (float): Weight of ``loss_histogram``; not used with
            a memory bank. Defaults to 1.
        decorrelation_weight (float): Weight of ``loss_decorrelation``; not
            used with a memory bank. Defaults to 1.
        entropy_weight (float): Weight of ``loss_word_entropy``.
            Defaults to 0.
        init_cfg (dict, optional): Initialisation. Defaults to None: words
            as by a Kaiming-normal layer with a = sqrt(5), heads PyTorch's
            own.

    Raises:
        ValueError: If ``codebook`` is no known kind, a weight is negative,
            nothing would be trained, or ``momentum`` is not in [0, 1].
    """

    def __init__(self,
                 in_channels: int,
                 num_classes: int,
                 num_words: int = 256,
                 in_index: int = -1,
                 codebook: str = 'learned',
                 temperature: float = 1.,
                 momentum: float = 1e-3,
                 word_weight: float = 1.,
                 histogram_weight: float = 1.,
                 decorrelation_weight: float = 1.,
                 entropy_weight: float = 0.,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if codebook not in ('learned', 'memory'):
            raise ValueError("VisualWordsLearning needs codebook='learned' "
                             f"or 'memory', got {codebook!r}.")
        weights = (word_weight, histogram_weight, decorrelation_weight,
                   entropy_weight)
        if min(weights) < 0:
            raise ValueError('VisualWordsLearning needs weights >= 0, got '
                             f'{weights} for word, histogram, decorrelation '
                             'and entropy.')
        if not 0 <= momentum <= 1:
            raise ValueError('VisualWordsLearning needs momentum in [0, 1], '
                             f'got {momentum}.')
        self.learned = codebook == 'learned'
        if not self.learned:
            histogram_weight = decorrelation_weight = 0
            if word_weight == entropy_weight == 0:
                raise ValueError(
                    "VisualWordsLearning(codebook='memory') has only "
                    'loss_word and loss_word_entropy; give one of them a '
                    'weight above 0.')
        elif histogram_weight == decorrelation_weight == 0:
            raise ValueError(
                "VisualWordsLearning(codebook='learned') learns its words "
                'from loss_histogram and loss_decorrelation; give one of '
                'them a weight above 0.')
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.num_words = num_words
        self.in_index = in_index
        self.temperature = temperature
        self.momentum = momentum
        self.word_weight = word_weight
        self.histogram_weight = histogram_weight
        self.decorrelation_weight = decorrelation_weight
        self.entropy_weight = entropy_weight
        words = torch.empty(num_words, in_channels)
        nn.init.kaiming_normal_(words, a=math.sqrt(5))
        if self.learned:
            self.codebook = nn.Parameter(words)
        else:
            self.register_buffer('codebook', words)
            self.register_buffer('initialised', torch.tensor(False))
            self._started = HostValue()
            # The run's seed, which a Runner sets before it builds a model.
            # Later the data pipeline may have set others.
            self.seed = torch.initial_seed()
        # Parameters without a loss would stop distributed training.
        if histogram_weight > 0:
            self.histogram_head = nn.Linear(
                num_words, num_classes, bias=False)
        if word_weight > 0 or entropy_weight > 0:
            self.word_head = nn.Linear(in_channels, num_words, bias=False)

    def forward(self, pair: ViewPair) -> dict[str, Tensor]:
        """The terms of positive weight, and how many words are in use.

        In training mode this also updates the memory bank.

        Args:
            pair (ViewPair): Of the first view, ``feats`` and tags are read;
                of the samples, ``img_id``, in the very first training step of
                a memory bank only.

        Returns:
            dict[str, Tensor]: Of ``loss_word``, ``loss_histogram``,
            ``loss_decorrelation`` and ``loss_word_entropy``; and, for the
            log, ``words_alive``, the number of words that occur in the
            global batch, and ``words_entropy``, the entropy of their usage
            in nats.

        Raises:
            ValueError: If the feature map has another number of channels or
                the tags another number of classes than configured.
        """
        labels = pair.first.labels
        feats = pair.first.feats[self.in_index]
        if feats.shape[1] != self.in_channels:
            raise ValueError(
                f'VisualWordsLearning has in_channels={self.in_channels}, '
                f'but feature map {self.in_index} of the backbone has '
                f'{feats.shape[1]} channels. Set in_channels to it.')
        if labels.shape[1] != self.num_classes:
            raise ValueError(
                f'VisualWordsLearning has num_classes={self.num_classes}, '
                f'the tags are of {labels.shape[1]} classes. Set '
                'num_classes to it.')
        # Half precision could not tell close neighbours from ties.
        with torch.autocast(feats.device.type, enabled=False):
            return self.terms(feats, labels.float(), pair.data_samples)

    def terms(self, feats: Tensor, labels: Tensor,
              data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """See :meth:`forward`.

        Args:
            feats (Tensor): (N, C, h, w).
            labels (Tensor): Multi-hot tags (N, num_classes), float32.
            data_samples (Sequence[SegDataSample]): See :meth:`forward`.

        Returns:
            dict[str, Tensor]: Scalars.
        """
        x = feats.detach().float()
        losses = {}
        if self.histogram_weight > 0:
            soft, ids = assign_words(x, self.codebook, self.temperature)
            losses['loss_histogram'] = self.histogram_weight * \
                multilabel_loss(
                    self.histogram_head(soft.sum(dim=(2, 3))), labels)
        else:
            with torch.no_grad():
                ids = word_scores(x, self.codebook).argmax(dim=1)
        if self.decorrelation_weight > 0:
            losses['loss_decorrelation'] = \
                self.decorrelation_weight * decorrelation(self.codebook)
        if self.word_weight > 0 or self.entropy_weight > 0:
            pooled = feats.mean(dim=(2, 3), dtype=x.dtype)
            logits = self.word_head(pooled)
            if self.word_weight > 0:
                losses['loss_word'] = self.word_weight * \
                    F.multilabel_soft_margin_loss(
                        logits, word_labels(ids, self.num_words))
            if self.entropy_weight > 0:
                losses['loss_word_entropy'] = \
                    self.entropy_weight * word_entropy(logits)
        return {**losses, **self.usage(x, ids, data_samples)}

    # The first step differs from all others.
    @torch.compiler.disable
    @torch.no_grad()
    def usage(self, x: Tensor, ids: Tensor,
              data_samples: Sequence[SegDataSample]) -> dict[str, Tensor]:
        """Usage of the words; moves the memory bank in training mode.

        Args:
            x (Tensor): Features float32 (N, C, h, w).
            ids (Tensor): int64 (N, h, w).
            data_samples (Sequence[SegDataSample]): See :meth:`forward`.

        Returns:
            dict[str, Tensor]: ``words_alive`` and ``words_entropy``.
        """
        counts = ids.new_zeros(self.num_words)
        # Not bincount, which has a GPU tell the largest number first.
        counts.scatter_add_(0, ids.flatten(), ids.new_ones(1).expand(
            ids.numel()))
        all_reduce(counts)
        if self.training and not self.learned:
            sums = word_sums(x, ids, self.num_words)
            # The sum over all processes, before dividing: a mean of the
            # processes' means would weight features by their company.
            all_reduce(sums)
            update_bank(self.codebook, sums, counts, self.momentum)
            if not self._started.read(self.initialised):
                img_ids = [s.img_id for s in data_samples]
                drawn = draw_features(x, img_ids, self.num_words, self.seed)
                # Else the next step tries.
                if drawn.isfinite().all():
                    self.codebook.copy_(drawn)
                    self._started.write(self.initialised, True)
        share = counts / counts.sum()
        return dict(
            words_alive=(counts > 0).sum().float(),
            words_entropy=torch.special.entr(share).sum())
