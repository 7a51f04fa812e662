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
        '(default: ../shared/parity when it exists)')


@pytest.fixture(autouse=True)
def _mmseg_scope():
    """Every test starts in the default scope of our configs."""
    from mmengine.registry import init_default_scope
    init_default_scope('mmseg')
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def pytest_terminal_summary(terminalreporter, config) -> None:
    """Say which reference vectors wait for a component."""
    ran = {
        report.nodeid
        for reports in terminalreporter.stats.values() for report in reports
        if hasattr(report, 'nodeid')
    }
    if not any('parity/test_families.py' in nodeid for nodeid in ran):
        return
    from tests.parity.conftest import pending_files
    pending = pending_files(config)
    if pending:
        terminalreporter.section('reference vectors of later work')
        for family, files in sorted(pending.items()):
            terminalreporter.line(f'PENDING {family}: {len(files)} file(s)')
