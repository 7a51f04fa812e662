"""What one look at a batch of images gave, handed from room to room."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Optional

from torch import Tensor


@dataclass(frozen=True)
class AttentionRequest:
    """Which attention a backbone must make visible in one forward pass.

    A transformer runs its fused attention kernel, which shows no matrix, in
    every layer that this request leaves out.

    Args:
        matrices (str, optional): ``'mean'`` keeps the head-averaged matrix
            (N, T, T) of every layer, ``'heads'`` the full (N, heads, T, T).
            Both stay in the autograd graph. Defaults to None.
        class_rows_from (int, optional): Keep the class token's attention row
            (N, heads, 1, T) of every layer from this one (0-based) on, and
            build an autograd graph from that layer upwards only. Negative
            values count from the end. A backbone with one class token per
            class gives the rows of all, (N, heads, K, T). Defaults to None.
        row_gradients (bool): Whether these rows are differentiated. When
            False, they are kept without a graph of their own.
            Defaults to True.
        affinity (bool): Keep the sum over all layers of the head-averaged
            patch-to-patch block (N, P, P), without a graph.
            Defaults to False.
        outputs (bool): Keep what the attention of every layer gives, before
            it is added to the tokens (N, T, D), without a graph.
            Defaults to False.
        patch_tokens (bool): Whether anybody reads the patch tokens of the
            last layer. When False, that layer computes its class token only.
            Defaults to True.
    """
    matrices: str | None = None
    class_rows_from: int | None = None
    row_gradients: bool = True
    affinity: bool = False
    outputs: bool = False
    patch_tokens: bool = True

    @property
    def differentiates(self) -> bool:
        """Whether the reader asks for gradients of attention rows."""
        return self.class_rows_from is not None and self.row_gradients

    def __post_init__(self) -> None:
        if self.matrices not in (None, 'mean', 'heads'):
            raise ValueError("AttentionRequest.matrices must be None, 'mean' "
                             f"or 'heads', got {self.matrices!r}.")
        if self.outputs and not self.patch_tokens:
            raise ValueError('An AttentionRequest for the outputs of '
                             'attention needs patch_tokens=True.')

    @classmethod
    def merge(
        cls, requests: Sequence[Optional['AttentionRequest']]
    ) -> Optional['AttentionRequest']:
        """Join what several readers want of one forward pass.

        Args:
            requests (Sequence[AttentionRequest | None]): The wishes. None
                reads no attention, but possibly the patch tokens.

        Returns:
            AttentionRequest | None: One that serves all, None if all are
            None.

        Raises:
            ValueError: If one reader wants matrices per head and another
                head-averaged ones.
        """
        plain = [r for r in requests if r is None]
        requests = [r for r in requests if r is not None]
        if not requests:
            return None
        matrices = {r.matrices for r in requests} - {None}
        if len(matrices) > 1:
            raise ValueError(
                'Two parts of the model want attention in different forms '
                f'({sorted(matrices)}): one per head, the other averaged '
                'over heads. Take one of them out of the config.')
        readers = [r for r in requests if r.class_rows_from is not None]
        return cls(
            matrices=matrices.pop() if matrices else None,
            class_rows_from=min(
                (r.class_rows_from for r in readers), default=None),
            row_gradients=not readers or any(r.row_gradients
                                             for r in readers),
            affinity=any(r.affinity for r in requests),
            outputs=any(r.outputs for r in requests),
            patch_tokens=bool(plain) or any(r.patch_tokens
                                            for r in requests))


#: Where fields come from that a view lacks.
HINT = ("Attention appears when a regularizer's or localizer's "
        'attention_request() asks for it and the backbone is a '
        'mmwsss.AttentionViT or offers forward_view().')
ONE_TOKEN = ('A transformer with a single class token has it: '
             'mmwsss.AttentionViT or mmwsss.HybridViT as model.backbone, '
             'without num_class_tokens.')
HINTS = dict(
    cls_token=ONE_TOKEN,
    cls_tokens=ONE_TOKEN,
    class_tokens='A transformer with one class token per class has them: '
    'mmwsss.AttentionViT or mmwsss.HybridViT as model.backbone. Set '
    'model.backbone.num_class_tokens to model.cls_head.num_classes.',
    auxiliary='Add an auxiliary_head to the model.',
    refined_cams='Add a refiner to the model.',
    pixel_logits="Take cls_head=dict(type='mmwsss.CAMHead', "
    'with_background=True, ...).')


@dataclass
class ViewOutput:
    """One view of a batch: the image, what the model saw, its tags.

    Fields beyond ``image`` and ``labels`` are lazy: the segmentor registers a
    provider per field and the field is computed when it is first read, so
    nothing is computed that no configured regularizer or localizer reads.

    Lazy fields (N images, K classes, T tokens, P = gh*gw patches):

    - ``feats``: tuple of feature maps (N, C, h, w).
    - ``valid``: bool (N, 1, h, w), where the maps of images of different
      sizes show an image; absent where they do everywhere.
    - ``cls_token``: (N, D), transformers only.
    - ``cls_tokens``: tuple of (N, D), the class token of every block whose
      patch tokens are among the ``feats``, in their order.
    - ``class_tokens``: tuple over all layers of (N, K, D), one token per
      class; only of backbones that have these, and then in the place of
      ``cls_token`` and ``cls_tokens``.
    - ``attentions``: list over layers of (N, T, T) head-averaged or
      (N, heads, T, T), see :class:`AttentionRequest`.
    - ``class_rows``: list of (N, heads, 1, T) from ``first_row_layer`` on,
      (N, heads, K, T) with one token per class.
    - ``affinity``: (N, P, P).
    - ``attention_outputs``: list over layers of (N, T, D), see
      :class:`AttentionRequest`.
    - ``logits``: (N, K).
    - ``cams``: raw CAMs (N, K, h, w).
    - ``pixel_logits``: class scores of every position before the softmax
      (N, K + 1, h, w), the background first; only of heads that score it.
      ``cams`` are then its other planes.
    - ``refined_cams``: (N, K + 1, h, w) after the model's refiner, the
      background's map first; absent without a refiner.
    - ``auxiliary``: the same view whose ``logits`` and ``cams`` are those of
      the model's auxiliary head; absent without one.
    - ``fused_cams``: CAMs of the classes that the tags name, as a prediction
      makes them, see :class:`FusedCAMs`.

    Args:
        image (Tensor): The normalised input (N, 3, H, W) of this view.
        labels (Tensor, optional): Multi-hot tags (N, K). Classes that nobody
            knows about are nan: whoever compares scores with tags leaves
            them out, as :func:`~mmwsss.models.losses.multilabel_loss` does.
        fields (dict): Fields that are known already. Beside the above,
            transformers give ``grid``, rows and columns of patch tokens,
            ``num_prefix_tokens``, the tokens before the first patch, and
            ``num_class_tokens``, the first of these.
        aligned (bool): Whether everything already lies in the frame of the
            first view.
        providers (dict): Field name to a function of this view.
    """
    image: Tensor
    labels: Tensor | None = None
    fields: dict[str, Any] = field(default_factory=dict, repr=False)
    aligned: bool = False
    providers: dict[str, Callable[['ViewOutput'], Any]] = field(
        default_factory=dict, repr=False)

    def __getattr__(self, name: str) -> Any:
        # Only reached for what is no plain attribute.
        if name.startswith('__') or name in ('fields', 'providers'):
            raise AttributeError(name)
        if name not in self.fields:
            if name not in self.providers:
                raise AttributeError(
                    f'This view carries no {name!r}, only '
                    f'{sorted({*self.fields, *self.providers})}. '
                    f'{HINTS.get(name, HINT)}')
            self.fields[name] = self.providers[name](self)
        return self.fields[name]

    def split(self, size: int) -> tuple['ViewOutput', 'ViewOutput']:
        """Two views that went through the model as one batch.

        Args:
            size (int): Images that belong to the first.

        Returns:
            tuple[ViewOutput, ViewOutput]: The halves, sharing memory.
        """

        def part(value: Any, rows: slice) -> Any:
            if isinstance(value, Tensor):
                return value[rows]
            if isinstance(value, (list, tuple)) and value and isinstance(
                    value[0], Tensor):
                return type(value)(v[rows] for v in value)
            return value

        halves = []
        for rows in (slice(0, size), slice(size, None)):
            halves.append(
                ViewOutput(
                    part(self.image, rows),
                    part(self.labels, rows),
                    fields={
                        name: part(value, rows)
                        for name, value in self.fields.items()
                    },
                    aligned=self.aligned,
                    providers=self.providers))
        return halves[0], halves[1]


class FusedCAMs(NamedTuple):
    """CAMs of a training batch over scales and mirror images.

    Attributes:
        class_ids (Tensor): Classes of each image by its tags, int64 (N, K'),
            -1 as padding.
        cams (Tensor): Normalised maps float32 (N, K', H, W) of the size of
            the view's image, without gradient; zero for -1.
        auxiliary (Tensor, optional): The same of the auxiliary head. None
            without one.
    """
    class_ids: Tensor
    cams: Tensor
    auxiliary: Tensor | None


def unchanged(maps: Tensor) -> Tensor:
    """How maps get from one view to the other where both share a frame.

    Args:
        maps (Tensor): (N, C, h, w).

    Returns:
        Tensor: The same.
    """
    return maps


@dataclass
class ViewPair:
    """What a regularizer gets of a training step.

    Args:
        first (ViewOutput): The view of the images as they are.
        second (ViewOutput, optional): That of the changed images; None if
            the model has no ``second_view``.
        data_samples (Sequence[SegDataSample]): Samples of the batch, with
            ``img_id`` and what the pipeline loaded, e.g. ``gt_saliency``.
        transform (Callable): Brings maps (N, C, H, W) of the first view, at
            the size of its image, into the frame of the second one and the
            size of its image. Does nothing if ``second.aligned``.
        inverse (Callable): Brings maps (N, C, h, w) of the second view, at
            the size of its maps, into the frame and size of the first one's
            maps. Does nothing if ``second.aligned``.
        look (Callable, optional): Runs the network, with gradients, on other
            images (N', 3, h, w), such as parts of the first view's; gives a
            view of them that has class tokens but no maps.
    """
    first: ViewOutput
    second: ViewOutput | None = None
    data_samples: Sequence[Any] = ()
    transform: Callable[[Tensor], Tensor] = unchanged
    inverse: Callable[[Tensor], Tensor] = unchanged
    look: Callable[[Tensor], ViewOutput] | None = None

    @property
    def views(self) -> list[ViewOutput]:
        """The first view and, where there is one, the second."""
        return [v for v in (self.first, self.second) if v is not None]
