import hashlib

import pytest

from mmwsss.utils.download import (
    DownloadError,
    check_file,
    digest_in_name,
    download,
)
from tests.server import FileServer

CONTENT = bytes(range(256)) * 40
DIGEST = ('sha256', hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture
def server():
    server = FileServer()
    server.files['/x.pth'] = CONTENT
    yield server
    server.close()


def test_whole_file(server, tmp_path):
    path = tmp_path / 'sub/x.pth'
    download(f'{server.url}/x.pth', path, DIGEST)
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ['x.pth']
    download(f'{server.url}/x.pth', path, DIGEST)
    assert len(server.requests) == 1  # It was there.
    path.write_bytes(b'another')
    with pytest.raises(ValueError, match='not the file that is meant'):
        download(f'{server.url}/x.pth', path, DIGEST)
    assert path.read_bytes() == b'another'


@pytest.mark.parametrize('ranges', [True, False])
def test_broken_download_goes_on(server, tmp_path, ranges):
    path = tmp_path / 'x.pth'
    server.cut, server.ranges = 1000, ranges
    with pytest.raises(DownloadError, match='goes on there|cannot be fetch'):
        download(f'{server.url}/x.pth', path, DIGEST)
    assert not path.exists()
    assert (tmp_path / 'x.pth.part').stat().st_size == 1000
    download(f'{server.url}/x.pth', path, DIGEST)
    assert path.read_bytes() == CONTENT
    assert server.requests[-1][2] == 'bytes=1000-'


@pytest.mark.parametrize('more', [0, 5])
def test_part_that_is_whole_or_too_long(server, tmp_path, more):
    (tmp_path / 'x.pth.part').write_bytes(CONTENT + b'y' * more)
    download(f'{server.url}/x.pth', tmp_path / 'x.pth', DIGEST)
    assert (tmp_path / 'x.pth').read_bytes() == CONTENT


def test_wrong_content_is_not_kept(server, tmp_path):
    server.files['/x.pth'] = b'<html>please log in</html>'
    with pytest.raises(ValueError, match='x.pth: what the server sent is re'):
        download(f'{server.url}/x.pth', tmp_path / 'x.pth', DIGEST)
    assert list(tmp_path.iterdir()) == []


def test_no_server_and_no_file(server, tmp_path):
    with pytest.raises(DownloadError, match='no.pth: the server says 404'):
        download(f'{server.url}/no.pth', tmp_path / 'x.pth')
    url = server.url
    server.close()
    with pytest.raises(DownloadError, match='cannot be fetched'):
        download(f'{url}/x.pth', tmp_path / 'x.pth', timeout=2)


def test_digests(tmp_path):
    assert digest_in_name('https://h/m/resnet50-0676ba61.pth') == (
        'sha256', '0676ba61')
    assert digest_in_name('https://h/vit-base.npz') is None
    path = tmp_path / 'x'
    path.write_bytes(b'abc')
    check_file(path, ('md5', '900150983cd24fb0d6963f7d28e17f72'))
    with pytest.raises(ValueError, match='md5 is 9001.., must be 0000'):
        check_file(path, ('md5', '0000'))
