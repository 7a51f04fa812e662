"""FBR's k-means and its memory bank."""
import torch

from mmwsss.models.utils.feature_bank import FeatureBank
from mmwsss.models.utils.kmeans import assign_points, cluster_points

from .fbr_helpers import check, meta, tensor

FAMILIES = ('fbr_kmeans', 'fbr_bank')


def check_kmeans(vector):
    # The vectors are computed in double precision.
    points = tensor(vector['points'], torch.float64)[None]
    mask = torch.ones(points.shape[:2], dtype=torch.bool)
    facts = meta(vector)
    num = facts['K']
    if facts['raw']:
        found, exist = cluster_points(points, mask, num)
    else:
        init = tensor(vector['init'], torch.float64)[None]
        found, exist = cluster_points(
            points, mask, num, init=init, max_steps=facts['iters'], tol=0)
        check(found[0], vector['centroids'])
        assigned = assign_points(points, found)
        if facts.get('min_gap', 0) > 0:
            assert torch.equal(assigned[0],
                               tensor(vector['assign'], torch.int64))
        distances = points[0] - found[0][assigned[0]]
        check(distances.square().sum(), vector['inertia'])
    check(found[exist], vector['nroi'])
    assert exist.sum() == min(points.shape[1], num)


def check_raw_images(vector):
    features = tensor(vector['features'])
    regions, exist = cluster_points(
        features, tensor(vector['bg_mask'], torch.bool), meta(vector)['K'])
    bank = FeatureBank(max(1, features[..., 0].numel()), features.shape[2])
    bank.enqueue(regions[exist])
    check(bank.ordered(), vector['enqueued'])
    assert len(bank) == vector['count']


def check_bank(vector):
    facts = meta(vector)
    channels = vector['enqueue_0'].shape[1]
    bank = FeatureBank(facts['capacity'], channels)
    steps = sum(name.startswith('enqueue_') for name in vector)
    assert steps > 0
    for t in range(steps):
        bank.enqueue(tensor(vector[f'enqueue_{t}']))
        assert len(bank) == vector[f'count_{t}']
        assert bank.pointer == vector[f'ptr_{t}']
        check(bank.ordered(), vector[f'fifo_{t}'], 0)
        used = min(len(bank), len(vector[f'ring_{t}']))
        check(bank.rows[:used], vector[f'ring_{t}'][:used], 0)


def test_fbr_bank(vector):
    if vector.name.startswith('fbr_kmeans'):
        check_kmeans(vector)
    elif 'bg_mask' in vector:
        check_raw_images(vector)
    else:
        check_bank(vector)
