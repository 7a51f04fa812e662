"""A headless Chromium for tests, driven through a pipe.

Speaks the DevTools protocol (https://chromedevtools.github.io) over
``--remote-debugging-pipe``: JSON messages that end with a zero byte.
"""
import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

NAMES = ('chromium', 'chromium-browser', 'google-chrome',
         'google-chrome-stable', 'chrome')
#: Seconds after which the browser counts as hanging.
PATIENCE = 60


def find_browser() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One browser with one page."""

    def __init__(self, downloads: Path) -> None:
        self.profile = tempfile.TemporaryDirectory(
            ignore_cleanup_errors=True)
        ours, theirs = os.pipe(), os.pipe()  # read and write end, each
        command = [
            find_browser(), '--headless=new', '--remote-debugging-pipe',
            f'--user-data-dir={self.profile.name}', '--no-first-run',
            '--disable-gpu', '--disable-dev-shm-usage',
            '--hide-scrollbars', 'about:blank'
        ]
        if hasattr(os, 'geteuid') and os.geteuid() == 0:
            command.insert(1, '--no-sandbox')  # It refuses root otherwise.
        # The browser reads from 3 and writes to 4.
        script = f'exec 3<&{ours[0]} 4>&{theirs[1]} "$@"'
        self.process = subprocess.Popen(
            ['bash', '-c', script, 'bash', *command],
            pass_fds=(ours[0], theirs[1]),
            stderr=subprocess.DEVNULL)
        for end in (ours[0], theirs[1]):
            os.close(end)
        self.to, self.back = ours[1], theirs[0]
        self.rest, self.number, self.session = b'', 0, None
        target = self.call('Target.createTarget', url='about:blank')
        self.session = self.call(
            'Target.attachToTarget', flatten=True, **target)['sessionId']
        for domain in ('Page', 'Runtime'):
            self.call(f'{domain}.enable')
        self.downloads = downloads
        session, self.session = self.session, None
        self.call(
            'Browser.setDownloadBehavior',
            behavior='allow',
            downloadPath=str(downloads))
        self.session = session
        self.errors = []

    def call(self, method: str, **params: Any) -> dict:
        """Result of a method of the protocol."""
        self.number += 1
        message = dict(id=self.number, method=method, params=params)
        if self.session:
            message['sessionId'] = self.session
        os.write(self.to, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._read()
            if answer.get('method') == 'Runtime.exceptionThrown':
                self.errors.append(answer['params']['exceptionDetails'])
            if answer.get('id') == self.number:
                assert 'error' not in answer, answer
                return answer['result']

    def _read(self) -> dict:
        end = time.monotonic() + PATIENCE
        while b'\0' not in self.rest:
            ready, _, _ = select.select([self.back], [], [],
                                        max(end - time.monotonic(), 0))
            data = os.read(self.back, 1 << 20) if ready else b''
            if not data:
                raise RuntimeError('the browser does not answer')
            self.rest += data
        text, _, self.rest = self.rest.partition(b'\0')
        return json.loads(text)

    def open(self, path: Path, width: int = 1440, height: int = 900) -> None:
        """Show a file."""
        self.call(
            'Emulation.setDeviceMetricsOverride',
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600)
        self.call('Page.navigate', url=path.resolve().as_uri())
        self.wait('document.readyState === "complete"')

    def run(self, script: str) -> Any:
        """Value of an expression, awaited if it is a promise."""
        answer = self.call(
            'Runtime.evaluate',
            expression=script,
            awaitPromise=True,
            returnByValue=True)
        assert 'exceptionDetails' not in answer, answer
        return answer['result'].get('value')

    def wait(self, condition: str) -> None:
        """Until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not self.run(condition):
            assert time.monotonic() < end, f'never happened: {condition}'
            time.sleep(0.02)

    def press(self, key: str) -> None:
        """Press and release a key, as a person would."""
        text = key if len(key) == 1 else {'Enter': '\r'}.get(key)
        codes = dict(Tab=9, Enter=13, Escape=27, ArrowLeft=37, ArrowRight=39)
        code = codes.get(key, ord(key.upper()[0]))
        for kind in ('keyDown', 'keyUp'):
            self.call(
                'Input.dispatchKeyEvent',
                type=kind,
                key=key,
                windowsVirtualKeyCode=code,
                **({} if text is None or kind == 'keyUp' else dict(text=text)))

    def screenshot(self, path: Path) -> None:
        """Write what is visible as a PNG."""
        data = self.call('Page.captureScreenshot')['data']
        Path(path).write_bytes(base64.b64decode(data))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for end in (self.to, self.back):
            os.close(end)
        self.profile.cleanup()


@pytest.fixture(scope='session')
def browser(tmp_path_factory):
    if find_browser() is None:
        pytest.skip('no browser: none of ' + ', '.join(NAMES) +
                    ' is installed')
    found = Browser(tmp_path_factory.mktemp('downloads'))
    yield found
    found.close()
