"""Pipeline steps that go wrong, for the tests of the pool."""
import errno
import os
import signal
import tempfile
import time
from pathlib import Path

from mmcv.transforms import BaseTransform

from mmwsss.registry import TRANSFORMS


@TRANSFORMS.register_module()
class GoWrong(BaseTransform):
    """Does something bad at one image, once."""

    def __init__(self, img_id, how, note):
        self.img_id = img_id
        self.how = how
        self.note = Path(note)

    def transform(self, results):
        if results['img_id'] != self.img_id or self.note.exists():
            return results
        self.note.write_text(str(os.getpid()))
        # As if this process were just writing a file.
        folder = self.note.parent / 'out'
        tempfile.mkstemp(dir=folder, prefix='.x.tmp-', suffix='.png')
        if self.how == 'raise':
            raise ValueError('something is wrong')
        if self.how == 'bug':
            raise ZeroDivisionError('a bug')
        if self.how == 'full':
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'x.png')
        if self.how == 'kill':
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == 'exit':
            os._exit(3)
        if self.how == 'none':
            return None
        time.sleep(600)  # 'hang'
        return results
