"""The dense CRF on CAMs and on scores of a segmentation model."""
import json
import re

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import softmax

from mmwsss.pseudo_labels.dense_crf import DenseCRF, unary_from_probs

FAMILIES = ('acr_crf', 'vwl_cam_crf')

# Tolerances on probabilities and on the share of other labels.
CLOSE = {'pydensecrf': (1e-4, 0.), 'torch': (1e-3, .005)}


def compare(backend, q, expected, label):
    atol, share = CLOSE[backend]
    assert_allclose(q, expected, rtol=0, atol=atol)
    assert (q.argmax(0) != label).mean() <= share


@pytest.mark.parametrize('backend', sorted(CLOSE))
def test_dense_crf(vector, backend):
    if backend == 'pydensecrf':
        pytest.importorskip('pydensecrf')
    if vector.name.startswith('vwl'):
        # 'iter 10, gaussian sxy 1 compat 3, bilateral sxy 64 srgb 3 compat 4;
        # unary = softmax([0.15, cams])'
        words = json.loads(str(vector['meta']))['params']
        *crf, score = map(float, re.findall(r'[-+.e\d]*\d', words))
        assert len(crf) == 6, words
        cams = vector['cams']
        background = np.full_like(vector['prob'][:1], score)
        probs = softmax(np.concatenate([background, cams]), axis=0)
        assert_allclose(probs, vector['prob'], rtol=1e-5)
        crf = DenseCRF(int(crf[0]), *crf[1:], backend)
        q = crf(vector['img'], unary_from_probs(probs))
        compare(backend, q, vector['Q'], vector['pred'])
        return

    image, cams = vector['image_rgb'], vector['cams']
    alpha = float(vector['alpha'])
    background = (1 - cams.max(0, keepdims=True, initial=0))**alpha
    assert_allclose(background, vector['bg_score'], atol=1e-6)
    q = DenseCRF(backend=backend)(
        image, unary_from_probs(np.concatenate([background, cams])))
    compare(backend, q, vector['crf_prob'], vector['crf_label'])
    if 'seg_prob' not in vector:
        return
    q = DenseCRF(20, 3, 3, 83, 5, 4, backend)(
        image, unary_from_probs(vector['seg_prob']))
    compare(backend, q, vector['seg_crf_prob_t20'], vector['seg_crf_label'])
