import pytest

from mmwsss.models.utils import segments_at


@pytest.mark.parametrize('share,first', [(0, 1), (.5, 6), (.25, 4), (.55, 7),
                                         (1, None)])
def test_first_step_of_phase_two(share, first):
    steps = [t for t in range(1, 11) if segments_at(t, 10, share)]
    assert steps == ([] if first is None else list(range(first, 11)))
