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
    parser.addoption(
        '--share',
        metavar='I/N',
        default=None,
        help='run every N-th of the selected tests, from the I-th on '
        '(counted from 0): -m slow --share 2/8')


@pytest.hookimpl(trylast=True)  # after the markers have selected
def pytest_collection_modifyitems(config, items: list) -> None:
    """Keep one share of the tests; all shares together are all tests."""
    share = config.getoption('share')
    if share is None:
        return
    first, _, count = share.partition('/')
    if not (first.isdigit() and count.isdigit()
            and int(first) < int(count)):
        raise pytest.UsageError(
            f'--share is {share!r}, give I/N with 0 <= I < N, such as 0/8')
    kept = items[int(first)::int(count)]
    config.hook.pytest_deselected(
        items=[item for i, item in enumerate(items)
               if i % int(count) != int(first)])
    items[:] = kept


@pytest.fixture(autouse=True)
def _mmseg_scope():
    """Every test starts in the default scope of our configs."""
    from mmengine.registry import init_default_scope
    init_default_scope('mmseg')
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
