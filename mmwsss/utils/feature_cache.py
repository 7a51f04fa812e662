"""Features of frozen networks on disk, so that each is computed once."""
import errno
import hashlib
import io
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor

from .io import atomic_write, make_folder

FORMAT = 'mmwsss-features'
VERSION = 1
MANIFEST = 'manifest.json'
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def image_key(image: Tensor) -> str:
    """What a cached entry is found by: the content of the image.

    So the mirror image, another scale or a crop is an entry of its own, and
    an image that was replaced under its old name is not mistaken for it.

    Args:
        image (Tensor): (3, H, W).

    Returns:
        str: 32 hexadecimal digits.
    """
    image = image.detach().to('cpu', torch.float32)
    levels = image.to(torch.uint8)
    # Most images are whole grey levels: a quarter of the bytes to digest.
    values = levels if torch.equal(levels.float(), image) else image
    digest = hashlib.blake2b(
        f'{values.dtype} {tuple(image.shape)}'.encode(), digest_size=16)
    digest.update(values.contiguous().numpy().data)
    return digest.hexdigest()


class FeatureCache:
    """A folder of feature maps of one network.

    An entry is ``{key[:2]}/{key}.npy``, float16 (C, h, w) (float32 where a
    value does not fit), written whole or not at all. ``manifest.json`` says
    which network and which input rule made them, and a cache of another one
    is refused. Where the disk is full nothing more is written, with a
    warning, and features are computed anew each time.

    Args:
        folder (str | Path): The folder; made when the first entry is
            written.
        digest (str): Of the network's weights and the input rule.
        facts (dict, optional): What the manifest says beside it, for people.

    Raises:
        ValueError: If the folder holds features of another network.
    """

    def __init__(self,
                 folder: str | Path,
                 digest: str,
                 facts: dict[str, Any] | None = None) -> None:
        self.folder = Path(folder)
        self.digest = digest
        self.facts = facts or {}
        self.full = False
        self._checked = False
        self._check()

    def _check(self) -> bool:
        """Whether there is a manifest; raises if it is another network's."""
        path = self.folder / MANIFEST
        try:
            content = json.loads(path.read_text())
        except FileNotFoundError:
            return False
        except NotADirectoryError:
            make_folder(self.folder)  # Says which file is in the way.
            raise
        except ValueError as error:
            raise ValueError(
                f'{path} is damaged ({error}). Delete {self.folder}; the '
                'features are computed again.') from error
        if not isinstance(content, dict) or \
                content.get('format') != FORMAT or \
                content.get('version') != VERSION:
            raise ValueError(
                f'{path} is no manifest of cached features of this version. '
                'Name another folder for the cache.')
        if content.get('digest') != self.digest:
            raise ValueError(
                f'The cache {self.folder} holds features of another network '
                f'or input rule (digest {content.get("digest")}: '
                f'{content.get("facts")}), not of this one (digest '
                f'{self.digest}: {self.facts}). Delete the folder or name '
                'another one (cache_dir).')
        return True

    def path(self, key: str) -> Path:
        """Where an entry lies."""
        return self.folder / key[:2] / f'{key}.npy'

    def get(self, key: str) -> Tensor | None:
        """Read an entry.

        Args:
            key (str): See :func:`image_key`.

        Returns:
            Tensor | None: float32 (C, h, w); None if there is none. A file
            that cannot be read counts as none and is written again.
        """
        path = self.path(key)
        try:
            # np.load would take a damaged file for another format.
            with path.open('rb') as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
        except FileNotFoundError:
            return None
        except (ValueError, EOFError, OSError):
            path.unlink(missing_ok=True)
            return None
        return torch.from_numpy(array).float()

    def put(self, key: str, features: Tensor) -> Tensor:
        """Write an entry.

        Args:
            key (str): See :func:`image_key`.
            features (Tensor): (C, h, w).

        Returns:
            Tensor: float32 (C, h, w), what :meth:`get` will return, on the
            device of ``features``: so a run that fills a cache computes with
            the same numbers as one that reads it.
        """
        half = features.half()
        if not half.isfinite().all():
            half = features.float()
        if not self.full:
            try:
                self._write(key, half.cpu().numpy())
            except FileNotFoundError:
                # Another run with this cache took the temporary file away,
                # as those of killed runs; the entry is written next time.
                pass
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                self.full = True
                print_log(
                    f'The disk is full: {self.folder} takes no more '
                    'features, the others are computed anew each time. Make '
                    'room, or name a folder on another disk (cache_dir).',
                    logger='current',
                    level=logging.WARNING)
        return half.float()

    def _write(self, key: str, array: np.ndarray) -> None:
        if not self._checked:
            if not self._check():
                content = dict(
                    format=FORMAT,
                    version=VERSION,
                    digest=self.digest,
                    facts=self.facts)
                make_folder(self.folder)
                with atomic_write(self.folder / MANIFEST) as temp:
                    temp.write_text(json.dumps(content, indent=2) + '\n')
            self._checked = True
        # numpy itself reports a full disk without an error number.
        content = io.BytesIO()
        np.save(content, array)
        with atomic_write(self.path(key)) as temp:
            temp.write_bytes(content.getbuffer())
