"""Options and set-up shared by all tests."""
import os
import signal

# Before torch is imported: small tensors are fastest on one thread, and two
# test processes must not fight for the cores.
os.environ.setdefault('OMP_NUM_THREADS', '1')
# What a shell starts in the background ignores Ctrl-C, and so would all that
# tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest  # noqa: E402
import torch  # noqa: E402


def pytest_addoption(parser) -> None:
    parser.addoption(
        '--vectors',
        metavar='DIR',
        default=None,
        help='folder of reference vectors for tests/parity '
        '(default: the part of them in tests/parity/vectors)')


@pytest.fixture(autouse=True)
def _mmseg_scope():
    """Every test starts in the default scope of our configs."""
    from mmengine.registry import init_default_scope
    init_default_scope('mmseg')
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
