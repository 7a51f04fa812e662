"""A dense CRF on the prediction for one sample."""
from pathlib import Path

import torch
from mmseg.structures import SegDataSample
from torch import Tensor

from mmwsss.pseudo_labels.dense_crf import DenseCRF, unary_from_probs
from mmwsss.utils.read_images import read_image


def refine_with_crf(crf: DenseCRF, probs: Tensor,
                    sample: SegDataSample) -> Tensor:
    """Refine probabilities with the image that a sample comes from.

    The image is read again, because the network's input is normalised and
    may be resized.

    Args:
        crf (DenseCRF): The CRF.
        probs (Tensor): (L, H, W) at the size of the image file.
        sample (SegDataSample): With ``img_path`` in its meta information.

    Returns:
        Tensor: float32 (L, H, W), a distribution over L at each pixel.

    Raises:
        ValueError: If the sample does not say where its image lies, or the
            image has another size.
    """
    path = sample.metainfo.get('img_path')
    img_id = sample.metainfo.get('img_id')
    if path is None:
        raise ValueError(
            f'Image {img_id or "?"}: the CRF reads the image again, but the '
            "sample does not say where it lies. Keep 'img_path' in the pack "
            "transform's meta_keys.")
    img_id = img_id or Path(path).stem
    image = read_image(path, img_id, sample.metainfo.get('window'))
    if image.shape[:2] != probs.shape[1:]:
        raise ValueError(
            f'Image {img_id!r}: {path} is {image.shape[:2]} (height, width) '
            f'but the prediction {tuple(probs.shape[1:])}. The CRF needs '
            'predictions of the size of the image file.')
    refined = crf(image, unary_from_probs(probs.float().cpu().numpy()))
    return torch.from_numpy(refined).to(probs.device)
