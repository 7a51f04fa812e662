import pytest
from mmengine.logging import MessageHub

from mmwsss.models.utils import segments_at
from mmwsss.models.utils.training_phase import has_reached


@pytest.mark.parametrize('share,first', [(0, 1), (.5, 6), (.25, 4), (.55, 7),
                                         (1, None)])
def test_first_step_of_phase_two(share, first):
    steps = [t for t in range(1, 11) if segments_at(t, 10, share)]
    assert steps == ([] if first is None else list(range(first, 11)))


def test_a_share_of_the_running_training():
    hub = MessageHub.get_instance('test_training_phase')
    try:
        assert has_reached(1.)  # Nobody counts.
        hub.update_info('max_iters', 10)
        seen = []
        for done in range(10):
            hub.update_info('iter', done)
            seen.append(has_reached(0.25))
        # The steps 1, 2 and 3 are less than, or begin before, a quarter.
        assert seen == [False] * 3 + [True] * 7
    finally:
        MessageHub._instance_dict.pop('test_training_phase')
