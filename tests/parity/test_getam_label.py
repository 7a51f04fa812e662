"""Activation-aware label completion, both rules for conflicts."""
import numpy as np
import pytest
import torch

from mmwsss.pseudo_labels.label_completion import (
    LabelCompletion,
    complete_labels,
)

from .acr_helpers import tensor

FAMILIES = ('getam_label', )


@pytest.mark.parametrize('conflict,prefix', [('first', ''),
                                             ('ignore', 'ref_paper_')])
def test_label_completion(vector, conflict, prefix):
    settings = dict(
        cut=float(vector['cut_threshold']),
        bg_power=int(vector['bg_power']),
        conflict=conflict)
    # Absent classes hold noise in the vectors.
    class_ids = torch.from_numpy(vector['labels'] > 0).nonzero()[:, 0]
    cams = tensor(vector['norm_cam'])
    saliency = tensor(vector['saliency_in'])
    labels, after = complete_labels(cams[class_ids], class_ids, saliency,
                                    **settings)
    expected = vector[prefix + 'seg_label']
    np.testing.assert_array_equal(labels.numpy(), expected)
    np.testing.assert_array_equal(after.numpy(),
                                  vector[prefix + 'saliency_out'])

    # In a batch, in any order, with padding: the same.
    padded = torch.cat((class_ids.flip(0), torch.tensor([-1, -1])))
    labels, after = LabelCompletion(**settings)(
        cams[padded][None], padded[None], saliency[None] * 200)
    np.testing.assert_array_equal(labels[0].numpy(), expected)
    np.testing.assert_array_equal(after[0].numpy(),
                                  vector[prefix + 'saliency_out'])
