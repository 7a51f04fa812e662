"""FBR's pseudo labels, sure and hard pixels, and prototypes."""
import torch

from mmwsss.models.utils.pixel_selection import (
    hard_pixels,
    own_scores,
    pixel_entropy,
    scores_from_logits,
    scores_from_maps,
    sure_pixels,
)
from mmwsss.models.utils.prototypes import class_prototypes

from .fbr_helpers import (
    background_last,
    check,
    ids,
    meta,
    planes,
    recipe,
    tensor,
)

FAMILIES = ('fbr_select_amn', 'fbr_select_is', 'fbr_prototype_amn',
            'fbr_prototype_is')


def masked(scores, labels):
    """Scores of the foreground, zero where a pixel is of another class."""
    found = torch.zeros_like(scores)
    found.scatter_(1, labels[:, None], own_scores(scores, labels)[:, None])
    return found[:, 1:]


def check_scores(vector):
    """From maps to probabilities, scores and labels, where these are given."""
    if background_last(vector) and 'cam' in vector:
        maps = planes(vector, 'cam')[:, 1:]
        found = scores_from_maps(maps, tensor(vector['label']))
    elif 'logits' in vector:
        by_tags = meta(vector).get('masked', 'masked' in vector.name)
        tags = tensor(vector['label']) if by_tags else None
        found = scores_from_logits(planes(vector, 'logits'), tags)
    else:
        return  # An edge case of what follows.
    num = found.prob.shape[1]
    check(found.prob, planes(vector, 'prob'))
    torch.testing.assert_close(
        found.scores, planes(vector, 'norm_scores'), rtol=0, atol=1e-4)
    assert torch.equal(found.labels, ids(vector, 'pseudo_label', num))


def check_selection(vector):
    check_scores(vector)
    facts = recipe(vector)
    prob, scores = planes(vector, 'prob'), planes(vector, 'norm_scores')
    labels = ids(vector, 'pseudo_label', prob.shape[1])
    sure, thresholds = sure_pixels(scores, labels, facts['r'])
    assert torch.equal(sure, tensor(vector['sure'], torch.bool))
    expected = planes(vector, 'score_threshold')
    listed = expected[:, 1:] >= 0
    assert torch.equal(thresholds[:, 1:].isfinite(), listed)
    check(thresholds[:, 1:][listed], expected[:, 1:][listed])
    entropy = pixel_entropy(prob)
    if background_last(vector):
        entropy = entropy.masked_fill(labels == 0, 0)
    check(entropy, vector['entropy'])
    hard, bounds = hard_pixels(entropy, sure, facts['quantile'])
    check(bounds, vector['entropy_threshold'])
    assert torch.equal(hard, tensor(vector['hard'], torch.bool))
    assert torch.equal(hard & (labels > 0),
                       tensor(vector['hard_fg'], torch.bool))
    check(masked(scores, labels), planes(vector, 'ref_scores_masked')[:, 1:])


def check_prototypes(vector):
    scores = planes(vector, 'norm_scores')
    labels = ids(vector, 'pseudo_label', scores.shape[1])
    scores = torch.cat((scores[:, :1], masked(scores, labels)), dim=1)
    check(scores, planes(vector, 'ref_scores_masked'))
    features = tensor(vector['features']).movedim(1, -1).flatten(0, 2)
    found = class_prototypes(
        features, scores.movedim(1, 0).flatten(1), meta(vector)['k'])
    present = planes(vector, 'present', dim=0).bool()
    assert torch.equal(
        present.nonzero()[:, 0], labels.unique()), 'other classes present'
    if background_last(vector):
        present[0] = False  # Any pixels of a constant plane.
    check(found[present],
          planes(vector, 'ref_prototypes', dim=0)[present])


def test_fbr_pixels(vector):
    if 'select' in vector.name:
        check_selection(vector)
    else:
        check_prototypes(vector)
