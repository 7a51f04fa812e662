"""ToCo: class tokens of crops against those of whole images."""
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmwsss.registry import MODELS
from mmwsss.structures.view_output import ViewPair
from mmwsss.utils.transfer import send

from ..utils.host_value import HostValue
from ..utils.image_draws import image_draws
from ..utils.momentum_copy import MomentumCopy
from ..utils.training_phase import has_reached
from .patch_token_contrast import check_settings
from .regularizer import Regularizer

#: Added to the sum over negatives.
EPS = 1e-4
#: Area of the second global view, as a share of the image.
GLOBAL_AREA = (0.4, 1.)
#: Width to height of the second global view, relative to the image's.
GLOBAL_RATIO = (3 / 4, 4 / 3)
#: Random numbers that a second global view takes.
GLOBAL_DRAWS = 5


def crop_contrast(students: Tensor,
                  teachers: Tensor,
                  positive: Tensor,
                  temperature: float = 0.5,
                  always_repel: bool = True) -> Tensor:
    """InfoNCE between the global views of a teacher and all of a student.

    For a global view p and a positive view q of an image, with its negative
    views n: -log e^{pq / t} / (e^{pq / t} + sum_n e^{pn / t} + 1e-4), the
    mean over the pairs (ToCo, class token contrast).

    Args:
        students (Tensor): Projections (N, V, D) of all views.
        teachers (Tensor): Projections (N, G, D) of the global views, taken as
            constants.
        positive (Tensor): Bool (N, V), views that belong to the global ones;
            the others are negative. At least one of each image.
        temperature (float): t, above 0. Defaults to 0.5.
        always_repel (bool): Whether a term log(1 + sum_n e^{pn / t} + 1e-4)
            is added for each global view, which counts like a positive view
            with a product of 0. The published code does so. Defaults to True.

    Returns:
        Tensor: (N,), not negative.
    """
    products = teachers.detach() @ students.mT / temperature
    rest = products.masked_fill(positive[:, None], -torch.inf)
    # The constant keeps images without negatives finite.
    rest = F.pad(rest, (0, 1), value=math.log(EPS)).logsumexp(dim=-1)
    terms = F.softplus(rest[..., None] - products)
    total = terms.masked_fill(~positive[:, None], 0).sum(dim=-1)
    if always_repel:
        total = total + F.softplus(rest)
    return total.mean(dim=1) / (positive.sum(dim=1) + EPS)


def region_map(cams: Tensor, fg_threshold: float,
               bg_threshold: float) -> Tensor:
    """Where an image shows its classes, where not, and where nobody knows.

    Args:
        cams (Tensor): Normalised maps of the classes of an image
            (N, K', H, W), zero in padded planes.
        fg_threshold (float): From this score on a pixel shows a class.
        bg_threshold (float): Up to this score it shows background.

    Returns:
        Tensor: uint8 (N, H, W): 0 background, 1 uncertain, 2 a class.
    """
    # An image without classes has zeros.
    score = F.pad(cams, (0, 0, 0, 0, 1, 0)).amax(dim=1)
    return (score > bg_threshold).to(torch.uint8) + (
        score >= fg_threshold).to(torch.uint8)


def draw_corners(regions: Tensor, draws: Tensor,
                 size: int) -> tuple[Tensor, Tensor]:
    """Upper left corners of crops whose centre shows no class for sure.

    Args:
        regions (Tensor): See :func:`region_map`, (N, H, W), larger than the
            crops.
        draws (Tensor): Random numbers in [0, 1), (N, M), one for each crop.
        size (int): Height and width of the crops.

    Returns:
        tuple[Tensor, Tensor]: Rows and columns, int64 (N, M). Where fewer
        than M positions are allowed, all are.
    """
    margin = size // 2
    centres = regions[:, margin:margin + regions.shape[1] - size,
                      margin:margin + regions.shape[2] - size]
    width = centres.shape[2]
    allowed = (centres < 2).flatten(1)
    enough = allowed.sum(dim=1, keepdim=True) >= draws.shape[1]
    allowed = allowed | ~enough
    before = allowed.cumsum(dim=1)
    rank = (draws.double() * before[:, -1:]).long()
    # The position that has so many allowed ones up to it.
    place = torch.searchsorted(before, rank + 1)
    return place // width, place % width


def cut_crops(maps: Tensor, rows: Tensor, columns: Tensor,
              size: int) -> Tensor:
    """Parts of a batch.

    Args:
        maps (Tensor): (N, C, H, W).
        rows (Tensor): Upper left corners, int64 (N, M).
        columns (Tensor): Likewise.
        size (int): Height and width of a part.

    Returns:
        Tensor: (N, M, C, size, size).
    """
    reach = torch.arange(size, device=maps.device)
    image = torch.arange(len(maps), device=maps.device)
    parts = maps.movedim(1, 3)[image[:, None, None, None],
                               (rows[..., None] + reach)[..., None],
                               (columns[..., None] + reach)[..., None, :]]
    return parts.movedim(4, 2)


def second_global_view(image: Tensor, draws: Tensor) -> Tensor:
    """A random part of each image at its size, half of them mirrored.

    Args:
        image (Tensor): (N, 3, H, W).
        draws (Tensor): Random numbers in [0, 1) on the host, (N, 5): area,
            ratio of the sides, place down and across, mirroring.

    Returns:
        Tensor: (N, 3, H, W).
    """
    draws = draws.double()
    low, high = GLOBAL_AREA
    area = low + draws[:, 0] * (high - low)
    low, high = (math.log(ratio) for ratio in GLOBAL_RATIO)
    ratio = (low + draws[:, 1] * (high - low)).exp()
    height = (area / ratio).sqrt().clamp(max=1)
    width = (area * ratio).sqrt().clamp(max=1)
    mirror = torch.where(draws[:, 4] < 0.5, -1., 1.)
    theta = torch.zeros(len(image), 2, 3)
    theta[:, 0, 0] = width * mirror
    theta[:, 1, 1] = height
    # Centres between those that touch the borders.
    theta[:, 0, 2] = (2 * draws[:, 3] - 1) * (1 - width)
    theta[:, 1, 2] = (2 * draws[:, 2] - 1) * (1 - height)
    theta = send(theta, image.device).to(image)
    grid = F.affine_grid(theta, list(image.shape), align_corners=False)
    return F.grid_sample(
        image, grid, padding_mode='border', align_corners=False)


class TokenProjection(nn.Module):
    """Three layers to unit length, then products with unit vectors.

    DINO's head, as ToCo uses it.

    Args:
        in_channels (int): Channels of a token.
        hidden_channels (int): Of the first two layers. Defaults to 2048.
        bottleneck_channels (int): Of the third. Defaults to 256.
        out_channels (int): Number of unit vectors. Defaults to 1024.
    """

    def __init__(self,
                 in_channels: int,
                 hidden_channels: int = 2048,
                 bottleneck_channels: int = 256,
                 out_channels: int = 1024) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(in_channels, hidden_channels), nn.GELU(),
            nn.Linear(hidden_channels, hidden_channels), nn.GELU(),
            nn.Linear(hidden_channels, bottleneck_channels))
        for layer in self.layers[::2]:
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        # Its length does not matter.
        self.directions = nn.Parameter(
            torch.randn(out_channels, bottleneck_channels))

    def forward(self, tokens: Tensor) -> Tensor:
        """Project tokens.

        Args:
            tokens (Tensor): (..., in_channels).

        Returns:
            Tensor: (..., out_channels), each in [-1, 1].
        """
        unit = F.normalize(self.layers(tokens), dim=-1)
        return F.linear(unit, F.normalize(self.directions, dim=-1))


@MODELS.register_module()
class LocalCropContrast(Regularizer):
    """Class token contrast of crops and images (ToCo, arXiv 2303.01267).

    Where the CAMs of the auxiliary head are uncertain, an object may be
    hidden. Local crops are cut around random positions that do not show a
    class for sure, and their class tokens are drawn to those of the whole
    image; crops that show background almost everywhere are pushed away
    (:func:`crop_contrast`). The class tokens of two global views, the image
    and a random part of it, are targets, by a projection whose weights are a
    moving average of the trained one's.

    Random numbers belong to an image and a step
    (:func:`~mmwsss.models.utils.image_draws.image_draws`), so a resumed run
    goes on exactly and several processes draw what one would. Images without
    any class add nothing.

    Args:
        in_channels (int): Channels of the class token.
        crop_size (int): Height and width of a crop, smaller than the images;
            a multiple of the patch. Defaults to 96, for images of 448.
        num_crops (int): Crops of each image. Defaults to 8.
        fg_threshold (float): See :func:`region_map`. Defaults to 0.7.
        bg_threshold (float): Likewise. Defaults to 0.25.
        min_region (float): A crop is positive if the mean of its part of the
            region map is above this. Defaults to 0.2.
        temperature (float): Divides products. Defaults to 0.5.
        momentum (float): What the teacher's projection keeps of itself.
            Defaults to 0.9.
        always_repel (bool): See :func:`crop_contrast`. Defaults to True, as
            the published code does; False is the paper's equation.
        start (float): Share of all training steps before the term begins.
            Defaults to 0.
        loss_weight (float): Defaults to 0.5.
        projection (dict, optional): Arguments of :class:`TokenProjection`.
            None takes its defaults. Defaults to None.

    Raises:
        ValueError: If a setting is out of range.
    """
    needs_auxiliary_head = True

    def __init__(self,
                 in_channels: int,
                 crop_size: int = 96,
                 num_crops: int = 8,
                 fg_threshold: float = 0.7,
                 bg_threshold: float = 0.25,
                 min_region: float = 0.2,
                 temperature: float = 0.5,
                 momentum: float = 0.9,
                 always_repel: bool = True,
                 start: float = 0.,
                 loss_weight: float = 0.5,
                 projection: dict | None = None) -> None:
        super().__init__()
        check_settings(self, fg_threshold, bg_threshold, start)
        for name, value in (('crop_size', crop_size), ('num_crops', num_crops),
                            ('temperature', temperature)):
            if value <= 0:
                raise ValueError(
                    f'LocalCropContrast needs {name} > 0, got {value}.')
        self.in_channels = in_channels
        self.crop_size = crop_size
        self.num_crops = num_crops
        self.fg_threshold = fg_threshold
        self.bg_threshold = bg_threshold
        self.min_region = min_region
        self.temperature = temperature
        self.always_repel = always_repel
        self.start = start
        self.loss_weight = loss_weight
        self.projection = TokenProjection(in_channels, **(projection or {}))
        self.teacher = MomentumCopy(self.projection, momentum)
        self._seed, self._step = HostValue(), HostValue()
        self.register_buffer('step', torch.tensor(0))
        # The run's seed, which a Runner sets before it builds a model. A
        # buffer, so that all processes have that of rank 0.
        self.register_buffer('seed',
                             torch.tensor(torch.initial_seed() % 2**32))

    # Its passes are of other sizes than the model's.
    @torch.compiler.disable
    def forward(self, pair: ViewPair) -> dict[str, Tensor]:
        """``loss_crop`` of the first view.

        Args:
            pair (ViewPair): With ``look``; its first view with ``cls_token``
                and ``fused_cams``; of the samples, ``img_id``.

        Returns:
            dict[str, Tensor]: Empty before the term begins; with
            ``positive_crops``, their share in percent.

        Raises:
            ValueError: If the images are not larger than the crops, or class
                tokens have other channels than configured.
        """
        step = self._step.read(self.step)
        self._step.write(self.step, step + 1)
        if not has_reached(self.start):
            return {}
        view, size = pair.first, self.crop_size
        if min(view.image.shape[-2:]) <= size:
            raise ValueError(
                f'LocalCropContrast cuts crops of {size} x {size} pixels, but '
                f'the images have {tuple(view.image.shape[-2:])} (height, '
                'width). Set a smaller crop_size in model.regularizers.')
        if view.cls_token.shape[-1] != self.in_channels:
            raise ValueError(
                f'LocalCropContrast has in_channels={self.in_channels}, but '
                f'class tokens have {view.cls_token.shape[-1]} channels. Set '
                'its in_channels in model.regularizers to the latter.')
        draws = image_draws([s.img_id for s in pair.data_samples],
                            GLOBAL_DRAWS + self.num_crops,
                            self._seed.read(self.seed), step)
        crops, positive = self.local_crops(
            view.image, view.fused_cams.auxiliary,
            send(draws[:, GLOBAL_DRAWS:], view.image.device))
        globals_ = view.cls_token, pair.look(
            second_global_view(view.image, draws[:, :GLOBAL_DRAWS])).cls_token
        locals_ = pair.look(crops.flatten(0, 1)).cls_token
        tokens = torch.cat((torch.stack(globals_, dim=1),
                            locals_.unflatten(0, crops.shape[:2])), dim=1)
        losses = self.contrast(tokens, positive)
        shows = (view.labels > 0).any(dim=1)
        loss = torch.where(shows, losses, 0).mean()
        return dict(
            loss_crop=self.loss_weight * loss,
            positive_crops=100 * positive[:, 2:].float().mean())

    def local_crops(self, image: Tensor, cams: Tensor,
                    draws: Tensor) -> tuple[Tensor, Tensor]:
        """Cut crops and say which of them belong to their image.

        Args:
            image (Tensor): (N, 3, H, W).
            cams (Tensor): The auxiliary head's, (N, K', H, W).
            draws (Tensor): In [0, 1), (N, M).

        Returns:
            tuple[Tensor, Tensor]: (N, M, 3, size, size), and which of the two
            global views and the crops are positive, bool (N, 2 + M).
        """
        regions = region_map(cams, self.fg_threshold, self.bg_threshold)
        corners = draw_corners(regions, draws, self.crop_size)
        crops = cut_crops(image, *corners, self.crop_size)
        shown = cut_crops(regions[:, None].float(), *corners, self.crop_size)
        positive = shown.mean(dim=(2, 3, 4)) > self.min_region
        return crops, F.pad(positive, (2, 0), value=True)

    def contrast(self, tokens: Tensor, positive: Tensor) -> Tensor:
        """The loss of each image; the teacher takes a step before it.

        Args:
            tokens (Tensor): Class tokens (N, 2 + M, D), global views first.
            positive (Tensor): Bool (N, 2 + M).

        Returns:
            Tensor: (N,).
        """
        self.teacher.update_parameters(self.projection)
        # Products of unit vectors in half precision would be too coarse.
        with torch.autocast(tokens.device.type, enabled=False):
            tokens = tokens.float()
            with torch.no_grad():
                teachers = self.teacher(tokens[:, :2])
            return crop_contrast(
                self.projection(tokens), teachers, positive, self.temperature,
                self.always_repel)
