import pickle
from itertools import islice

import pytest

from mmwsss.datasets.samplers import Draw, InfiniteSeededSampler, SeededSampler

DATA = list(range(10))


def draws(sampler, n=None):
    return [(int(d), d.draw_seed) for d in islice(iter(sampler), n)]


def of_process(cls, rank, world_size, seed=3):
    sampler = cls(DATA, seed=seed)
    sampler.rank, sampler.world_size = rank, world_size
    sampler.num_samples = -(-len(DATA) // world_size)
    sampler.total_size = sampler.num_samples * world_size
    return sampler


def test_draw_is_an_index_that_travels():
    draw = Draw(7, 123)
    assert DATA[draw] == 7 and draw == 7
    copy = pickle.loads(pickle.dumps(draw))
    assert copy == 7 and copy.draw_seed == 123


def test_same_seed_same_draws_and_every_epoch_its_own():
    one, two = SeededSampler(DATA, seed=1), SeededSampler(DATA, seed=1)
    first = draws(one)
    assert first == draws(two)
    assert sorted(i for i, _ in first) == DATA
    assert len({s for _, s in first}) == 10
    one.set_epoch(1)
    assert not {s for _, s in draws(one)} & {s for _, s in first}
    assert draws(SeededSampler(DATA, seed=2)) != first


@pytest.mark.parametrize('cls', [SeededSampler, InfiniteSeededSampler])
def test_two_processes_share_the_draws_of_one(cls):
    whole = draws(of_process(cls, 0, 1), 10)
    parts = [draws(of_process(cls, r, 2), 5) for r in (0, 1)]
    assert [d for pair in zip(*parts) for d in pair] == whole


def test_infinite_goes_through_the_epochs_of_the_finite_one():
    finite = SeededSampler(DATA, seed=5)
    expected = []
    for epoch in range(3):
        finite.set_epoch(epoch)
        expected += draws(finite)
    assert draws(InfiniteSeededSampler(DATA, seed=5), 30) == expected


@pytest.mark.parametrize('skip', [0, 3, 10, 17])
def test_skip_continues_where_the_run_stopped(skip):
    unbroken = draws(InfiniteSeededSampler(DATA, seed=5), 30)
    resumed = InfiniteSeededSampler(DATA, seed=5)
    resumed.skip(skip)
    resumed.set_epoch(0)
    assert draws(resumed, 10) == unbroken[skip:skip + 10]
