"""Temporary folders of children: each is locked by its worker while its child lives."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

PREFIX: Final = "oncue-child-"

# Younger folders may belong to a child whose lock is not taken yet.
_AGE_S = 60.0


def sweep() -> None:
    """Remove the temporary folders of children whose worker was killed before it could."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # in use, another user's, or swept by another worker
            if folder.stat().st_mtime > time.time() - _AGE_S:
                continue
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
