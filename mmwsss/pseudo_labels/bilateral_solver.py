"""The fast bilateral solver: maps that change where the image does.

Barron and Poole, "The Fast Bilateral Solver", ECCV 2016,
https://arxiv.org/abs/1511.03296, as TokenCut and FOUND use it. Pixels that
are near each other and of like colour share a vertex of a coarse grid in
place and colour; the solution is the map on that grid which is close to the
given one and changes little between neighbouring vertices.
"""
import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import binary_fill_holes
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import cg
from torch import Tensor, nn

from mmwsss.registry import MODELS

#: RGB to brightness and two differences of colours, as in JPEG files.
YUV = np.array(((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5),
                (0.5, -0.418688, -0.081312)))
#: Weight of the smoothness (the paper's lambda), and how much each pixel of
#: the given map is trusted.
SMOOTHNESS, CONFIDENCE = 256., 0.999
#: Steps of the normalisation and of the solver, and the least value that the
#: solver's preconditioner divides by.
BALANCE_STEPS, SOLVER_STEPS, MIN_DIAGONAL = 10, 25, 1e-5


def bilateral_grid(image: np.ndarray, spatial: float, luma: float,
                   chroma: float) -> tuple[np.ndarray, csr_matrix]:
    """Vertices of the pixels, and which of them are neighbours.

    Args:
        image (ndarray): (H, W, 3), RGB, grey levels.
        spatial (float): Side of a cell of the grid in pixels.
        luma (float): Its side in grey levels of brightness.
        chroma (float): Its side in grey levels of both colour differences.

    Returns:
        tuple: int (H * W,), the vertex of each pixel, and the blur of values
        at vertices (V, V), a sum over the five axes of the kernel (1, 2, 1);
        vertices without a pixel do not exist.
    """
    rows, columns = np.indices(image.shape[:2]).reshape(2, -1)
    yuv = YUV @ image.reshape(-1, 3).T + np.array([[0], [128], [128]])
    sides = np.array([spatial, spatial, luma, chroma, chroma])
    cells = (np.stack((rows, columns, *yuv)) / sides[:, None]).astype(np.int64)
    # One more than there are, so that no step leads to the next row.
    shape = cells.max(axis=1) + 2
    codes, vertex = np.unique(
        np.ravel_multi_index(cells, shape), return_inverse=True)
    count = len(codes)
    here, there = [], []
    for step in np.append(np.cumprod(shape[:0:-1])[::-1], 1):
        place = np.searchsorted(codes, codes + step).clip(max=count - 1)
        found = np.flatnonzero(codes[place] == codes + step)
        here.append(found)
        there.append(place[found])
    here, there = np.concatenate(here), np.concatenate(there)
    ahead = csr_matrix((np.ones(len(here)), (here, there)), (count, count))
    return vertex, (ahead + ahead.T + diags(np.full(count, 10.))).tocsr()


def bilateral_solve(image: np.ndarray,
                    maps: np.ndarray,
                    spatial: float = 16.,
                    luma: float = 16.,
                    chroma: float = 8.) -> np.ndarray:
    """Smooth maps without crossing outlines.

    With the blur B of the grid and n such that diag(n) B diag(n) has the row
    sums m, the number of pixels of each vertex (paper, algorithm 1; m is
    what the sums are after ten steps), the solution is that of
    (256 (diag(m) - diag(n) B diag(n)) + 0.999 P) y = 0.999 S x, where S sums
    the pixels x of each vertex and P counts them (equation 6).

    Args:
        image (ndarray): (H, W, 3), RGB, grey levels.
        maps (ndarray): (K, H, W).
        spatial (float): See :func:`bilateral_grid`. Defaults to 16, FOUND's.
        luma (float): As above. Defaults to 16.
        chroma (float): As above. Defaults to 8.

    Returns:
        ndarray: float64 (K, H, W). A constant map stays what it is.
    """
    vertex, blur = bilateral_grid(image, spatial, luma, chroma)
    count = np.bincount(vertex)
    n = np.ones(len(count))
    for _ in range(BALANCE_STEPS):
        n = np.sqrt(n * count / (blur @ n))
    smooth = diags(n * (blur @ n)) - diags(n) @ blur @ diags(n)
    matrix = SMOOTHNESS * smooth + diags(CONFIDENCE * count)
    inverse = diags(1 / np.maximum(matrix.diagonal(), MIN_DIAGONAL))
    solved = np.empty(maps.shape)
    for one, out in zip(maps, solved):
        total = np.bincount(vertex, one.ravel())
        values, _ = cg(
            matrix,
            CONFIDENCE * total,
            x0=total / count,
            M=inverse,
            maxiter=SOLVER_STEPS,
            atol=0.)
        out[:] = values[vertex].reshape(out.shape)
    return solved


@MODELS.register_module()
class BilateralSolver(nn.Module):
    """The solver as a refiner of masks, as FOUND and TokenCut use it.

    Runs on the CPU, about 10 ms for an image of 224 x 224 pixels.

    Args:
        spatial (float): See :func:`bilateral_grid`. Defaults to 16, FOUND's.
        luma (float): As above. Defaults to 16.
        chroma (float): As above. Defaults to 8.
        fill_holes (bool): Whether holes of the region above 0.5 become 1.
            Defaults to True.
    """

    def __init__(self,
                 spatial: float = 16.,
                 luma: float = 16.,
                 chroma: float = 8.,
                 fill_holes: bool = True) -> None:
        super().__init__()
        self.sides = (spatial, luma, chroma)
        self.fill_holes = fill_holes

    @torch.no_grad()
    def forward(self, image: Tensor, maps: Tensor) -> Tensor:
        """Refine the maps.

        Args:
            image (Tensor): (N, 3, H, W), RGB, grey levels.
            maps (Tensor): (N, K, h, w), resized to the images (bilinear).

        Returns:
            Tensor: float32 (N, K, H, W).
        """
        maps = maps.float()
        if not maps.numel():
            return maps.new_zeros(*maps.shape[:2], *image.shape[2:])
        if maps.shape[2:] != image.shape[2:]:
            maps = F.interpolate(maps, image.shape[2:], mode='bilinear')
        pictures = image.permute(0, 2, 3, 1).cpu().double().numpy()
        solved = np.stack([
            bilateral_solve(picture, one, *self.sides)
            for picture, one in zip(pictures, maps.cpu().double().numpy())
        ])
        if self.fill_holes:
            for one in solved.reshape(-1, *solved.shape[2:]):
                inside = one > 0.5
                one[binary_fill_holes(inside) & ~inside] = 1
        return torch.from_numpy(solved).to(maps)
