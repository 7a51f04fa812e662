"""CAMs and masks made to follow the proposals of a segmenter."""
from typing import Any

from mmcv.transforms import BaseTransform

from mmwsss.pseudo_labels.mask_proposals import refine_labels, refine_maps
from mmwsss.pseudo_labels.proposal_file import read_proposals
from mmwsss.registry import TRANSFORMS
from mmwsss.utils.stage_folder import stage_folder

from .crf import require

#: What can be refined, and the step that adds it.
MAKERS = dict(cams='LoadCAMs', pseudo_mask='ThresholdMask')


@TRANSFORMS.register_module()
class RefineWithProposals(BaseTransform):
    """Let mask proposals without classes decide where classes end.

    Reads the proposals of any segmenter (Segment Anything, or
    ``tools/make_proposals.py``), ``{img_id}.json`` or ``{img_id}.png`` in the
    dataset's ``proposal_dir``, see
    :mod:`mmwsss.pseudo_labels.proposal_file`. Each belongs to the class that
    shows most in it, if it shows enough; small ones decide over large ones.
    See :mod:`mmwsss.pseudo_labels.mask_proposals`.

    With ``key='cams'`` it replaces ``cams``, to be thresholded, refined
    further or written by the next steps; with ``key='pseudo_mask'`` it
    replaces the mask that an earlier step has made of them.

    Args:
        key (str): ``'cams'`` or ``'pseudo_mask'``. Defaults to 'cams'.
        threshold (float): Mean of the class's map in a proposal, or share of
            the proposal that has the class's label, above which it belongs
            to the class. In [0, 1). Defaults to 0.4.
        unassigned (str): Whether pixels in proposals without class become
            'background' or 'keep' what they have. Defaults to 'background'.
        min_area (int): Proposals of fewer pixels are left out.
            Defaults to 0.

    Raises:
        ValueError: If a setting is out of range.
    """

    def __init__(self,
                 key: str = 'cams',
                 threshold: float = 0.4,
                 unassigned: str = 'background',
                 min_area: int = 0) -> None:
        if key not in MAKERS:
            raise ValueError(f'key is {key!r}, not one of {tuple(MAKERS)}.')
        if not 0 <= threshold < 1:
            raise ValueError(
                f'threshold is {threshold}, must lie in [0, 1).')
        if unassigned not in ('background', 'keep'):
            raise ValueError(f'unassigned is {unassigned!r}, not '
                             "'background' or 'keep'.")
        if min_area < 0:
            raise ValueError(f'min_area is {min_area}, must be 0 or more.')
        self.key = key
        self.settings = dict(
            threshold=threshold, unassigned=unassigned, min_area=min_area)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Refine one image.

        Args:
            results (dict): With ``cams`` (k, H, W) or ``pseudo_mask``
                (H, W), and ``ori_shape`` where it is known.

        Returns:
            dict: With a new ``cams`` or ``pseudo_mask``.

        Raises:
            KeyError: If no earlier step made what is to be refined.
            FileNotFoundError: If the image has no proposals.
            ValueError: If the dataset names no folder, the file is damaged,
                or sizes differ.
        """
        img_id = results.get('img_id', '?')
        require(results, **{self.key: MAKERS[self.key]})
        folder = stage_folder(results, 'proposal_dir', self)
        found = results[self.key]
        size = tuple(int(s) for s in found.shape[-2:])
        image_size = tuple(
            int(s) for s in results.get('ori_shape', size)[:2])
        if size != image_size:
            raise ValueError(
                f'Image {img_id} is {image_size} (height, width) but its '
                f'{self.key!r} is {size}. Use LoadCAMs with upsample=True.')
        masks = read_proposals(folder, img_id, image_size)
        refine = refine_maps if self.key == 'cams' else refine_labels
        results[self.key] = refine(found, masks, **self.settings)
        return results

    def __repr__(self) -> str:
        settings = ', '.join(f'{k}={v!r}' for k, v in self.settings.items())
        return f'{type(self).__name__}(key={self.key!r}, {settings})'
