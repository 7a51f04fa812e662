"""Test-time augmentation of segmentation models, with a CRF at the end."""
from collections.abc import Sequence

from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmwsss.pseudo_labels.dense_crf import DenseCRF
from mmwsss.registry import MODELS

from .sample_crf import refine_with_crf


@MODELS.register_module()
class SegTTAModel(BaseTTAModel):
    """Scales and flips averaged at the image's size, then perhaps a CRF.

    Runs with ``tools/test.py --tta`` and mmcv's ``TestTimeAug`` pipelines.
    mmseg's class of this name averages probabilities; the WSSS papers
    average logits and run a dense CRF on the softmax of the mean.

    Args:
        module (dict | nn.Module): The segmentation model, with at least two
            output channels.
        average (str): ``'logits'``, or ``'probs'`` to average their softmax.
            Defaults to 'logits'.
        crf (dict, optional): Arguments of
            :class:`~mmwsss.pseudo_labels.dense_crf.DenseCRF`. None leaves
            it out. Defaults to None.
        data_preprocessor (dict, optional): See mmengine.

    Raises:
        ValueError: If ``average`` is unknown or the model has one channel.
        ImportError: If the CRF's backend is not installed.
    """

    def __init__(self,
                 module: dict | nn.Module,
                 average: str = 'logits',
                 crf: dict | None = None,
                 data_preprocessor: dict | None = None) -> None:
        if average not in ('logits', 'probs'):
            raise ValueError(f"average is {average!r}, must be 'logits' or "
                             "'probs'.")
        super().__init__(module, data_preprocessor)
        if self.module.out_channels == 1:
            raise ValueError('SegTTAModel needs a model with one output '
                             'channel per class, background included; this '
                             'one has a single channel.')
        self.average = average
        self.crf = None if crf is None else DenseCRF(**crf)

    def merge_preds(
        self, data_samples_list: Sequence[Sequence[SegDataSample]]
    ) -> list[SegDataSample]:
        """Merge the predictions of all looks at each image.

        Args:
            data_samples_list (Sequence[Sequence[SegDataSample]]): Per image,
                a prediction per look with ``seg_logits`` (C, H, W) at the
                image's own size, flips undone.

        Returns:
            list[SegDataSample]: Per image, ``seg_logits`` (C, H, W): mean
            logits, or the mean or refined distribution; ``pred_sem_seg``
            int64 (1, H, W) is its argmax.
        """
        return [self._merge(looks) for looks in data_samples_list]

    def _merge(self, looks: Sequence[SegDataSample]) -> SegDataSample:
        scores: Tensor = 0
        for look in looks:
            logits = look.seg_logits.data
            scores = scores + (
                logits.softmax(0) if self.average == 'probs' else logits)
        scores = scores / len(looks)
        sample = looks[0]
        if self.crf is not None:
            scores = refine_with_crf(
                self.crf,
                scores.softmax(0) if self.average == 'logits' else scores,
                sample)
        sample.seg_logits = PixelData(data=scores)
        sample.pred_sem_seg = PixelData(data=scores.argmax(0, keepdim=True))
        return sample
